package controller

import (
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/internal/dnstest"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
	"github.com/apoxy-dev/caddy-apoxy/resolver"
)

// What SettledRate is made of: the questions to the customer's servers while all is as it
// was, where nothing is remembered of the domain but where its servers are.
func TestQuestionsOfASettledLook(t *testing.T) {
	w, _, z := provider(t, 4)
	z.Set(dnstest.RightTraffic, dnstest.RightChallenge)
	b := newBench(t, newTestResolver(t, w, func(c *resolver.Config) { c.CacheTTL = time.Minute })).start()
	const host = "api.example.com"
	b.put(tlsRecord(host))
	b.ca.set(host, ownership.CertificateObservation{
		Outcome: ownership.Seen, RecordUID: "uid-of-" + host, NotAfter: b.clock.now().Add(1000 * time.Hour),
	})
	b.CertificateChanged(host)
	b.until("it is settled", func() bool { return isTrue(&b.get(host).Status, v1alpha3.ConditionReady) })
	r := b.get(host)
	b.observe(t.Context(), r, false) // where its servers are
	before := packets(w)
	s := b.observe(t.Context(), r, false)
	if n := packets(w) - before; n > 6 || !s.traffic.Brief || !s.challenge.Brief {
		t.Errorf("%d questions, want 6 at most: %+v", n, s)
	}
}
