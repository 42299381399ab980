package issuance

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	acmez "github.com/mholt/acmez/v3/acme"
	"golang.org/x/crypto/ocsp"

	"github.com/apoxy-dev/caddy-apoxy/internal/acmetest"
	"github.com/apoxy-dev/caddy-apoxy/issuance/certfiles"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// heardEvent is an event as a handler hears it.
type heardEvent struct {
	name string
	data map[string]any
}

// form is the name of an event with the keys and types of its data.
func (e heardEvent) form() string {
	out := []string{e.name}
	for _, key := range slices.Sorted(maps.Keys(e.data)) {
		kind := fmt.Sprintf("%T", e.data[key])
		if _, ok := e.data[key].(error); ok {
			kind = "error"
		}
		out = append(out, key+" "+kind)
	}
	return strings.Join(out, ", ")
}

// listener hears the events of certificates.
type listener struct {
	mu    sync.Mutex
	heard []heardEvent
	// refuse is what a handler of cert_obtaining says.
	refuse error
}

// listen has a listener hear what the world's configuration raises.
func (w *world) listen() *listener {
	l := &listener{}
	w.magic.OnEvent = func(_ context.Context, name string, data map[string]any) error {
		if !strings.HasPrefix(name, "cert_") {
			return nil
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.heard = append(l.heard, heardEvent{name, data})
		if name == certfiles.EventObtaining {
			return l.refuse
		}
		return nil
	}
	return l
}

func (l *listener) refuses(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refuse = err
}

// take waits for n events and takes them.
func (l *listener) take(w *world, n int) (heard []heardEvent) {
	w.t.Helper()
	names := func() (out []string) {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, e := range l.heard {
			out = append(out, e.name)
		}
		return out
	}
	w.wait(fmt.Sprintf("%d events", n), func() bool { return len(names()) >= n }, func() string { return fmt.Sprint(names()) })
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.heard) != n {
		w.t.Errorf("there are %d events, want %d: %v", len(l.heard), n, l.heard)
	}
	heard, l.heard = l.heard, nil
	return heard
}

// The end of each order is told, with what came of it.
func TestTheEndOfAnOrderIsTold(t *testing.T) {
	const host = "api.example.com"
	w := newWorld(t)
	ended := func() (o Ordered) {
		t.Helper()
		select {
		case o = <-w.order:
		case <-time.After(20 * time.Second):
			t.Fatal("waiting for the end of an order took more than 20 s")
		}
		return o
	}
	w.certified(host)
	if o := ended(); !o.Obtained || o.Hostname != host || o.CA != w.key() || !strings.Contains(o.Message, "valid until") {
		t.Errorf("of a certificate is told %+v", o)
	}
	w.ca.Mu.Lock()
	w.ca.Inject = func(path string) *acmetest.Answer {
		if path == "order" {
			return &acmetest.Answer{Status: 403, Problem: acmez.Problem{Type: acmez.ProblemTypeRejectedIdentifier, Detail: "policy"}}
		}
		return nil
	}
	w.ca.Mu.Unlock()
	w.rewrite(host, func(r *dossier) { r.Renewal = 1 })
	if o := ended(); o.Obtained || o.Hostname != host || o.CA != w.key() || !strings.Contains(o.Message, "policy") {
		t.Errorf("of a failure is told %+v", o)
	}
}

// What is raised for work of the scheduler is what certmagic raises for the same
// work of a handshake.
func TestEventsAreThoseOfCertmagic(t *testing.T) {
	const host = "api.example.com"
	w := newWorld(t)
	l := w.listen()
	w.certified(host)
	ours := l.take(w, 2)

	certfiles.Evict(w.magic, host)
	if err := certfiles.At(w.magic.Storage, w.key(), host).Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.magic.ObtainCertSync(t.Context(), host); err != nil {
		t.Fatal(err)
	}
	theirs := l.take(w, 2)
	for i := range ours {
		if got, want := ours[i].form(), theirs[i].form(); got != want {
			t.Errorf("the scheduler raises %s\ncertmagic raises   %s", got, want)
		}
		for _, key := range []string{"renewal", "identifier", "issuer", "storage_path", "private_key_path", "certificate_path", "metadata_path"} {
			if got, want := ours[i].data[key], theirs[i].data[key]; got != want {
				t.Errorf("%s: the scheduler says %s %v, certmagic %v", ours[i].name, key, got, want)
			}
		}
	}
	block, _ := pem.Decode(ours[1].data["csr_pem"].([]byte))
	if block == nil || block.Type != "CERTIFICATE REQUEST" || len(block.Bytes) == 0 {
		t.Errorf("the request is %s", ours[1].data["csr_pem"])
	}
	if key := ours[1].data["private_key_path"].(string); !w.magic.Storage.Exists(t.Context(), key) {
		t.Errorf("storage has no %s", key)
	}

	before := w.until(host, "landed", seen)
	w.renewed(host, before)
	ours = l.take(w, 2)
	if err := w.magic.RenewCertSync(t.Context(), host, true); err == nil {
		t.Fatal("certmagic renews what is the scheduler's")
	}
	theirs = l.take(w, 2)
	if got, want := ours[0].form(), theirs[0].form(); got != want {
		t.Errorf("of a renewal the scheduler raises %s\ncertmagic raises %s", got, want)
	}
	if d := ours[1].data; ours[1].name != certfiles.EventObtained || d["renewal"] != true || d["remaining"].(time.Duration) <= 0 || d["issuer"] != w.key() {
		t.Errorf("of a renewal the scheduler raises %+v", ours[1])
	}

	w.ca.Mu.Lock()
	w.ca.Inject = func(path string) *acmetest.Answer {
		if path == "order" {
			return &acmetest.Answer{Status: 403, Problem: acmez.Problem{Type: acmez.ProblemTypeRejectedIdentifier, Detail: "policy"}}
		}
		return nil
	}
	w.ca.Mu.Unlock()
	w.rewrite(host, func(r *dossier) { r.Renewal = 1 })
	ours = l.take(w, 2)
	if got, want := ours[1].form(), theirs[1].form(); got != want {
		t.Errorf("of a failure the scheduler raises %s\ncertmagic raises %s", got, want)
	}
	if err := ours[1].data["error"].(error); !strings.Contains(err.Error(), "policy") || !slices.Equal(ours[1].data["issuers"].([]string), []string{w.key()}) {
		t.Errorf("of a failure the scheduler says %+v", ours[1].data)
	}
}

