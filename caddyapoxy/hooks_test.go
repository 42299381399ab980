package caddyapoxy

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"

	"github.com/apoxy-dev/caddy-apoxy/issuance"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

func init() { caddy.RegisterModule(new(noteHandler)) }

// noteHandler is a handler of the events app that notes what it hears, and aborts
// what is to be obtained for the hostname refused.example.com.
type noteHandler struct{}

// notes is what noteHandlers have heard, as "event origin identifier …".
var notes struct {
	sync.Mutex
	heard []string
}

func (*noteHandler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "events.handlers.note", New: func() caddy.Module { return new(noteHandler) }}
}

func (*noteHandler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	return nil
}

func (*noteHandler) Handle(ctx context.Context, e caddy.Event) error {
	repl := ctx.Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	notes.Lock()
	defer notes.Unlock()
	notes.heard = append(notes.heard, repl.ReplaceAll("{event.name} {event.module} {event.data.identifier} {event.data.renewal}", "-"))
	if repl.ReplaceAll("{event.data.identifier}", "") == "refused.example.com" {
		return fmt.Errorf("%w: not this one", caddy.ErrEventAborted)
	}
	return nil
}

func heardOf(hostname string) (out []string) {
	notes.Lock()
	defer notes.Unlock()
	for _, n := range notes.heard {
		if strings.Contains(n, hostname) {
			out = append(out, n)
		}
	}
	return out
}

// allSet is a world in which every challenge can succeed.
type allSet struct{}

func (allSet) Delegated(context.Context, string) (bool, error) { return true, nil }
func (allSet) Arrives(context.Context, string) (bool, error)   { return true, nil }
func (allSet) CAA(context.Context, string) (ownership.CAAObservation, error) {
	return ownership.CAAObservation{}, nil
}

// What people have hooked to Caddy's own events hears of what the scheduler does,
// from the tls app as of Caddy, and may abort; after a reload too.
func TestHooksHearCaddysEvents(t *testing.T) {
	w := newWorld(t)
	// Caddy's health checks, and certificates of own sites, emit events while its apps
	// start, which is a data race of its own.
	config := strings.NewReplacer("health_uri /\n", "", "health_interval 10ms\n", "").Replace(w.caddyfile())
	config = strings.Replace(config, "\tapoxy {\n\t\tzone", "\tevents {\n\t\ton cert_obtaining note\n\t\ton cert_failed note\n\t}\n\ton_demand_tls {\n\t\tpermission apoxy\n\t}\n\tapoxy {\n\t\tzone", 1) +
		fmt.Sprintf("https://*.example.com:%s {\n\tbind 127.0.0.1\n\ttls {\n\t\ton_demand\n\t\tissuer apoxy {\n\t\t\temail ops@example.net\n\t\t\tdir http://127.0.0.1:9/%s\n\t\t}\n\t}\n}\n",
			strings.TrimPrefix(freePort(t), "127.0.0.1:"), filepath.Base(w.dir))
	for _, when := range []string{"start", "reload"} {
		if err := load(t, config); err != nil {
			t.Fatal(err)
		}
		s := running(t).held.scheduler
		s.SetProber(allSet{})
		s.Want(issuance.Want{Hostname: "refused.example.com", UID: "u1" + when, DNS01: true})
		until(t, "the abort", func() bool {
			o := s.Observe("refused.example.com")
			return o.Work == ownership.WorkFailed && strings.Contains(o.Message, "not this one")
		})
		if got := heardOf("refused.example.com"); len(got) == 0 || got[len(got)-1] != "cert_obtaining tls refused.example.com -" {
			t.Errorf("after a %s the handlers heard %q", when, got)
		}
		tried := when + ".example.com"
		s.Want(issuance.Want{Hostname: tried, UID: "u2", DNS01: true}) // of a CA that does not answer
		until(t, "cert_failed", func() bool { return len(heardOf(tried)) >= 2 })
		if got := heardOf(tried); got[0] != "cert_obtaining tls "+tried+" -" || got[1] != "cert_failed tls "+tried+" false" {
			t.Errorf("after a %s the handlers heard %q", when, got)
		}
	}
}

// Interface guards
var (
	_ caddyevents.Handler   = (*noteHandler)(nil)
	_ caddyfile.Unmarshaler = (*noteHandler)(nil)
	_ issuance.Prober       = allSet{}
)
