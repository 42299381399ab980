package resolver

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/internal/dnstest"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

func TestHostileServersCostTimeAndNothingElse(t *testing.T) {
	for _, c := range []struct {
		what string
		b    dnstest.Behaviour
	}{
		{"slow answers", dnstest.Slow(time.Minute)},
		{"a slow drip over TCP", dnstest.Drip(50 * time.Millisecond)},
		{"answers to other questions", dnstest.OtherQuestion},
		{"garbage", dnstest.Garbage},
		{"a referral to itself", dnstest.ReferTo("example.com", []string{"ns1.provider.test"})},
		{"a referral to the root", dnstest.ReferTo(".", []string{"a.root-servers.test"})},
		{"a referral aside", dnstest.ReferTo("example.org", []string{"ns1.provider.test"})},
		{"a referral on and on", dnstest.ReferTo("api.example.com", []string{"ns1.provider.test", "ns2.provider.test"})},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			world := dnstest.NewCustomer(t)
			world.Domain.Set(dnstest.RightTraffic)
			world.Behave(c.b)
			r := newTestResolver(t, world.World)
			began := time.Now()
			got := r.Observe(t.Context(), "api.example.com", KindTraffic)
			if took := time.Since(began); took > r.cfg.Timeout+time.Second {
				t.Errorf("took %v, more than the timeout", took)
			}
			if got.Outcome != ownership.CouldNotTell {
				t.Errorf("believed %+v", got)
			}
			if len(r.slots) != 0 || len(r.gates.open) != 0 {
				t.Errorf("%d slots and %d gates are still held", len(r.slots), len(r.gates.open))
			}
		})
	}
}

func TestGiantAnswersAreCut(t *testing.T) {
	world := dnstest.NewCustomer(t)
	world.Behave(dnstest.Giant)
	got := newTestResolver(t, world.World).Observe(t.Context(), "api.example.com", KindTraffic)
	if got.Outcome != ownership.Seen || len(got.Addresses) == 0 || len(got.Addresses) > maxAddresses {
		t.Errorf("got %v with %d addresses: %s", got.Outcome, len(got.Addresses), got.Err)
	}
}

func TestGlueIsBelievedOnlyInsideTheZone(t *testing.T) {
	world := dnstest.NewCustomer(t)
	liar := world.Server("ns.liar.test")
	world.Zone("liar.test", liar)
	fake := liar.Fork(world.Zone("example.org", world.Server("ns1.example.org")))
	fake.Set("www IN CNAME www.example.org.cname.example.net.")
	// The servers of example.com refer a part of it to example.org's server, and
	// say that this has the liar's address.
	world.Behave(dnstest.ReferTo("api.example.com", []string{"ns1.example.org"},
		fmt.Sprintf("ns1.example.org. 60 IN A %s", liar.Addr)))
	got := newTestResolver(t, world.World).Observe(t.Context(), "api.example.com", KindTraffic)
	if liar.Queries() > 0 {
		t.Errorf("the liar was asked; observed %+v", got)
	}
}

func TestWhereAuthoritativeServersCannotBeReachedTheResolversAnswer(t *testing.T) {
	world := dnstest.NewCustomer(t)
	world.Domain.Set(dnstest.RightTraffic, dnstest.RightChallenge)
	r := newTestResolver(t, world.World, func(c *Config) { c.Port = 9 })
	for _, kind := range []Kind{KindTraffic, KindACMEChallenge} {
		got := r.Observe(t.Context(), "api.example.com", kind)
		if got.Outcome != ownership.Seen || len(got.Chain) != 1 || !got.Cached {
			t.Errorf("kind %d: %+v", kind, got)
		}
		if want := "what resolver 127.0.0.1 says is used instead"; !strings.Contains(got.Err, want) {
			t.Errorf("Err is %q, want it to hold %q", got.Err, want)
		}
	}
	if n := world.Recursor.Asked("_acme-challenge.api.example.com", dns.TypeTXT); n > 0 {
		t.Errorf("the resolver was asked for TXT %d times, and remembers now that there is none", n)
	}
	for range mutedAfter {
		r.Observe(t.Context(), "api.example.com", KindTraffic)
	}
	if r.mute.now() {
		t.Error("one domain whose servers are silent silences all others")
	}
	for i := range mutedAfter {
		r.Observe(t.Context(), fmt.Sprintf("www.domain%d.com", i), KindTraffic)
	}
	if !r.mute.now() {
		t.Error("closed ports are tried again and again")
	}
}