// A handler that aborts cert_obtaining is obeyed: no CA hears of the hostname, and
// the operator reads why.
func TestAHandlerMayAbort(t *testing.T) {
	const host = "api.example.com"
	w := newWorld(t)
	l := w.listen()
	l.refuses(errors.New("not on my watch"))
	w.dns.delegate(host)
	w.s.Want(Want{Hostname: host, UID: "u1", DNS01: true})
	o := w.until(host, "kept from being obtained", worked(ownership.WorkFailed))
	if !strings.Contains(o.Message, certfiles.EventObtaining) || !strings.Contains(o.Message, "not on my watch") || !strings.HasPrefix(o.Mend, "The operator") || o.Until.IsZero() {
		t.Errorf("observed %+v", o)
	}
	if n := w.ca.Placed(); n != 0 {
		t.Errorf("%d orders reached the CA", n)
	}
	l.take(w, 1) // and no cert_failed, as of certmagic
	l.refuses(nil)
	w.s.Retry(host)
	w.until(host, "certified", seen)
	l.take(w, 2)
}

// A handler that never ends holds neither the slot nor the news.
func TestAHandlerThatNeverEndsHoldsNothing(t *testing.T) {
	const host = "api.example.com"
	w := newWorld(t)
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	w.magic.OnEvent = func(_ context.Context, name string, _ map[string]any) error {
		if name == certfiles.EventObtained {
			<-release
		}
		return nil
	}
	w.certified(host, "www.example.com")
	w.s.entries.mu.Lock()
	defer w.s.entries.mu.Unlock()
	if w.s.entries.flying != 0 {
		t.Errorf("%d slots are held", w.s.entries.flying)
	}
}

// What the CA revoked is told once, whoever learns of it.
func TestARevocationIsRaisedOnce(t *testing.T) {
	w, r, before := certified(t)
	w.halt()
	w.is.Shows = nil
	l := w.listen()
	heard := w.magic.OnEvent
	w.start()
	front := &certfiles.Front{Shows: func(context.Context, string) certfiles.Shown { return certfiles.ShowAny }}
	front.SetIndex(w.s)
	w.magic.OnEvent = heard
	front.Install(w.magic, nil)
	w.certified("api.example.com")
	cert, err := w.magic.CacheManagedCertificate(t.Context(), "api.example.com")
	if err != nil {
		t.Fatal(err)
	}
	l.take(w, 0)
	r.revoke(before.SerialNumber, ocsp.Superseded)
	w.advance(2 * time.Minute)
	w.until("api.example.com", "replaced", otherThan(before.SerialNumber))
	all := l.take(w, 3)
	i := slices.IndexFunc(all, func(e heardEvent) bool { return e.name == certfiles.EventRevoked })
	if i < 0 {
		t.Fatalf("raised were %+v", all)
	}
	theirs := heardEvent{certfiles.EventRevoked, map[string]any{"subjects": cert.Names, "certificate": cert, "reason": ocsp.Superseded, "revoked_at": time.Now()}}
	if got, want := all[i].form(), theirs.form(); got != want {
		t.Errorf("the scheduler raises %s\ncertmagic raises   %s", got, want)
	}
	d := all[i].data
	if c := d["certificate"].(certmagic.Certificate); c.Leaf == nil || c.PrivateKey == nil || c.Leaf.SerialNumber.Cmp(cert.Leaf.SerialNumber) != 0 || d["reason"] != ocsp.Superseded {
		t.Errorf("the scheduler raises %+v", d)
	}
	if err := w.magic.OnEvent(t.Context(), certfiles.EventRevoked, theirs.data); err != nil { // as certmagic's maintenance would
		t.Fatal(err)
	}
	l.take(w, 0)
}
