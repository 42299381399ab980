package controller

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
	"github.com/apoxy-dev/caddy-apoxy/issuance"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
	"github.com/apoxy-dev/caddy-apoxy/resolver"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

func TestARecordMadeAnewIsAnother(t *testing.T) {
	b := newBench(t, &idleDNS{looks: map[string]int{}})
	t.Cleanup(func() { _ = b.store.Close() })
	const host = "api.example.com"
	before, now := plainRecord(host), plainRecord(host)
	now.UID = "another"
	b.Changed(hosts.Change{Name: host, Record: before, First: true})
	e := b.byName[host]
	b.Changed(hosts.Change{Name: host, Record: now, Previous: before}) // as after falling behind the history
	if again := b.byName[host]; again == nil || again == e || !e.gone {
		t.Errorf("a look at the record of before, still under way, would end what is known of the new one: %+v", again)
	}
}

// slowDNS says that nothing is there, once it is let.
type slowDNS struct {
	idleDNS
	asked, let chan struct{}
}

func (d *slowDNS) Observe(ctx context.Context, hostname string, kind resolver.Kind) ownership.DNSObservation {
	if kind == resolver.KindTraffic {
		d.asked <- struct{}{}
		<-d.let
	}
	return ownership.DNSObservation{Outcome: ownership.Absent, NXDomain: true, At: time.Now()}
}

func TestALookThatOutlastsItsRecordLeavesTheBrakeAlone(t *testing.T) {
	dns := &slowDNS{idleDNS: idleDNS{looks: map[string]int{}}, asked: make(chan struct{}, 8), let: make(chan struct{})}
	b := newBench(t, dns).start()
	const host = "api.example.com"
	r := plainRecord(host)
	r.Status = ownership.Initial(r, ownership.Contest{}, b.settings, time.Now().Add(-time.Hour))
	r.Status.Phase = v1alpha3.PhaseActive
	for i := range r.Status.Conditions {
		if c := &r.Status.Conditions[i]; c.Type == v1alpha3.ConditionOwnershipVerified {
			c.Status, c.Reason = "True", v1alpha3.ReasonCNAMEConfigured
		}
	}
	b.put(r)
	<-dns.asked // the look has read the record
	if _, err := b.store.Write(t.Context(), store.Op{Key: recordKey(host), If: store.Any}); err != nil {
		t.Fatal(err)
	}
	b.until("the deletion is told", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.transitions) > 0
	})
	close(dns.let)
	b.until("the look is over", func() bool {
		b.Controller.mu.Lock()
		defer b.Controller.mu.Unlock()
		return b.queue.tracks[trackFast].running+b.queue.tracks[trackNew].running+b.queue.tracks[trackSlow].running+b.queue.tracks[trackDoubt].running == 0
	})
	b.until("the brake has forgotten the record", func() bool {
		b.brake.mu.Lock()
		defer b.brake.mu.Unlock()
		return len(b.brake.withdrawing) == 0
	})
}

func TestTargetsThatNoRecordNamesAreForgotten(t *testing.T) {
	b := newBench(t, &idleDNS{looks: map[string]int{}})
	t.Cleanup(func() { _ = b.store.Close() })
	b.table.Set(hosts.FromRecord(plainRecord("api.example.com"), 1))
	kept := plainRecord("api.example.com").Spec.Target.Ref.Key()
	b.target(kept)
	for i := range 10 * targetsLeast {
		b.target(v1alpha3.TargetKey{Kind: v1alpha3.KindGateway, Name: fmt.Sprint("gone-", i)})
	}
	if n := len(b.targets); n > targetsLeast+1 {
		t.Errorf("%d targets are remembered, and one is named", n)
	}
	if _, ok := b.targets[kept]; !ok {
		t.Error("the one that is named is forgotten")
	}
}

func TestAClockThatIsSetBackDelaysNoLook(t *testing.T) {
	b := newBench(t, &idleDNS{looks: map[string]int{}})
	t.Cleanup(func() { _ = b.store.Close() })
	const host = "api.example.com"
	b.Changed(hosts.Change{Name: host, Record: plainRecord(host), First: true})
	now := time.Now()
	b.queue.schedule(b.byName[host], now.Add(24*time.Hour+time.Minute)) // as it seems after a step of a day
	b.heedClock(now)
	b.heedClock(now.Add(time.Minute)) // the clock goes as it should
	if at := b.NextLook(host); !at.Equal(now.Round(0).Add(24*time.Hour + time.Minute)) {
		t.Errorf("the next look has moved to %v", at)
	}
	b.setBack(24 * time.Hour)
	if at := b.NextLook(host); !at.Equal(now.Round(0).Add(time.Minute)) {
		t.Errorf("the next look is at %v", at)
	}
}