func TestALookThatWasCalledOffLeavesNoTrace(t *testing.T) {
	world := dnstest.NewCustomer(t)
	world.Domain.Set(dnstest.RightTraffic)
	r := newTestResolver(t, world.World)
	for _, s := range []*dnstest.Server{world.NS1, world.NS2} {
		s.Behave(dnstest.Silent)
	}
	asked := world.NS1.Queries()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.Observe(ctx, "api.example.com", KindTraffic)
	}()
	for world.NS1.Queries() == asked {
		runtime.Gosched()
	}
	cancel()
	<-done
	for _, s := range []*dnstest.Server{world.NS1, world.NS2} {
		s.Behave(nil)
	}
	got := r.Observe(t.Context(), "api.example.com", KindTraffic)
	if got.Outcome != ownership.Seen || got.Cached || got.Err != "" {
		t.Errorf("the servers count as silent: %+v", got)
	}
}

func TestAResolverThatServesTheZoneItselfIsItsSource(t *testing.T) {
	world := dnstest.NewCustomer(t)
	world.Domain.Set(dnstest.RightTraffic)
	r := newTestResolver(t, world.World, func(c *Config) {
		c.Port, c.Resolvers = 9, []string{fmt.Sprintf("%s:%d", world.NS1.Addr, world.Port())}
	})
	got := r.Observe(t.Context(), "api.example.com", KindTraffic)
	if got.Outcome != ownership.Seen || got.Cached || got.Apex || got.Err != "" {
		t.Errorf("got %+v", got)
	}
	got = r.Observe(t.Context(), "www.example.com", KindTraffic)
	if got.Outcome != ownership.Absent || got.Cached || got.Err != "" {
		t.Errorf("got %+v", got)
	}
}

func TestResolversThatHoldAnOldAnswerAreNamed(t *testing.T) {
	world := dnstest.NewCustomer(t)
	world.Recursor.SetCaching(true)
	world.Domain.Set("api 300 IN CNAME app.old.org.")
	r := newTestResolver(t, world.World)
	if _, _, err := r.recurse(t.Context(), "example.com", "api.example.com.", dns.TypeCNAME); err != nil {
		t.Fatal(err)
	}
	world.Domain.Set(dnstest.RightTraffic)
	got := r.Observe(t.Context(), "api.example.com", KindTraffic)
	if got.Outcome != ownership.Seen || len(got.Stale) != 1 {
		t.Fatalf("got %+v", got)
	}
	s := got.Stale[0]
	if left := time.Until(s.Until); s.Resolver != "127.0.0.1" || s.Value != "CNAME app.old.org." || left < 290*time.Second || left > 300*time.Second {
		t.Errorf("stale: %+v, %v left", s, time.Until(s.Until))
	}
}

// Resolvers of different age that disagree are called resolvers, and it is no fault
// of the zone's.
func TestResolversThatDisagreeAreCalledSo(t *testing.T) {
	world := dnstest.NewCustomer(t)
	world.Recursor.SetCaching(true)
	world.Domain.Set("api 300 IN CNAME app.old.org.")
	r := newTestResolver(t, world.World, func(c *Config) {
		c.Port = 9
		c.Resolvers = append(c.Resolvers, fmt.Sprintf("%s:%d", world.NS1.Addr, world.Port()))
	})
	if _, _, err := r.recurse(t.Context(), "example.com", "api.example.com.", dns.TypeCNAME); err != nil {
		t.Fatal(err)
	}
	world.Domain.Set(dnstest.RightTraffic)
	got := r.Observe(t.Context(), "api.example.com", KindTraffic)
	want := "the resolvers asked for api.example.com do not agree: 1 of 2 answer CNAME app.old.org. (127.0.0.1"
	if got.Outcome != ownership.CouldNotTell || got.Problem == ownership.ZoneDisagrees || !strings.Contains(got.Err, want) {
		t.Errorf("got %+v, want it to say %q", got, want)
	}
}

