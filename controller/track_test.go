package controller

import (
	"context"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
	"github.com/apoxy-dev/caddy-apoxy/internal/dnstest"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
	"github.com/apoxy-dev/caddy-apoxy/resolver"
)

func TestWhereALookGoesOn(t *testing.T) {
	for _, c := range []struct {
		what  string
		in    track
		heard bool
		want  track
	}{
		{"a domain that answered soon, and answers late now", trackFast, true, trackSlow},
		{"a domain that answered soon, and is silent now", trackFast, false, trackDoubt},
		{"a new domain that answers late", trackNew, true, trackSlow},
		{"a new domain that is silent", trackNew, false, trackDoubt},
		{"a slow domain that takes its time", trackSlow, true, trackSlow},
		{"a slow domain that has gone silent", trackSlow, false, trackDoubt},
		{"one in doubt stays to its end", trackDoubt, false, trackDoubt},
		{"a silent one stays to its end", trackDead, false, trackDead},
	} {
		t.Run(c.what, func(t *testing.T) {
			if got := outlasting(c.in, c.heard); got != c.want {
				t.Errorf("track %d, want %d", got, c.want)
			}
		})
	}
}

func TestWhatIsHeldOfADomain(t *testing.T) {
	for _, c := range []struct {
		what   string
		before track
		took   time.Duration
		heard  bool
		want   track
	}{
		{"it answers soon", trackNew, slowAfter, true, trackFast},
		{"it answers late", trackFast, slowAfter + 1, true, trackSlow},
		{"it was slow and answers soon", trackSlow, time.Millisecond, true, trackFast},
		{"it was silent and answers soon", trackDead, time.Millisecond, true, trackFast},
		{"it was silent and answers late", trackDead, 4 * time.Second, true, trackSlow},
		{"it is silent", trackFast, 4 * time.Second, false, trackDead},
		{"it is in doubt, and is silent", trackDoubt, 4 * time.Second, false, trackDead},
		{"its silence is remembered from a moment ago", trackDead, time.Millisecond, false, trackDead},
		{"its silence is remembered, and it is in doubt", trackDoubt, time.Millisecond, false, trackDoubt},
		{"it does not exist, as a resolver says at once", trackNew, time.Millisecond, false, trackFast},
	} {
		t.Run(c.what, func(t *testing.T) {
			if got := trackAfter(c.before, c.took, c.heard); got != c.want {
				t.Errorf("track %d, want %d", got, c.want)
			}
		})
	}
}

func TestRestOfSilentDomains(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	const domain = "example.com"
	p := newMemory()
	if got := p.rest(domain, now); got != 0 {
		t.Errorf("a domain of which nothing is known rests %v", got)
	}
	silent := func(want time.Duration) {
		t.Helper()
		p.put(domain, trackDead, now)
		if got := p.rest(domain, now); got != want {
			t.Errorf("it rests %v, want %v", got, want)
		}
	}
	silent(0)
	for _, after := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, time.Hour} {
		began := now
		now = now.Add(after)
		silent(after)
		now = began
	}
	now = now.Add(48 * time.Hour)
	silent(restMost)
	p.stir(domain)
	if got := p.rest(domain, now); got != 0 || p.of(domain) != trackDead {
		t.Errorf("once something happened, it rests %v in track %d", got, p.of(domain))
	}
	silent(0)
	now = now.Add(time.Minute)
	silent(time.Minute)
	now = now.Add(-time.Hour) // the clock was set back
	silent(0)
	p.put(domain, trackFast, now)
	if got := p.rest(domain, now); got != 0 || p.of(domain) != trackFast {
		t.Errorf("once it answers, it rests %v in track %d", got, p.of(domain))
	}
}

func TestRestEndsBeforeACertificate(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	planned := now.Add(30 * time.Second)
	expires := func(in time.Duration) *v1alpha3.DomainRecord {
		r := plainRecord("api.example.com")
		r.Status.Certificate = &v1alpha3.CertificateStatus{NotAfter: &metav1.Time{Time: now.Add(in)}}
		return r
	}
	for _, c := range []struct {
		what   string
		r      *v1alpha3.DomainRecord
		rest   time.Duration
		jitter float64
		want   time.Duration
	}{
		{"one that answers is looked at as planned", plainRecord("a.example.com"), 0, 0, 30 * time.Second},
		{"a short rest delays nothing", plainRecord("a.example.com"), 10 * time.Second, 0, 30 * time.Second},
		{"a longer one does", plainRecord("a.example.com"), time.Hour, 0, time.Hour},
		{"rests are spread", plainRecord("a.example.com"), time.Hour, 1, 48 * time.Minute},
		{"a certificate's expiry is looked at", expires(time.Minute), time.Hour, 0, time.Minute},
		{"an expired one is no reason", expires(-time.Minute), time.Hour, 0, time.Hour},
	} {
		t.Run(c.what, func(t *testing.T) {
			if got := rested(c.r, planned, now, c.rest, c.jitter).Sub(now); got != c.want {
				t.Errorf("in %v, want %v", got, c.want)
			}
		})
	}
}

