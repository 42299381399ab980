package controller

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/internal/dnstest"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
	"github.com/apoxy-dev/caddy-apoxy/resolver"
)

// Without the option a world of private addresses works through its resolvers,
// from the first record to the withdrawal of the last proof.
func TestARecordsLifeThroughResolversAlone(t *testing.T) {
	world := dnstest.NewCustomer(t)
	b := newBench(t, newTestResolver(t, world.World, func(c *resolver.Config) { c.PrivateNetworks = nil })).start()
	const host = "api.example.com"
	b.put(plainRecord(host))
	b.until("the new record is looked at", func() bool { return b.get(host).Status.Phase != "" })
	r := b.check(host)
	b.expect(r, v1alpha3.PhasePending, v1alpha3.ConditionCNAMEConfigured, "False CNAMENotConfigured")
	if m := r.Status.Condition(v1alpha3.ConditionCNAMEConfigured).Message; !strings.Contains(m, "`private_networks`") ||
		!strings.Contains(m, world.NS1.Addr.String()) {
		t.Errorf("the message does not name the server and the option: %s", m)
	}
	world.Domain.Set("api.example.com IN CNAME api.example.com.cname.example.net.")
	if p := b.check(host).Status.DNSRecord(v1alpha3.PurposeTraffic).Problem; p == nil || p.Reason != ownership.ProblemZoneAppendedToName {
		t.Errorf("the mistake is not recognised: %+v", p)
	}
	world.Domain.Set(dnstest.RightTraffic)
	r = b.check(host)
	b.expect(r, v1alpha3.PhaseActive, v1alpha3.ConditionReady, "True Ready")
	if m := r.Status.Condition(v1alpha3.ConditionCNAMEConfigured).Message; !strings.Contains(m, "`private_networks`") {
		t.Errorf("the message does not name the option: %s", m)
	}
	world.Domain.Remove("api")
	b.expect(b.check(host), v1alpha3.PhaseActive, v1alpha3.ConditionCNAMEConfigured, "False CNAMENotConfigured")
	b.clock.advance(11 * time.Minute)
	b.expect(b.check(host), v1alpha3.PhaseDetached, v1alpha3.ConditionOwnershipVerified, "False ProofWithdrawn")
	if n := world.NS1.Asked() + world.NS2.Asked(); n > 0 {
		t.Errorf("the servers were asked %d times", n)
	}
}

// While CAA cannot be looked up nothing else of the record changes, and once it
// can, issuance that waits for it is told at once.
func TestTheMendOfCAAIsFollowedByATry(t *testing.T) {
	const host = "api.example.com"
	world := dnstest.NewCustomer(t)
	world.Domain.Set(dnstest.RightChallenge)
	b := newBench(t, newTestResolver(t, world.World))
	b.settings.Issuers = []ownership.Issuer{{Identities: []string{"ca.example"}, Methods: []string{"dns-01"}}}
	b.start()
	b.put(tlsRecord(host))
	b.until("the delegation is seen", func() bool {
		return status(b.get(host), v1alpha3.ConditionACMEChallengeDelegationReady) == "True ACMEChallengeDelegationConfigured"
	})
	world.Behave(dnstest.ForType(dns.TypeCAA, dnstest.Fail(dns.RcodeNotImplemented)))
	b.ca.set(host, ownership.CertificateObservation{Outcome: ownership.Absent, Message: "CAA cannot be looked up"})
	retries := func() int {
		b.ca.mu.Lock()
		defer b.ca.mu.Unlock()
		return len(b.ca.retried)
	}
	before := b.check(host)
	retried := retries()
	for range 3 {
		now := b.check(host)
		for _, c := range before.Status.Conditions {
			if n := now.Status.Condition(c.Type); n == nil || n.Status != c.Status || n.Reason != c.Reason || n.Message != c.Message || !n.LastTransitionTime.Equal(&c.LastTransitionTime) {
				t.Errorf("%s changed from %+v to %+v", c.Type, c, n)
			}
		}
	}
	b.expect(b.get(host), v1alpha3.PhaseIssuing, v1alpha3.ConditionTLSReady, "False WaitingForDNS")
	if n := retries(); n != retried {
		t.Errorf("tried again %d times while CAA cannot be looked up", n-retried)
	}
	world.Behave(nil)
	for range 3 {
		b.check(host)
	}
	if n := retries() - retried; n != 1 {
		t.Errorf("tried again %d times after the mend, want once", n)
	}
}

// sparingDNS sees what its Resolver sees. While spare is set, a look that only a hint
// caused has had its share before it is done.
type sparingDNS struct {
	*resolver.Resolver
	spare atomic.Bool
}

func (d *sparingDNS) Observe(ctx context.Context, hostname string, kind resolver.Kind) ownership.DNSObservation {
	if n := resolver.RationOf(ctx); d.spare.Load() && n.Cause() == resolver.Proven {
		n.Spend()
	}
	return d.Resolver.Observe(ctx, hostname, kind)
}

func TestAHintedLookThatHadItsShareChangesNothing(t *testing.T) {
	world := dnstest.NewCustomer(t)
	world.Domain.Set(dnstest.RightTraffic)
	dns := &sparingDNS{Resolver: newTestResolver(t, world.World)}
	b := newBench(t, dns).start()
	const host = "api.example.com"
	b.put(tlsRecord(host))
	b.until("it is seen", func() bool {
		h, ok := b.table.Get(host)
		return ok && h.CNAMEConfigured && b.idle(host)
	})
	before := b.get(host)
	dns.spare.Store(true)
	world.Domain.Set("api IN CNAME app.old.org.")
	b.Hint(host)
	b.until("the look is over", func() bool {
		b.Controller.mu.Lock()
		defer b.Controller.mu.Unlock()
		return b.byName[host].known().hintFrom != 0 && b.byName[host].state == idle && b.byName[host].pending == 0
	})
	if after := b.get(host); !ownership.Equal(before.Status, after.Status) {
		t.Errorf("the status changed: %+v", after.Status)
	}
	if at := b.NextLook(host); !at.After(b.clock.now()) {
		t.Errorf("the next look is at %v", at)
	}
	b.expect(b.check(host), v1alpha3.PhasePending, v1alpha3.ConditionCNAMEConfigured, "False CNAMEMismatch")
}
