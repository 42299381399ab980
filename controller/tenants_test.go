package controller

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/internal/dnstest"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

func (b *bench) released(host, owner string) {
	raw, _ := json.Marshal(map[string]any{"owner": owner, "uid": "an-earlier-record", "time": metav1.Now()})
	if _, err := b.store.Write(context.Background(), store.Op{Key: ownership.ReleasedKey(host), Value: raw, If: store.Any}); err != nil {
		b.t.Fatal(err)
	}
}

func TestAReleasedHostname(t *testing.T) {
	const host = "api.example.com"
	world := dnstest.NewCustomer(t)
	world.Domain.Set(dnstest.RightTraffic, dnstest.RightChallenge) // left behind
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
	world.Domain.Set("_apoxy-challenge.api IN CNAME _apoxy-verify.cname.example.net.")
	b.expect(b.check(host), v1alpha3.PhasePending)
	world.Domain.Set("_apoxy-challenge.api IN CNAME " + token + "._apoxy-verify.cname.example.net.")
	b.expect(b.check(host), v1alpha3.PhaseActive, v1alpha3.ConditionOwnershipVerified, "True ApoxyChallengeConfigured")

	// It stays this record's, by this token, and is remembered as such at once.
	e, _, err := b.store.Get(t.Context(), ownership.ReleasedKey(host))
	if err != nil || !strings.Contains(string(e.Value), `"owner":"new-tenant"`) || !strings.Contains(string(e.Value), string(r.UID)) {
		t.Errorf("the holder written down is %s, %v", e.Value, err)
	}
	again := b.check(host)
	b.expect(again, v1alpha3.PhaseActive, v1alpha3.ConditionOwnershipVerified, "True ApoxyChallengeConfigured")
	if d := again.Status.DNSRecord(v1alpha3.PurposeOwnership); d.Required || !d.Configured || !strings.HasPrefix(d.Value, token) {
		t.Errorf("the holder itself is asked for more than it has shown: %+v", d)
	}

	// The same tenant's next record needs no token.
	b.end(host)
	next := plainRecord(host)
	next.UID, next.Labels = "uid-2", r.Labels
	b.put(next)
	b.until("the next is verified by what is left", func() bool {
		return status(b.get(host), v1alpha3.ConditionOwnershipVerified) == "True CNAMEConfigured"
	})
}

func TestATenantsDelegationProvesNoOtherTenantsWildcard(t *testing.T) {
	world := dnstest.NewCustomer(t)
	world.Domain.Set("_acme-challenge IN CNAME _acme-challenge.example.com.cname.example.net.",
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
	b.end(base.Name)
	b.expect(b.check(wild.Name), v1alpha3.PhasePending)

	// Alice herself needs no token, and Bob proves himself by his.
	mine := owned("*.www.example.com", "alice", now)
	if d := b.check(mine.Name).Status.DNSRecord(v1alpha3.PurposeOwnership); d.Required {
		t.Errorf("a token is asked of a hostname that shares nothing: %+v", d)
	}
	world.Domain.Set("_apoxy-challenge IN CNAME " + v1alpha3.VerifyToken(wild.UID) + "._apoxy-verify.cname.example.net.")
	b.expect(b.check(wild.Name), v1alpha3.PhaseIssuing, v1alpha3.ConditionOwnershipVerified, "True ApoxyChallengeConfigured")
}

// A verdict that opens the gate is void if what it rests on has changed by the
// time that it is written.
func TestARecordThatBecomesContestedInThatMoment(t *testing.T) {
	world := dnstest.NewCustomer(t)
	world.Domain.Set("@ IN A 203.0.113.10", "_apoxy-challenge IN CNAME _apoxy-verify.cname.example.net.")
	var meddler *meddlingStore
	b := newBench(t, newTestResolver(t, world.World), func(c *Config) {
		meddler = &meddlingStore{Store: c.Store}
		c.Store = meddler
	})
	meddler.before = func(ops []store.Op) {
		if ops[0].Key == recordKey("example.com") && strings.Contains(string(ops[0].Value), `"verified":true`) {
			meddler.once.Do(func() {
				wild := tlsRecord("*.example.com")
				wild.Labels = map[string]string{v1alpha3.OwnerLabel: "bob"}
				b.put(wild)
			})
		}
	}
	b.start()
	b.put(plainRecord("example.com"))
	b.until("it is contested", func() bool {
		d := b.get("example.com").Status.DNSRecord(v1alpha3.PurposeOwnership)
		return d != nil && d.Required
	})
	b.expect(b.check("example.com"), v1alpha3.PhasePending, v1alpha3.ConditionOwnershipVerified, "False OwnershipNotVerified")

	// Once the neighbour has gone unproven, it is as if it had never been.
	b.end("example.com--wildcard")
	b.until("it is verified", func() bool { return b.get("example.com").Verified() })
}

// meddlingStore lets a test write in between.
type meddlingStore struct {
	store.Store
	once   sync.Once
	before func(ops []store.Op)
}

func (m *meddlingStore) Write(ctx context.Context, ops ...store.Op) (int64, error) {
	m.before(ops)
	return m.Store.Write(ctx, ops...)
}

func TestUnprovenRecordsExpire(t *testing.T) {
	world := dnstest.NewCustomer(t)
	var b *bench
	b = newBench(t, newTestResolver(t, world.World), func(c *Config) {
		c.Delete = func(_ context.Context, name string, uid types.UID) error {
			if r := b.get(name); r.UID == uid && !r.Proven() {
				b.end(name)
			}
			return nil
		}
	})
	b.settings.UnprovenTTL = time.Hour
	b.start()
	const lost, kept = "api.example.com", "www.example.com"
	world.Domain.Set("www IN CNAME www.example.com.cname.example.net.")
	b.put(plainRecord(lost))
	b.put(plainRecord(kept))
	b.until("one is verified", func() bool { return b.get(kept).Verified() })
	world.Domain.Remove("www")
	b.clock.advance(30 * time.Minute)
	b.check(lost)
	b.check(kept)
	b.clock.advance(31 * time.Minute)
	b.check(kept)
	if err := b.Check(t.Context(), lost); err != nil && !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
	if _, err := b.read(t.Context(), lost); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a record that was never verified is still there: %v", err)
	}
	b.expect(b.get(kept), v1alpha3.PhaseDetached)
	b.until("it is told why", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return slices.ContainsFunc(b.transitions, func(tr Transition) bool {
			return tr.Event == EventRecordDeleted && tr.Name == lost && tr.Reason == ReasonUnproven && strings.Contains(tr.Message, "1h0m0s")
		})
	})
}

func TestCAAThatWasMendedIsTriedAtOnce(t *testing.T) {
	const host = "api.example.com"
	world := dnstest.NewCustomer(t)
	world.Domain.Set(dnstest.RightChallenge, `@ IN CAA 0 issue "other.example"`)
	b := newBench(t, newTestResolver(t, world.World))
	b.settings.Issuers = []ownership.Issuer{{Identities: []string{"ca.example"}, Methods: []string{"dns-01", "http-01"}}}
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
	world.Domain.Set(`@ IN CAA 0 issue "ca.example"`)
	for range 3 {
		b.check(host)
	}
	if n := retries(); n != 1 {
		t.Errorf("tried again %d times after CAA was mended, want once: the authority knows better from then on", n)
	}
}