func TestTheMemoryIsBoundedAndTheLivingDoNotEvictTheSilent(t *testing.T) {
	p, now := newMemory(), time.Now()
	p.put("dead", trackDead, now)
	for i := range 2 * memoryLimit {
		p.put(fmt.Sprint(i), trackFast, now)
	}
	n := 0
	for i := range 2 * memoryLimit {
		if p.of(fmt.Sprint(i)) == trackFast {
			n++
		}
	}
	if n != memoryLimit {
		t.Errorf("%d domains are remembered", n)
	}
	if p.of("dead") != trackDead {
		t.Error("the silent one is forgotten")
	}
}

func TestRecordsOfADomainThatAnswersAgainLeaveTheSilent(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	q := newQueue(8)
	q.memory.put("revived", trackDead, now)
	first, second := newItem("first", "revived"), newItem("second", "revived")
	q.demand(first, workLook)
	take(&q, now)
	for i := range 100 {
		domain := fmt.Sprint("dead", i)
		q.memory.put(domain, trackDead, now)
		q.demand(newItem(domain, domain), workLook)
	}
	q.demand(second, workLook) // behind them all
	q.learn(first, time.Millisecond, true, now)
	names, _ := take(&q, now)
	if len(names) != 1 || names[0] != "second" {
		t.Errorf("taken: %v", names)
	}
}

// silentDNS cannot tell anything, after longer than others have patience.
type silentDNS struct{ idleDNS }

func (d *silentDNS) Observe(ctx context.Context, hostname string, kind resolver.Kind) ownership.DNSObservation {
	d.idleDNS.Observe(ctx, hostname, kind)
	select {
	case <-time.After(slowAfter + 50*time.Millisecond):
	case <-ctx.Done():
	}
	return ownership.DNSObservation{Problem: ownership.ZoneUnreachable, Err: "no answer", At: time.Now()}
}

func TestASilentDomainIsLeftAloneUntilSomebodyAsks(t *testing.T) {
	dns := &silentDNS{}
	b := newBench(t, dns).start()
	const host = "api.example.com"
	b.put(plainRecord(host))
	in := func() time.Duration { return b.NextLook(host).Sub(b.clock.now()) }
	rests := func(looks int) func() bool {
		return func() bool {
			b.Controller.mu.Lock()
			defer b.Controller.mu.Unlock()
			e := b.byName[host]
			return dns.seen(host) >= looks && e != nil && e.state == idle
		}
	}
	b.until("it is looked at", rests(1))
	if got := in(); got > b.settings.CheckInterval {
		t.Errorf("after the first silence the next look is in %v", got)
	}
	b.clock.advance(20 * time.Minute)
	b.poke()
	b.until("it is looked at again", rests(2))
	if got := in(); got < 15*time.Minute || got > 21*time.Minute {
		t.Errorf("after 20 minutes of silence the next look is in %v", got)
	}
	_ = b.check(host)
	b.until("the check is over", rests(3))
	if got := in(); got > b.settings.CheckInterval {
		t.Errorf("after a check the next look is in %v", got)
	}
}

// What was silent before a restart is taken for silent after it, as its status
// says, so that its looks wait in their own places and not before the living; a
// status that a client wrote over says nothing, and one look that is answered ends it.
func TestSilenceOutlivesARestart(t *testing.T) {
	world := dnstest.NewCustomer(t)
	world.Domain.Set(dnstest.RightChallenge)
	before := newBench(t, newTestResolver(t, world.World)).start()
	world.Behave(dnstest.Silent)
	before.put(tlsRecord("api.example.com"))
	before.until("the silence is told", func() bool { return unreachable(&before.get("api.example.com").Status) })
	old := before.get("api.example.com")
	forged := old.DeepCopy()
	forged.Name, forged.Spec.Name = "www.forged.com", "www.forged.com"
	if forged.Status.Ownership == nil {
		forged.Status.Ownership = &v1alpha3.OwnershipStatus{}
	}
	forged.Status.Ownership.Overwritten = true
	living := tlsRecord("www.living.com")

	world.Behave(nil) // mended while the node was away
	after := newBench(t, newTestResolver(t, world.World))
	for _, r := range []*v1alpha3.DomainRecord{old, forged, living} {
		after.Changed(hosts.Change{Name: r.Name, Record: r, First: true})
	}
	tracks := func(domain string) track {
		after.Controller.mu.Lock()
		defer after.Controller.mu.Unlock()
		return after.queue.memory.of(domain)
	}
	for domain, want := range map[string]track{"example.com": trackDead, "forged.com": trackNew, "living.com": trackNew} {
		if got := tracks(domain); got != want {
			t.Errorf("%s is in track %d, want %d", domain, got, want)
		}
	}
	after.put(old)
	after.start()
	after.check("api.example.com")
	if got := tracks("example.com"); got != trackFast && got != trackSlow {
		t.Errorf("answered, and in track %d", got)
	}
}
