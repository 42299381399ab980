package target

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	_ "github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

type fixed struct {
	name   string
	health Health
}

func (fixed) Serve(http.ResponseWriter, *http.Request, Next) error { return nil }
func (f fixed) Health() Health                                     { return f.health }

var (
	well = Health{Healthy: true}
	ill  = Health{Message: "no upstream answers"}
	api  = Ref{Kind: "Proxy", Name: "api"}
)

func TestRegistryOfATargetDefinedTwice(t *testing.T) {
	for _, c := range []struct {
		name          string
		first, second Health
		want          Health
		serves        string
	}{
		{"both are well", well, well, well, "first"},
		{"the second is well", ill, well, well, "second"},
		{"the first is well", well, ill, well, "first"},
		{"neither is well: the first serves and says why", ill, Health{Message: "other"}, ill, "first"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var g Registry
			g.Add(api, fixed{"first", c.first})
			g.Add(api, fixed{"second", c.second})
			if got, ok := g.Health(api); got != c.want || !ok {
				t.Errorf("Health = %+v, %v, want %+v", got, ok, c.want)
			}
			got, ok := g.Get(api)
			if !ok || got.(fixed).name != c.serves {
				t.Errorf("Get = %+v, %v, want the %s", got, ok, c.serves)
			}
		})
	}
}

func TestRegistryNamesWhatThereIsInPlaceOfAMissingTarget(t *testing.T) {
	var g Registry
	if h, ok := g.Health(api); ok || h.Healthy || !strings.Contains(h.Message, "no targets") {
		t.Errorf("Health of nothing = %+v, %v", h, ok)
	}
	if _, ok := g.Get(api); ok {
		t.Error("Get finds a target where there is none")
	}
	for _, name := range strings.Split("a b c d e f g h i j", " ") {
		g.Add(Ref{"Gateway", name}, fixed{name, well})
	}
	h, ok := g.Health(api)
	if ok || !strings.Contains(h.Message, `Gateway "a", Gateway "b"`) || !strings.Contains(h.Message, "and 2 more") {
		t.Errorf("Health of a missing target = %+v, %v", h, ok)
	}
}

func TestRegistryIsFilledByManyAtOnce(t *testing.T) {
	var g Registry
	var work sync.WaitGroup
	for _, name := range strings.Split("a b c d e f g h", " ") {
		work.Go(func() { g.Add(Ref{"Gateway", name}, fixed{name, well}) })
	}
	work.Wait()
	if got := g.Snapshot(); len(got) != 8 || !maps.Equal(got, g.Snapshot()) {
		t.Errorf("snapshot = %v, want all eight", got)
	}
}

func TestProxyWithoutStaticUpstreamsCountsAsHealthy(t *testing.T) {
	if h := (Proxy{new(reverseproxy.Handler)}).Health(); !h.Healthy {
		t.Errorf("Health = %+v", h)
	}
}

// Caddy's own active health checks, against a backend that falls ill and
// recovers.
func TestProxyIsAsHealthyAsItsHealthChecksSay(t *testing.T) {
	var status atomic.Int64
	status.Store(http.StatusOK)
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(int(status.Load()))
	}))
	defer backend.Close()
	address := strings.TrimPrefix(backend.URL, "http://")
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	defer cancel()
	mod, err := ctx.LoadModuleByID("http.handlers.reverse_proxy", fmt.Appendf(nil,
		`{"upstreams":[{"dial":%q}],"health_checks":{"active":{"uri":"/","interval":"10ms","timeout":"5s"}}}`, address))
	if err != nil {
		t.Fatal(err)
	}
	p := Proxy{mod.(*reverseproxy.Handler)}
	for _, want := range []bool{true, false, true} {
		if !want {
			status.Store(http.StatusInternalServerError)
		} else {
			status.Store(http.StatusOK)
		}
		deadline := time.After(10 * time.Second)
		tick := time.NewTicker(5 * time.Millisecond)
		for p.Health().Healthy != want {
			select {
			case <-tick.C:
			case <-deadline:
				t.Fatalf("Health stays %+v while the backend answers %d", p.Health(), status.Load())
			}
		}
		tick.Stop()
		if h := p.Health(); !want && !strings.Contains(h.Message, address) {
			t.Errorf("the message does not name the upstream: %q", h.Message)
		}
	}
}
