package issuance

import (
	"testing"
	"time"

	acmez "github.com/mholt/acmez/v3/acme"

	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// A challenge is not tried before resolvers have forgotten what was there, whoever asks.
func TestAnOrderWaitsForWhatResolversHold(t *testing.T) {
	w := newWorld(t)
	w.ca.Validate = func(string, string, string, string) *acmez.Problem { return nil }
	w.dns.delegate("a.example.com")
	from := time.Now().Add(time.Hour).Unix()
	w.s.Want(Want{Hostname: "a.example.com", UID: "u", DNS01: true, DNS01From: from})
	w.s.Want(Want{Hostname: "b.example.com", UID: "u", HTTP01: true, HTTP01From: from, DNS01From: 1})
	w.s.Want(Want{Hostname: "c.example.com", UID: "u", HTTP01: true, DNS01: true, DNS01From: from})
	o := w.until("c.example.com", "is obtained by what waits for nothing", seen)
	if o.Challenge == "dns-01" {
		t.Errorf("%+v", o)
	}
	for _, host := range []string{"a.example.com", "b.example.com"} {
		w.s.Retry(host)
		w.s.entries.mu.Lock()
		err := w.s.entries.refuses(w.s.entries.of.get(host), w.is.member(w.magic.Issuers[0]), host)
		w.s.entries.mu.Unlock()
		if o := w.until(host, "is waiting", worked(ownership.WorkNone)); o.Outcome == ownership.Seen || err == nil {
			t.Errorf("%s: %+v, a handshake is refused by %v", host, o, err)
		}
	}
	w.advance(time.Hour + time.Second)
	for _, host := range []string{"a.example.com", "b.example.com"} {
		w.until(host, "is obtained afterwards", seen)
	}
}
