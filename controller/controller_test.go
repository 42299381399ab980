package controller

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/internal/dnstest"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

func TestARecordsLife(t *testing.T) {
	world := dnstest.NewCustomer(t)
	b := newBench(t, newTestResolver(t, world.World)).start()
	const host = "api.example.com"

	b.put(tlsRecord(host))
	b.until("the new record is looked at", func() bool { return b.get(host).Status.Phase != "" })
	b.expect(b.get(host), v1alpha3.PhasePending,
		v1alpha3.ConditionOwnershipVerified, "False OwnershipNotVerified",
		v1alpha3.ConditionACMEChallengeDelegationReady, "False ACMEChallengeDelegationNotConfigured",
		v1alpha3.ConditionTargetReady, "True TargetHealthy")
	if _, ok := b.ca.wanted(host); ok {
		t.Error("a certificate is wanted before anything is in place")
	}

	world.Domain.Set(dnstest.RightChallenge)
	b.expect(b.check(host), v1alpha3.PhaseIssuing,
		v1alpha3.ConditionACMEChallengeDelegationReady, "True ACMEChallengeDelegationConfigured")
	if w, _ := b.ca.wanted(host); w.Since != b.get(host).Status.Condition(v1alpha3.ConditionACMEChallengeDelegationReady).LastTransitionTime.Unix() {
		t.Errorf("wanted since %d, which is not when the delegation was seen", w.Since)
	}
	if w, _ := b.ca.wanted(host); !w.DNS01 || w.HTTP01 || w.UID != "uid-of-"+host {
		t.Errorf("wanted: %+v", w)
	}

	cert := ownership.CertificateObservation{
		Outcome: ownership.Seen, RecordUID: "uid-of-" + host, Issuer: "Test CA", Challenge: "dns-01",
		NotBefore: b.clock.now().Add(-time.Hour), NotAfter: b.clock.now().Add(time.Hour),
	}
	asked := world.NS1.Queries()
	b.ca.set(host, cert)
	b.CertificateChanged(host)
	b.until("the certificate is in the status", func() bool { return b.get(host).Status.Phase == v1alpha3.PhaseActive })
	b.expect(b.get(host), v1alpha3.PhaseActive,
		v1alpha3.ConditionOwnershipVerified, "True TLSCertificateIssued",
		v1alpha3.ConditionTLSReady, "True CertificateIssued",
		v1alpha3.ConditionCNAMEConfigured, "False CNAMENotConfigured")
	if n := world.NS1.Queries() - asked; n != 0 {
		t.Errorf("news of a certificate cost %d DNS queries", n)
	}

	world.Domain.Set(dnstest.RightTraffic)
	b.expect(b.check(host), v1alpha3.PhaseActive, v1alpha3.ConditionReady, "True Ready")

	world.Domain.Remove("api")
	world.Domain.Remove("_acme-challenge.api")
	b.clock.advance(2 * time.Hour)
	b.expect(b.check(host), v1alpha3.PhaseIssuing, v1alpha3.ConditionTLSReady, "False CertificateExpired")
	b.clock.advance(11 * time.Minute)
	b.expect(b.check(host), v1alpha3.PhaseDetached, v1alpha3.ConditionOwnershipVerified, "False ProofWithdrawn")

	if _, err := b.store.Write(t.Context(), store.Op{Key: recordKey(host), If: store.Any}); err != nil {
		t.Fatal(err)
	}
	b.until("the deletion is told", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.transitions) > 0 && b.transitions[len(b.transitions)-1].Event == EventRecordDeleted
	})
	if _, ok := b.ca.wanted(host); ok {
		t.Error("a certificate is wanted for a deleted record")
	}
	if at := b.NextLook(host); !at.IsZero() {
		t.Errorf("a deleted record is looked at %v", at)
	}
	if err := b.Check(t.Context(), host); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("checking a deleted record: %v", err)
	}

	var phases []string
	for _, tr := range b.transitions {
		if tr.Event == EventPhaseChanged {
			phases = append(phases, tr.From+">"+tr.To)
		}
	}
	if got, want := fmt.Sprint(phases), "[>Pending Pending>Issuing Issuing>Active Active>Issuing Issuing>Detached]"; got != want {
		t.Errorf("phases went %s, want %s", got, want)
	}
}

// A challenge name that is new in the zone is waited for to the end, look after look.
func TestANewNameIsWaitedForAcrossLooks(t *testing.T) {
	const host = "api.example.com"
	world := dnstest.NewCustomer(t)
	world.Domain.Set(dnstest.RightChallenge)
	now := time.Now()
	b := newBench(t, newTestResolver(t, world.World), func(c *Config) { c.Now = func() time.Time { return now } }).start()
	b.put(tlsRecord(host))
	for look := range 3 {
		b.expect(b.check(host), v1alpha3.PhaseIssuing, v1alpha3.ConditionTLSReady, "False WaitingForDNS")
		if w, _ := b.ca.wanted(host); w.DNS01From <= now.Unix() {
			t.Fatalf("after look %d DNS-01 is tried from %d on, which is not after %d", look, w.DNS01From, now.Unix())
		}
	}
}