func TestADeadZoneIsWaitedForOnce(t *testing.T) {
	world := dnstest.NewCustomer(t)
	world.Behave(dnstest.Silent)
	r := newTestResolver(t, world.World, func(c *Config) { c.CacheTTL = time.Minute })
	r.Observe(t.Context(), "one.example.com", KindTraffic)
	asked := world.NS1.Queries()
	if got := r.Observe(t.Context(), "two.example.com", KindTraffic); got.Problem != ownership.ZoneUnreachable {
		t.Errorf("got %+v", got)
	}
	if n := world.NS1.Queries() - asked; n > 4 { // the recursive resolver's own
		t.Errorf("the dead server was asked %d more times", n)
	}
}

func TestACancelledLookEndsAtOnce(t *testing.T) {
	world := dnstest.NewCustomer(t)
	world.Behave(dnstest.Silent)
	r := newTestResolver(t, world.World, func(c *Config) { c.Timeout, c.QueryTimeout = time.Minute, time.Minute })
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	began := time.Now()
	r.Observe(ctx, "api.example.com", KindTraffic)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v after it was cancelled", took)
	}
}

func TestOnlyADomainsOwnServersAreHeard(t *testing.T) {
	for _, c := range []struct {
		what     string
		behave   bool
		expected bool
	}{
		{"servers that answer", false, true},
		{"servers that are silent", true, false},
	} {
		t.Run(c.what, func(t *testing.T) {
			world := dnstest.NewCustomer(t)
			if c.behave {
				world.Behave(dnstest.Silent)
			}
			r := newTestResolver(t, world.World)
			var heard atomic.Bool
			r.Observe(WithHeard(t.Context(), &heard), "api.example.com", KindTraffic)
			if heard.Load() != c.expected {
				t.Errorf("heard: %v", heard.Load())
			}
		})
	}
}

func TestParseResolversRefusesWhatIsNoAddress(t *testing.T) {
	for _, s := range []string{"dns.example", "192.0.2.1:", "192.0.2.1:0", "192.0.2.1:domain", ""} {
		if _, err := parseResolvers([]string{s}); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", s)) {
			t.Errorf("resolver %q: error %v", s, err)
		}
	}
	for _, s := range []string{"192.0.2.1", "192.0.2.1:5353", "2001:db8::1", "[2001:db8::1]:53"} {
		if _, err := parseResolvers([]string{s}); err != nil {
			t.Errorf("resolver %q: %v", s, err)
		}
	}
}

func FuzzUnderstand(f *testing.F) {
	m := new(dns.Msg)
	m.SetQuestion("api.example.com.", dns.TypeA)
	m.Response, m.Authoritative = true, true
	for _, text := range []string{
		"api.example.com. 60 IN CNAME x.example.org.", "api.example.com. 60 IN A 192.0.2.1",
		`api.example.com. 60 IN TXT "a" "b"`, `api.example.com. 60 IN CAA 0 issue "x"`,
	} {
		rr, err := dns.NewRR(text)
		if err != nil {
			f.Fatal(err)
		}
		m.Answer = append(m.Answer, rr)
	}
	ns, _ := dns.NewRR("api.example.com. 60 IN NS ns.example.com.")
	m.Ns = []dns.RR{ns}
	raw, err := m.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		in := new(dns.Msg)
		if in.Unpack(raw) != nil {
			return
		}
		var s saying
		if err := understand(&s, "example.com.", "api.example.com.", in); err != nil {
			return
		}
		a := agree("example.com.", partyServers, []saying{s})
		if len(a.addrs) > maxAddresses || (a.affirmed && s.referral != nil) {
			t.Errorf("%+v", a)
		}
		if r := s.referral; r != nil && (!dns.IsSubDomain("example.com.", r.apex) || r.apex == "example.com." || len(r.names) > 16) {
			t.Errorf("referral %+v", r)
		}
	})
}
