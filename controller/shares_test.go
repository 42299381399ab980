package controller

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/internal/dnstest"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// What another node looks at is left alone here, but for a check that somebody waits for.
// When it changes hands it is looked at, and what is let go of is not any more.
func TestRecordsChangeHands(t *testing.T) {
	world := dnstest.NewCustomer(t)
	world.Domain.Set(dnstest.RightChallenge)
	const host, witness = "api.example.com", "witness.example.com"
	var mine atomic.Bool
	passed := make(chan string, 10)
	b := newBench(t, newTestResolver(t, world.World), func(c *Config) {
		c.Mine = func(hostname string) bool { return hostname == witness || mine.Load() }
		c.Pass = func(hostname string, proven bool) bool {
			if hostname == witness || mine.Load() {
				return false
			}
			passed <- fmt.Sprint(hostname, proven)
			return true
		}
	})
	b.start()
	b.put(tlsRecord(host))
	b.put(tlsRecord(witness))
	seen := func(what string) {
		t.Helper()
		b.until(what, func() bool { return b.get(witness).Status.Phase != "" && b.idle(witness) && b.idle(host) })
	}
	seen("the witness is looked at")
	if got := b.get(host).Status.Phase; got != "" {
		t.Errorf("another node's record is looked at: it is %s", got)
	}
	b.Wake(host)
	b.Hint(host)
	b.HintUnproven(host)
	b.CertificateChanged(host)
	seen("nothing is under way")
	if got := b.get(host).Status.Phase; got != "" {
		t.Errorf("after news of it another node's record is %s", got)
	}
	if one, two := <-passed, <-passed; one != host+"true" || two != host+"false" {
		t.Errorf("passed on: %s, %s", one, two)
	}
	if _, ok := b.ca.wanted(host); ok {
		t.Error("a certificate is wanted for another node's record")
	}

	mine.Store(true)
	b.SharesChanged()
	b.until("what is its own now is looked at", func() bool { return b.get(host).Status.Phase == v1alpha3.PhaseIssuing })
	b.until("and its certificate wanted", func() bool { _, ok := b.ca.wanted(host); return ok })
	b.until("and its next look known", func() bool { return !b.NextLook(host).IsZero() })

	mine.Store(false)
	b.SharesChanged()
	b.until("it is let go of", func() bool { return b.NextLook(host).IsZero() })
	world.Domain.Set(dnstest.RightTraffic)
	b.clock.advance(time.Hour)
	b.Wake(host)
	b.check(witness)
	if got := b.get(host); got.Status.Condition(v1alpha3.ConditionCNAMEConfigured).Status == "True" {
		t.Error("it is looked at after it was let go of")
	}
	b.expect(b.check(host), v1alpha3.PhaseIssuing, v1alpha3.ConditionCNAMEConfigured, "True CNAMEConfigured")
	if at := b.NextLook(host); !at.IsZero() {
		t.Errorf("because somebody had it checked here it is looked at again at %v", at)
	}
}

// What a node loses while it is looked at is not looked at again, and what it regains
// meanwhile is.
func TestHandsChangeAgainAndAgain(t *testing.T) {
	world := dnstest.NewCustomer(t)
	world.Domain.Set(dnstest.RightChallenge)
	var turn atomic.Int64
	b := newBench(t, newTestResolver(t, world.World), func(c *Config) {
		c.Mine = func(hostname string) bool { return (int64(len(hostname))+turn.Load())%2 == 0 }
	})
	b.start()
	var names []string
	for i := range 40 {
		names = append(names, fmt.Sprintf("h%d.example.com", i))
		b.put(tlsRecord(names[i]))
	}
	for range 50 {
		turn.Add(1)
		b.SharesChanged()
	}
	for range 2 {
		b.until("all that is its own is scheduled, and nothing else", func() bool {
			for _, name := range names {
				if own := b.cfg.Mine(name); own == b.NextLook(name).IsZero() || !b.idle(name) {
					return false
				}
			}
			return true
		})
		turn.Add(1)
		b.SharesChanged()
	}
	for _, name := range names {
		if b.get(name).Status.Phase == "" {
			t.Errorf("%s was never looked at", name)
		}
	}
}

// The brake counts the records of all nodes, and their owners once.
func TestTheFleetBrakeCountsAllNodes(t *testing.T) {
	for _, tc := range []struct {
		name  string
		peers Falling
		held  bool
	}{
		{"nobody else", Falling{}, false},
		{"others of another owner", Falling{Records: 8, Owners: []uint64{hashOwner("b")}}, true},
		{"others of the same owner", Falling{Records: 8, Owners: []uint64{hashOwner("a")}}, false},
		{"others without an owner", Falling{Records: 8, Owners: []uint64{1, 2}}, true},
		{"few others", Falling{Records: 1, Owners: []uint64{hashOwner("b")}}, false},
	} {
		m := newFleetModel(t, 1)
		m.add(24, "a")
		m.b.peers = func() Falling { return tc.peers }
		var told Falling
		m.b.changed = func(f Falling) { told = f }
		for i := range 8 {
			m.b.note(fmt.Sprint("a", i), "a", m.now.Add(-modelWait), m.now.Add(-modelWait))
		}
		if told.Records != 8 || fmt.Sprint(told.Owners) != fmt.Sprint([]uint64{hashOwner("a")}) {
			t.Errorf("%s: others are told of %+v", tc.name, told)
		}
		if got := m.rule("a0", "a", modelWait).held; got != tc.held {
			t.Errorf("%s: held %v", tc.name, got)
		}
		if want := 1; !tc.held && told.Fallen != want {
			t.Errorf("%s: others are told of %+v", tc.name, told)
		}
	}
}

// A node that was paused, or is cut off, judges by what is long past: it writes nothing,
// and goes on by itself once it is live again.
func TestANodeThatIsNotLiveWritesNothing(t *testing.T) {
	world := dnstest.NewCustomer(t)
	world.Domain.Set(dnstest.RightChallenge)
	var live atomic.Bool
	b := newBench(t, newTestResolver(t, world.World), func(c *Config) { c.Live = live.Load })
	b.start()
	const host = "api.example.com"
	b.put(tlsRecord(host))
	if err := b.Check(t.Context(), host); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a check: %v", err)
	}
	if got := b.get(host).Status.Phase; got != "" {
		t.Errorf("it is %s", got)
	}
	if n := world.NS1.Queries(); n != 0 {
		t.Errorf("%d questions for nothing", n)
	}
	live.Store(true)
	b.clock.advance(2 * retryAfter)
	b.until("it is looked at", func() bool { return b.get(host).Status.Phase == v1alpha3.PhaseIssuing })
}
