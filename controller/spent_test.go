package controller

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/internal/dnstest"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
	"github.com/apoxy-dev/caddy-apoxy/resolver"
)

// asked is a resolver whose servers, while spent, have been asked often enough for hints.
type asked struct {
	DNS
	spent atomic.Bool
	looks atomic.Int32
}

func (a *asked) Observe(ctx context.Context, hostname string, kind resolver.Kind) ownership.DNSObservation {
	if n := resolver.RationOf(ctx); a.spent.Load() && n.Cause() != resolver.Owed {
		n.Spend()
		a.looks.Add(1)
	}
	return a.DNS.Observe(ctx, hostname, kind)
}

// A certificate that comes while a hint has a record looked at is in the status at once,
// although the look itself has to wait because many customers share a name server.
func TestNewsOfACertificateOutlastALookThatHadItsShare(t *testing.T) {
	const host = "api.example.com"
	world := dnstest.NewCustomer(t)
	world.Domain.Set(dnstest.RightChallenge)
	dns := &asked{DNS: newTestResolver(t, world.World)}
	b := newBench(t, dns).start()
	b.put(tlsRecord(host))
	b.expect(b.check(host), v1alpha3.PhaseIssuing, v1alpha3.ConditionACMEChallengeDelegationReady, "True ACMEChallengeDelegationConfigured")

	b.until("nothing of it is under way", func() bool {
		b.Controller.mu.Lock()
		defer b.Controller.mu.Unlock()
		e := b.ofHost(host)
		return e.state == idle && e.pending == 0
	})
	dns.spent.Store(true)
	b.ca.set(host, ownership.CertificateObservation{
		Outcome: ownership.Seen, RecordUID: "uid-of-" + host, Issuer: "Test CA", Challenge: "dns-01",
		NotBefore: b.clock.now().Add(-time.Hour), NotAfter: b.clock.now().Add(time.Hour),
	})
	b.Controller.mu.Lock() // so that both are found together
	e := b.ofHost(host)
	b.queue.demand(e, workLook|workHinted)
	b.queue.demand(e, workJudge)
	b.Controller.mu.Unlock()
	b.poke()
	b.until("the certificate is in the status", func() bool { return b.get(host).Status.Phase == v1alpha3.PhaseActive })
	if dns.looks.Load() == 0 {
		t.Error("no look had its share: this test shows nothing")
	}
}
