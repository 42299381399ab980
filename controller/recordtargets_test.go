package controller

import (
	"strings"
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
	"github.com/apoxy-dev/caddy-apoxy/internal/dnstest"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// A target that can serve one record and not another is asked with each: what one
// tenant's annotation says is told of no other, at once where it or what is allowed
// changes, and after a restart during which that changed.
func TestATargetOfRecordsIsAskedWithEach(t *testing.T) {
	world := dnstest.NewCustomer(t)
	world.Domain.Set(dnstest.RightTraffic)
	allowed := "10."
	var b *bench
	ofRecords := func(c *Config) {
		c.Target = func(v1alpha3.TargetKey) ownership.TargetObservation {
			b.mu.Lock()
			defer b.mu.Unlock()
			return ownership.TargetObservation{Found: true, Healthy: true, OfRecord: true, Message: allowed}
		}
		c.TargetOf = func(h *hosts.Host) ownership.TargetObservation {
			b.mu.Lock()
			defer b.mu.Unlock()
			backend, _ := h.Annotation("backend")
			return ownership.TargetObservation{Found: true, Healthy: strings.HasPrefix(backend, allowed), OfRecord: true, Message: "it is " + backend}
		}
	}
	b = newBench(t, newTestResolver(t, world.World), ofRecords)
	b.start()
	const good, bad = "api.example.com", "bad.example.com"
	put := func(host, backend string) {
		r := plainRecord(host)
		r.Annotations = map[string]string{"backend": backend}
		b.put(r)
	}
	put(good, "10.0.0.1")
	put(bad, "127.0.0.1")
	says := func(host, want string) {
		t.Helper()
		b.until(host+" says "+want, func() bool { return status(b.get(host), v1alpha3.ConditionTargetReady) == want })
	}
	says(good, "True TargetHealthy")
	says(bad, "False TargetUnhealthy")
	if m := b.get(bad).Status.Condition(v1alpha3.ConditionTargetReady).Message; !strings.Contains(m, "it is 127.0.0.1") || !strings.Contains(m, "The operator corrects") {
		t.Errorf("the message is %q", m)
	}
	b.mu.Lock()
	allowed = "127."
	b.mu.Unlock()
	b.TargetsChanged()
	says(good, "False TargetUnhealthy")
	says(bad, "True TargetHealthy")

	b.until("the table has it", func() bool { // a start compares with what it has loaded
		g, _ := b.table.Get(good)
		h, _ := b.table.Get(bad)
		return g.Conditions.Status(v1alpha3.ConditionTargetReady) == "False" && h.Conditions.Status(v1alpha3.ConditionTargetReady) == "True"
	})
	b.mu.Lock()
	allowed = "10."
	b.mu.Unlock()
	b.compareTargets(nil) // as at a start
	says(good, "True TargetHealthy")
	says(bad, "False TargetUnhealthy")
	b.expect(b.get(good), v1alpha3.PhaseActive, v1alpha3.ConditionOwnershipVerified, "True CNAMEConfigured")
}
