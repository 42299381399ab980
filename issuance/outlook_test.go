package issuance

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
)

// placed is a name and its place, once it waits.
func (w *world) placed(hostname string) (p Place) {
	w.t.Helper()
	ok := false
	w.wait(hostname+" to have a place", func() bool { p, ok = w.s.Place(hostname); return ok && !p.InFlight }, func() string { return fmt.Sprintf("%+v, %v", p, ok) })
	return p
}

func TestTheOutlookTellsWhoWaitsAndForHowLong(t *testing.T) {
	w := newWorld(t)
	w.is.Set(w.magic.Issuers[0], acme.Authority{Directory: w.ca.Directory(), Email: "ops@example.net", Budget: acme.Budget{Orders: 1, Per: time.Hour}}, w.magic, nil)
	w.certified("first.example.com")
	if p, ok := w.s.Place("first.example.com"); ok {
		t.Errorf("a name with its certificate waits: %+v", p)
	}
	if o := w.s.Outlook(); len(o) != 1 || o[0].Waiting != 0 || !o[0].Done.IsZero() || !o[0].Held.IsZero() || o[0].Directory != w.ca.Directory() || o[0].Name != "127.0.0.1" {
		t.Errorf("with nothing to do: %+v", o)
	}
	for i := range 4 {
		host := fmt.Sprintf("h%d.example.com", i)
		w.dns.delegate(host)
		w.s.Want(Want{Hostname: host, UID: host, DNS01: true})
		if p := w.placed(host); p.Ahead != i || p.Authority != "127.0.0.1" || p.Due.Before(time.Now().Add(time.Duration(i+1)*59*time.Minute)) {
			t.Errorf("%s: %+v", host, p)
		}
	}
	o := w.s.Outlook()[0]
	if left := time.Until(o.Done); o.Waiting != 4 || o.InFlight != 0 || left < 3*time.Hour || left > 4*time.Hour {
		t.Errorf("with four names that wait: %+v", o)
	}

	// The authority asks to wait: the same wait, and for longer.
	c, until := w.is.cas()[0], time.Now().Add(100*time.Hour)
	if _, err := w.s.ledger.put(t.Context(), c, acme.ScopeCA, "", until, "too many", time.Now()); err != nil {
		t.Fatal(err)
	}
	w.s.entries.mu.Lock()
	w.s.entries.reroute()
	w.s.entries.mu.Unlock()
	w.s.entries.poke()
	w.wait("all to be put off", func() bool {
		w.s.entries.mu.Lock()
		defer w.s.entries.mu.Unlock()
		return len(w.s.entries.putOff) == 4
	}, func() string { return fmt.Sprintf("%+v", w.s.Outlook()) })
	if o := w.s.Outlook()[0]; o.Waiting != 4 || !o.Held.Equal(until) || o.Why != "too many" || !o.Done.Equal(until) {
		t.Errorf("while it is held: %+v", o)
	}
	if p := w.placed("h3.example.com"); p.Ahead != -1 || p.Authority != "127.0.0.1" || !p.Due.Equal(until) || !strings.Contains(p.Why, "asked to wait") {
		t.Errorf("while it is held: %+v", p)
	}
	w.s.Forget("h3.example.com")
	if o := w.s.Outlook()[0]; o.Waiting != 3 {
		t.Errorf("of four names one has gone: %+v", o)
	}
	if _, ok := w.s.Place("h3.example.com"); ok {
		t.Error("one that has gone waits")
	}
	w.advance(101 * time.Hour)
	w.wait("an order", func() bool { return w.ca.Placed() > 1 }, func() string { return fmt.Sprintf("%+v", w.s.Outlook()) })
}

func TestWhatIsCountedIsCountedDown(t *testing.T) {
	w := newWorld(t)
	w.certified("a.example.com", "b.example.com")
	w.s.entries.mu.Lock()
	defer w.s.entries.mu.Unlock()
	if es := w.s.entries; len(es.flights) != 0 || len(es.heldAt) != 0 {
		t.Errorf("%d flights, %v held", len(es.flights), es.heldAt)
	}
}

func TestAnUnknownCAIsNamedByWhatIsWrong(t *testing.T) {
	w := newWorld(t)
	w.dns.delegate("a.example.com")
	w.s.Want(Want{Hostname: "a.example.com", UID: "u1", DNS01: true, CertificateAuthority: "nobody"})
	if p := w.placed("a.example.com"); p.Authority != "" || p.Ahead != -1 || !strings.Contains(p.Why, `"nobody" is not configured`) {
		t.Errorf("%+v", p)
	}
}

func TestTheChainIsThatOfHandshakes(t *testing.T) {
	w := newWorld(t)
	if chain, err := w.s.Chain(t.Context(), shopHost, "u1"); err != nil || len(chain) != 0 {
		t.Errorf("of a name without a certificate: %v, %v", chain, err)
	}
	w.certified(shopHost)
	chain, err := w.s.Chain(t.Context(), shopHost, "u1")
	if err != nil || len(chain) < 2 || chain[0].VerifyHostname(shopHost) != nil || chain[0].CheckSignatureFrom(chain[1]) != nil {
		t.Fatalf("%d certificates, %v", len(chain), err)
	}
	if got, want := fmt.Sprintf("%x", chain[0].SerialNumber), w.s.Observe(shopHost).SerialNumber; got != want {
		t.Errorf("the serial number is %s, want %s", got, want)
	}
	w.upload("u1", 77, 24*365*time.Hour)
	w.shows("u1", true)
	if chain, err := w.s.Chain(t.Context(), shopHost, "u1"); err != nil || len(chain) != 1 || chain[0].SerialNumber.Int64() != 77 {
		t.Errorf("of the customer's own: %v, %v", chain, err)
	}
	if chain, err := w.s.Chain(t.Context(), shopHost, "of a neighbour"); err != nil || len(chain) == 0 || chain[0].SerialNumber.Int64() == 77 {
		t.Errorf("of another record: %v, %v", chain, err)
	}
}
