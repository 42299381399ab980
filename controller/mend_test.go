package controller

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
	"github.com/apoxy-dev/caddy-apoxy/internal/dnstest"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
	"github.com/apoxy-dev/caddy-apoxy/resolver"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// forge writes to the status of a record as a client does: what it says is changed,
// and the API notes that.
func (b *bench) forge(host string, change func(s *v1alpha3.DomainRecordStatus)) {
	b.t.Helper()
	for {
		e, _, err := b.store.Get(b.t.Context(), recordKey(host))
		if err != nil {
			b.t.Fatal(err)
		}
		var r v1alpha3.DomainRecord
		if err := json.Unmarshal(e.Value, &r); err != nil {
			b.t.Fatal(err)
		}
		change(&r.Status)
		known := r.Established()
		r.Status.Ownership = known.DeepCopy()
		r.Status.Ownership.Overwritten = true
		value, err := json.Marshal(&r)
		if err != nil {
			b.t.Fatal(err)
		}
		if _, err := b.store.Write(b.t.Context(), store.Op{Key: recordKey(host), Value: value, If: e.Revision}); err == nil {
			return
		}
	}
}

// A settled record, whose next look is far away, is put right soon after a client
// wrote to its status, and is settled again.
func TestAStatusThatAClientWroteIsMendedSoon(t *testing.T) {
	world := dnstest.NewCustomer(t)
	world.Domain.Set(dnstest.RightTraffic)
	b := newBench(t, newTestResolver(t, world.World)).start()
	const host = "api.example.com"
	b.put(plainRecord(host))
	settled := func() bool { return b.NextLook(host).After(b.clock.now().Add(5 * time.Minute)) }
	b.until("it is settled", func() bool { return isTrue(&b.get(host).Status, v1alpha3.ConditionReady) && settled() })
	for name, change := range map[string]func(s *v1alpha3.DomainRecordStatus){
		"its phase": func(s *v1alpha3.DomainRecordStatus) { s.Phase = v1alpha3.PhaseDetached },
		"a condition": func(s *v1alpha3.DomainRecordStatus) {
			s.Conditions[0].Status, s.Conditions[0].Reason = metav1.ConditionFalse, v1alpha3.ReasonProofWithdrawn
		},
		"all": func(s *v1alpha3.DomainRecordStatus) { *s = v1alpha3.DomainRecordStatus{Ownership: s.Ownership} },
	} {
		b.forge(host, change)
		began := time.Now()
		b.until(name+" is put right", func() bool {
			s := b.get(host).Status
			return s.Phase == v1alpha3.PhaseActive && isTrue(&s, v1alpha3.ConditionReady) && !s.Ownership.Overwritten && len(s.DNSRecords) > 0
		})
		if took := time.Since(began); took > mendDelay+mendGap+2*time.Second {
			t.Errorf("%s was put right after %v", name, took)
		}
		b.until("it is settled again", settled)
		b.clock.advance(2 * mendGap)
	}
}

// countedDNS says that nothing can be told, and counts the looks.
type countedDNS struct {
	muteDNS
	looks atomic.Int32
}

func (d *countedDNS) Observe(ctx context.Context, hostname string, kind resolver.Kind) ownership.DNSObservation {
	if kind == resolver.KindTraffic {
		d.looks.Add(1)
	}
	return d.muteDNS.Observe(ctx, hostname, kind)
}

// Who writes over and over gets a look every mendGap, not one for each write.
func TestAWriterThatFightsGetsFewLooks(t *testing.T) {
	b := newBench(t, &idleDNS{looks: map[string]int{}})
	t.Cleanup(func() { _ = b.store.Close() })
	const host = "api.example.com"
	before := plainRecord(host)
	before.Status = ownership.Initial(before, ownership.Contest{}, b.settings, time.Now())
	b.Changed(hosts.Change{Name: host, Record: before, First: true})
	e := b.byName[host]
	var looks []time.Time
	now := b.clock.now()
	b.queue.schedule(e, now.Add(time.Hour))
	for i := range 200 { // twenty seconds
		at := now.Add(time.Duration(i) * 100 * time.Millisecond)
		forged := before.DeepCopy()
		forged.Status.Phase = v1alpha3.PhaseDetached
		forged.Status.Ownership = &v1alpha3.OwnershipStatus{Overwritten: true}
		b.Controller.mu.Lock()
		if overwritten(e, hosts.Change{Name: host, Record: forged, Previous: before}) {
			b.mend(e, at)
		}
		if due := time.Unix(0, e.due); !due.After(at) { // the look, which puts it right
			looks = append(looks, due)
			b.queue.schedule(e, e.mending(at, at.Add(time.Hour)))
		}
		b.Controller.mu.Unlock()
		before = forged
	}
	if n := len(looks); n < 3 || n > 5 {
		t.Fatalf("%d looks", n)
	}
	if first := looks[0].Sub(now); first > mendDelay {
		t.Errorf("the first look came after %v", first)
	}
	for i := 1; i < len(looks); i++ {
		if gap := looks[i].Sub(looks[i-1]); gap < mendGap {
			t.Errorf("two looks came %v apart", gap)
		}
	}
	e.state = running
	if overwritten(e, hosts.Change{Name: host, Record: before, Previous: before}) {
		t.Error("the controller takes its own write for a client's")
	}
	b.mend(e, now.Add(-time.Hour)) // the clock was set back
	if at := time.Unix(0, e.known().mended); at.After(now) {
		t.Errorf("after the clock was set back the look is at %v", at.Sub(now))
	}
}

// Where DNS cannot be told the look comes at once and, as nothing is put right, the
// next ones at their usual pace.
func TestAStatusThatCannotBeMendedCausesNoStorm(t *testing.T) {
	dns := &countedDNS{}
	b := newBench(t, dns).start()
	const host = "api.example.com"
	b.put(plainRecord(host))
	b.until("it is looked at", func() bool { return b.get(host).Status.Phase != "" })
	b.check(host)
	looks := dns.looks.Load()
	b.forge(host, func(s *v1alpha3.DomainRecordStatus) { s.Phase = v1alpha3.PhaseActive })
	b.until("it is looked at again", func() bool { return dns.looks.Load() > looks })
	b.until("the next look is at the usual pace", func() bool {
		b.Controller.mu.Lock()
		defer b.Controller.mu.Unlock()
		e := b.byName[host]
		return e.state == idle && time.Unix(0, e.due).Sub(b.clock.now()) > mendDelay
	})
	if now := dns.looks.Load(); now > looks+2 {
		t.Errorf("%d looks", now-looks)
	}
}