func TestWhatCannotBeToldHolds(t *testing.T) {
	world := dnstest.NewCustomer(t)
	world.Domain.Set(dnstest.RightTraffic)
	b := newBench(t, newTestResolver(t, world.World)).start()
	const host = "api.example.com"
	b.put(plainRecord(host))
	b.until("it is verified", func() bool { return b.get(host).Status.Phase == v1alpha3.PhaseActive })
	world.Behave(dnstest.Silent)
	for range 3 {
		b.clock.advance(time.Hour)
		b.expect(b.check(host), v1alpha3.PhaseActive, v1alpha3.ConditionOwnershipVerified, "True CNAMEConfigured",
			v1alpha3.ConditionCNAMEConfigured, "True CNAMEConfigured")
	}
	world.Behave(nil)
	world.Domain.Remove("api")
	b.expect(b.check(host), v1alpha3.PhaseActive, v1alpha3.ConditionCNAMEConfigured, "False CNAMENotConfigured",
		v1alpha3.ConditionOwnershipVerified, "True CNAMEConfigured")
}

func TestTheTimerSeesWhatNobodyHints(t *testing.T) {
	world := dnstest.NewCustomer(t)
	b := newBench(t, newTestResolver(t, world.World))
	b.settings.CheckInterval, b.settings.DetachAfter = 200*time.Millisecond, time.Second
	b.start()
	const host = "api.example.com"
	b.put(plainRecord(host))
	b.until("it is pending", func() bool { return b.get(host).Status.Phase == v1alpha3.PhasePending })
	if at := b.NextLook(host); time.Until(at) > time.Second {
		t.Errorf("the next look is at %v", at)
	}
	world.Domain.Set(dnstest.RightTraffic)
	b.until("it is verified", func() bool { return b.get(host).Status.Phase == v1alpha3.PhaseActive })
	world.Domain.Remove("api")
	b.until("it is detached", func() bool { return b.get(host).Status.Phase == v1alpha3.PhaseDetached })
}

func TestAHintLeadsToALook(t *testing.T) {
	world := dnstest.NewCustomer(t)
	b := newBench(t, newTestResolver(t, world.World), func(c *Config) { c.Rand = func() float64 { return 0 } }).start()
	const host = "api.example.com"
	b.put(plainRecord(host))
	b.until("it is pending", func() bool {
		h, ok := b.table.Get(host)
		return ok && b.get(host).Status.Phase == v1alpha3.PhasePending && h.Phase() == v1alpha3.PhasePending
	})
	world.Domain.Set(dnstest.RightTraffic)
	began := time.Now()
	b.Hint(host)
	b.until("it is verified", func() bool { return b.get(host).Status.Phase == v1alpha3.PhaseActive })
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestOtherWritersAreNotOverwritten(t *testing.T) {
	world := dnstest.NewCustomer(t)
	world.Domain.Set(dnstest.RightTraffic)
	b := newBench(t, newTestResolver(t, world.World)).start()
	const host = "api.example.com"
	raw := fmt.Sprintf(`{"apiVersion":"core.apoxy.dev/v1alpha3","kind":"DomainRecord","metadata":{"name":%q,"uid":"u1","generation":1,
		"managedFields":[{"manager":"kubectl","operation":"Apply","fieldsV1":{"f:spec":{}}}],"later":"kept"},
		"spec":{"name":%q,"target":{"ref":{"kind":"Gateway","name":"default"}},"future":[1,2]}}`, host, host)
	if _, err := b.store.Write(t.Context(), store.Op{Key: recordKey(host), Value: []byte(raw), If: store.Absent}); err != nil {
		t.Fatal(err)
	}
	// Labels are written all the while, so that status writes meet conflicts.
	for i := range 50 {
		for {
			e, _, err := b.store.Get(t.Context(), recordKey(host))
			if err != nil {
				t.Fatal(err)
			}
			var fields map[string]map[string]any
			var top map[string]any
			json.Unmarshal(e.Value, &top)
			json.Unmarshal(e.Value, &fields)
			fields["metadata"]["labels"] = map[string]string{"n": fmt.Sprint(i)}
			top["metadata"] = fields["metadata"]
			value, _ := json.Marshal(top)
			if _, err := b.store.Write(t.Context(), store.Op{Key: recordKey(host), Value: value, If: e.Revision}); err == nil {
				break
			}
		}
	}
	b.until("it is verified", func() bool { return b.get(host).Status.Phase == v1alpha3.PhaseActive })
	e, _, err := b.store.Get(t.Context(), recordKey(host))
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Metadata struct {
			Labels        map[string]string
			Later         string
			ManagedFields []map[string]any
		}
		Spec struct{ Future []int }
	}
	if err := json.Unmarshal(e.Value, &got); err != nil {
		t.Fatal(err)
	}
	if got.Metadata.Labels["n"] != "49" || got.Metadata.Later != "kept" || len(got.Metadata.ManagedFields) != 1 || len(got.Spec.Future) != 2 {
		t.Errorf("fields were lost: %s", e.Value)
	}
}

