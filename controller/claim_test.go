package controller

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

func (b *bench) released(host, owner string) {
	raw, _ := json.Marshal(map[string]any{"owner": owner, "uid": "an-earlier-record", "time": metav1.Now()})
	if _, err := b.store.Write(context.Background(), store.Op{Key: "released/" + host, Value: raw, If: store.Any}); err != nil {
		b.t.Fatal(err)
	}
}

func TestAReleasedHostname(t *testing.T) {
	const host = "api.example.com"
	world := newCustomer(t)
	world.zone.Set(rightTraffic, rightChallenge) // left behind
	b := newBench(t, newTestResolver(t, world.World)).start()
	b.released(host, "old-tenant")

	r := plainRecord(host)
	r.Labels = map[string]string{v1alpha3.OwnerLabel: "new-tenant"}
	b.put(r)
	b.until("it is looked at", func() bool { return b.get(host).Status.Phase != "" })
	b.expect(b.get(host), v1alpha3.PhasePending,
		v1alpha3.ConditionCNAMEConfigured, "True CNAMEConfigured",
		v1alpha3.ConditionOwnershipVerified, "False OwnershipNotVerified")

	token := v1alpha3.VerifyToken(r.UID)
	world.zone.Set("_apoxy-challenge.api IN CNAME _apoxy-verify.cname.example.net.")
	b.expect(b.check(host), v1alpha3.PhasePending)
	world.zone.Set("_apoxy-challenge.api IN CNAME " + token + "._apoxy-verify.cname.example.net.")
	b.expect(b.check(host), v1alpha3.PhaseActive, v1alpha3.ConditionOwnershipVerified, "True ApoxyChallengeConfigured")

	// From now on it is this record's, by this token.
	e, _, err := b.store.Get(t.Context(), "released/"+host)
	if err != nil || !strings.Contains(string(e.Value), "new-tenant") {
		t.Fatalf("the holder written down is %s, %v", e.Value, err)
	}
	again := b.check(host)
	b.expect(again, v1alpha3.PhaseActive, v1alpha3.ConditionOwnershipVerified, "True ApoxyChallengeConfigured")
	if d := again.Status.DNSRecord(v1alpha3.PurposeOwnership); !d.Required || !strings.HasPrefix(d.Value, token) {
		t.Errorf("the token's form is no longer asked for: %+v", d)
	}

	// The same tenant's next record needs no token.
	if _, err := b.store.Write(t.Context(), store.Op{Key: recordKey(host), If: store.Any}); err != nil {
		t.Fatal(err)
	}
	b.released(host, "new-tenant")
	next := plainRecord(host)
	next.UID, next.Labels = "uid-2", r.Labels
	b.put(next)
	b.until("the next is verified by what is left", func() bool {
		return status(b.get(host), v1alpha3.ConditionOwnershipVerified) == "True CNAMEConfigured"
	})
}

// idleDNS finds nothing, and counts.
func TestATenantsDelegationProvesNoOtherTenantsWildcard(t *testing.T) {
	world := newCustomer(t)
	world.zone.Set("_acme-challenge IN CNAME _acme-challenge.example.com.cname.example.net.",
		"_apoxy-challenge IN CNAME _apoxy-verify.cname.example.net.")
	b := newBench(t, newTestResolver(t, world.World)).start()
	owned := func(hostname, owner string, at time.Time) *v1alpha3.DomainRecord {
		r := tlsRecord(hostname)
		r.CreationTimestamp = metav1.NewTime(at)
		r.Labels = map[string]string{v1alpha3.OwnerLabel: owner}
		b.put(r)
		b.until("the table has it", func() bool { _, ok := b.table.Get(hostname); return ok })
		return r
	}
	now := time.Now()
	base := owned("example.com", "alice", now.Add(-time.Hour))
	b.until("the base is verified", func() bool {
		return status(b.get(base.Name), v1alpha3.ConditionOwnershipVerified) == "True ApoxyChallengeConfigured"
	})
	wild := owned("*.example.com", "bob", now)
	got := b.check(wild.Name)
	b.expect(got, v1alpha3.PhasePending, v1alpha3.ConditionOwnershipVerified, "False OwnershipNotVerified")
	if d := got.Status.DNSRecord(v1alpha3.PurposeOwnership); !d.Required {
		t.Errorf("no token is asked for: %+v", d)
	}
	if w, ok := b.ca.wanted("*.example.com"); ok {
		t.Errorf("a certificate is wanted: %+v", w)
	}
	b.expect(b.check(base.Name), v1alpha3.PhaseIssuing, v1alpha3.ConditionOwnershipVerified, "True ApoxyChallengeConfigured")

	// It makes no difference that Alice is gone.
	if _, err := b.store.Write(t.Context(), store.Op{Key: recordKey(base.Name), If: store.Any}); err != nil {
		t.Fatal(err)
	}
	b.released("example.com", "alice")
	b.expect(b.check(wild.Name), v1alpha3.PhasePending)

	// Alice herself needs no token, and Bob proves himself by his.
	mine := owned("*.www.example.com", "alice", now)
	if d := b.check(mine.Name).Status.DNSRecord(v1alpha3.PurposeOwnership); d.Required {
		t.Errorf("a token is asked of a hostname that shares nothing: %+v", d)
	}
	world.zone.Set("_apoxy-challenge IN CNAME " + v1alpha3.VerifyToken(wild.UID) + "._apoxy-verify.cname.example.net.")
	b.expect(b.check(wild.Name), v1alpha3.PhaseIssuing, v1alpha3.ConditionOwnershipVerified, "True ApoxyChallengeConfigured")
}

func TestCAAThatWasMendedIsTriedAtOnce(t *testing.T) {
	const host = "api.example.com"
	world := newCustomer(t)
	world.zone.Set(rightChallenge, `@ IN CAA 0 issue "other.example"`)
	b := newBench(t, newTestResolver(t, world.World))
	b.settings.CAIssuers = []string{"ca.example"}
	b.start()
	b.put(tlsRecord(host))
	b.ca.set(host, ownership.CertificateObservation{Outcome: ownership.Absent, Work: ownership.WorkCAAForbids})
	retries := func() int {
		b.ca.mu.Lock()
		defer b.ca.mu.Unlock()
		return len(b.ca.retried)
	}
	b.until("the delegation is seen", func() bool {
		return status(b.get(host), v1alpha3.ConditionACMEChallengeDelegationReady) == "True ACMEChallengeDelegationConfigured"
	})
	b.expect(b.check(host), v1alpha3.PhaseIssuing, v1alpha3.ConditionTLSReady, "False CAAForbidden")
	if n := retries(); n != 0 {
		t.Errorf("tried again %d times while CAA forbids it", n)
	}
	world.zone.Set(`@ IN CAA 0 issue "ca.example"`)
	for range 3 {
		b.check(host)
	}
	if n := retries(); n != 1 {
		t.Errorf("tried again %d times after CAA was mended, want once: the authority knows better from then on", n)
	}
}
