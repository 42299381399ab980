package controller

import (
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/internal/dnstest"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// Who last held a hostname cannot be read: what may be left behind for somebody
// else proves nothing, the record's own token does, and a verified one stays so.
func TestAHolderWhoCannotBeReadMayBeAnybody(t *testing.T) {
	const host = "api.example.com"
	world := dnstest.NewCustomer(t)
	world.Domain.Set(dnstest.RightTraffic, dnstest.RightChallenge)
	b := newBench(t, newTestResolver(t, world.World)).start()
	spoil := func() {
		t.Helper()
		if _, err := b.store.Write(t.Context(), store.Op{Key: ownership.ReleasedKey(host), Value: []byte("{"), If: store.Any}); err != nil {
			t.Fatal(err)
		}
	}
	spoil()
	r := plainRecord(host)
	b.put(r)
	b.until("it is looked at", func() bool { return b.get(host).Status.Phase != "" })
	b.expect(b.get(host), v1alpha3.PhasePending, v1alpha3.ConditionOwnershipVerified, "False OwnershipNotVerified")
	world.Domain.Set(dnstest.RightTraffic, "_apoxy-challenge.api IN CNAME "+v1alpha3.VerifyToken(r.UID)+"._apoxy-verify.cname.example.net.")
	b.expect(b.check(host), v1alpha3.PhaseActive, v1alpha3.ConditionOwnershipVerified, "True ApoxyChallengeConfigured")
	world.Domain.Set(dnstest.RightTraffic)
	world.Domain.Remove("_apoxy-challenge.api")
	b.expect(b.check(host), v1alpha3.PhaseActive, v1alpha3.ConditionOwnershipVerified, "True CNAMEConfigured")
}