// muteDNS is DNS that cannot be told.
type muteDNS struct{ idleDNS }

func (*muteDNS) Observe(context.Context, string, resolver.Kind) ownership.DNSObservation {
	return ownership.DNSObservation{Err: "no answer"}
}

// wishes notes every Want.
type wishes struct {
	*authority
	mu  sync.Mutex
	all []string
}

func (w *wishes) Want(x issuance.Want) {
	w.mu.Lock()
	w.all = append(w.all, x.Hostname)
	w.mu.Unlock()
	w.authority.Want(x)
}

// What was true of a record when its status was written may not be so any more
// at the start: the process ended before the next look.
func TestAStartOrdersNothingForWhatIsContestedByNow(t *testing.T) {
	var w *wishes
	b := newBench(t, &muteDNS{}, func(c *Config) {
		w = &wishes{authority: c.Issuance.(*authority)}
		c.Issuance = w
	})
	for _, host := range []string{"example.com", "example.org"} {
		r := tlsRecord(host)
		r.Labels = map[string]string{v1alpha3.OwnerLabel: "bob"}
		at := time.Now()
		r.Status = ownership.Initial(r, ownership.Contest{}, b.settings, at)
		r.Status = ownership.Evaluate(ownership.Input{Record: r, Settings: b.settings, Now: at, Observations: ownership.Observations{
			Traffic: ownership.DNSObservation{Outcome: ownership.Absent}, Ownership: ownership.DNSObservation{Outcome: ownership.Absent},
			ACMEChallenge: ownership.DNSObservation{Outcome: ownership.Seen, Chain: []string{v1alpha3.ChallengeName(host, ownZone)}},
			Certificate:   ownership.CertificateObservation{Outcome: ownership.Absent},
		}}).Status
		if r.Status.Phase != v1alpha3.PhaseIssuing {
			t.Fatalf("%s is in phase %s", host, r.Status.Phase)
		}
		b.put(r)
	}
	wild := tlsRecord("*.example.com")
	wild.Labels = map[string]string{v1alpha3.OwnerLabel: "alice"}
	b.put(wild)
	b.start()
	b.until("the other order goes on", func() bool { _, ok := b.ca.wanted("example.org"); return ok })
	b.check("example.com")
	w.mu.Lock()
	defer w.mu.Unlock()
	if slices.Contains(w.all, "example.com") {
		t.Error("a certificate was wanted for a record that is contested and unproven")
	}
}

// Nothing that DNS says depends on labels but the owner's.
func TestALabelIsNoReasonToLookAtDNS(t *testing.T) {
	b := newBench(t, &idleDNS{looks: map[string]int{}})
	t.Cleanup(func() { _ = b.store.Close() })
	const host = "api.example.com"
	for _, c := range []struct {
		what   string
		change func(r *v1alpha3.DomainRecord)
		want   work
	}{
		{"a label", func(r *v1alpha3.DomainRecord) { r.Labels = map[string]string{"plan": "free"} }, workJudge},
		{"an annotation", func(r *v1alpha3.DomainRecord) { r.Annotations = map[string]string{"backend": "b:80"} }, workJudge},
		{"the owner", func(r *v1alpha3.DomainRecord) { r.Labels = map[string]string{v1alpha3.OwnerLabel: "other"} }, workLook},
		{"the spec", func(r *v1alpha3.DomainRecord) { r.Generation++ }, workLook},
		{"nothing", func(*v1alpha3.DomainRecord) {}, 0},
	} {
		before, now := plainRecord(host), plainRecord(host)
		c.change(now)
		b.Changed(hosts.Change{Name: host, Record: before, First: true})
		b.Changed(hosts.Change{Name: host, Record: now, Previous: before})
		e := b.byName[host]
		if got := e.pending & (workJudge | workLook); got != c.want {
			t.Errorf("after a change of %s the work is %b, want %b", c.what, got, c.want)
		}
		b.Changed(hosts.Change{Name: host, Previous: now})
	}
}