// A status is put into the record as it is stored; where a member stands twice, which
// encoding/json takes the last of, the record is encoded anew.
func TestAStatusIsPutIntoTheStoredRecord(t *testing.T) {
	status := &v1alpha3.DomainRecordStatus{Phase: v1alpha3.PhaseActive}
	for _, c := range []struct{ is, raw, want string }{
		{"as the API stores it", `{"metadata":{"name":"a","managedFields":[{"manager":"m"}]},"spec":{"name":"a"},"status":{"phase":"Pending"}}`,
			`{"metadata":{"name":"a","managedFields":[{"manager":"m"}]},"spec":{"name":"a"},"status":{"phase":"Active"}}`},
		{"without a status", `{"metadata":{"name":"a"},"spec":{"name":"a"}}`, `{"metadata":{"name":"a"},"spec":{"name":"a"},"status":{"phase":"Active"}}`},
		{"with what a later version stores", `{"status":{"phase":"Pending","later":1},"later":{"a":[1]},"metadata":{"name":"a"}}`,
			`{"later":{"a":[1]},"metadata":{"name":"a"},"status":{"phase":"Active"}}`},
		{"with two of them", `{"status":{"phase":"Pending"},"metadata":{"name":"a"},"status":{"phase":"Issuing"}}`, `{"metadata":{"name":"a"},"status":{"phase":"Active"}}`},
	} {
		_, plain := records.Decode([]byte(c.raw))
		got, err := (&version{raw: []byte(c.raw), plain: plain}).withStatus(status)
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %s, %v; want %s", c.is, got, err, c.want)
		}
	}
}

func TestTargetHealthIsJudgedWithoutDNS(t *testing.T) {
	world := dnstest.NewCustomer(t)
	world.Domain.Set(dnstest.RightTraffic)
	b := newBench(t, newTestResolver(t, world.World)).start()
	const host = "api.example.com"
	b.put(plainRecord(host))
	b.until("it is ready", func() bool { return status(b.get(host), v1alpha3.ConditionReady) == "True Ready" })
	before := b.get(host)
	asked := world.NS1.Queries()
	set := func(healthy bool) {
		b.mu.Lock()
		b.healthy = healthy
		b.mu.Unlock()
		b.TargetsChanged()
	}
	set(false)
	b.until("it is not ready", func() bool { return status(b.get(host), v1alpha3.ConditionReady) == "False TargetUnhealthy" })
	r := b.get(host)
	b.expect(r, v1alpha3.PhaseActive, v1alpha3.ConditionOwnershipVerified, "True CNAMEConfigured")
	for _, kind := range []string{v1alpha3.ConditionOwnershipVerified, v1alpha3.ConditionCNAMEConfigured} {
		if was, is := before.Status.Condition(kind).Message, r.Status.Condition(kind).Message; was != is {
			t.Errorf("the message of %s became %q, was %q", kind, is, was)
		}
	}
	set(true)
	b.until("it is ready again", func() bool { return status(b.get(host), v1alpha3.ConditionReady) == "True Ready" })
	if n := world.NS1.Queries() - asked; n != 0 {
		t.Errorf("the target's health cost %d DNS queries", n)
	}
}

func TestAnotherZoneIsLookedForAtOnce(t *testing.T) {
	world := dnstest.NewCustomer(t)
	world.Domain.Set(dnstest.RightTraffic)
	b := newBench(t, newTestResolver(t, world.World)).start()
	const host = "api.example.com"
	b.put(plainRecord(host))
	b.until("it is ready", func() bool { return status(b.get(host), v1alpha3.ConditionReady) == "True Ready" })
	b.mu.Lock()
	b.settings.Zone.Name, b.settings.CheckInterval = "other.example.net", time.Second
	b.mu.Unlock()
	b.TargetsChanged()
	b.until("the new zone's record is asked for", func() bool {
		r := b.get(host)
		return status(r, v1alpha3.ConditionCNAMEConfigured) == "False CNAMEMismatch" &&
			r.Status.ResolvedValues[0] == "api.example.com.other.example.net."
	})
}
