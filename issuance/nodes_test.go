package issuance

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	acmez "github.com/mholt/acmez/v3/acme"

	"github.com/apoxy-dev/caddy-apoxy/internal/certtest"
	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
	"github.com/apoxy-dev/caddy-apoxy/issuance/certfiles"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// node runs another scheduler over the same store and storage.
func (w *world) node(a acme.Authority, change ...func(*Config)) *Scheduler {
	w.t.Helper()
	cfg := Config{Store: w.store, Prober: w.dns, Challenges: w.zone}
	for _, f := range change {
		f(&cfg)
	}
	other := New(cfg)
	magic := certtest.Magic(w.t, filepath.Join(w.dir, "storage"))
	is := &Issuers{}
	is.Set("other", a, magic, nil)
	magic.Issuers = []certmagic.Issuer{&testIssuer{w: w}}
	other.SetIssuers(is)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); other.Run(ctx) }()
	w.t.Cleanup(func() { cancel(); <-done })
	return other
}

// What a CA asked of one node, and what one spent, counts for all.
func TestNodesShareHoldsAndTheBudget(t *testing.T) {
	w := newWorld(t)
	a := acme.Authority{Directory: w.ca.Directory(), Email: "ops@example.net", Budget: acme.Budget{Orders: 3, Per: time.Hour}}
	w.is.Set(w.magic.Issuers[0], a, w.magic, nil)
	nodes := []*Scheduler{w.s, w.node(a)}
	want := func(i int, host string) {
		w.dns.delegate(host)
		nodes[i].Want(Want{Hostname: host, UID: host, DNS01: true})
	}
	for i := range 8 {
		want(i%2, fmt.Sprint("h", i, ".example.com"))
	}
	waiting := func() (n int) {
		for i := range 8 {
			if o := nodes[i%2].Observe(fmt.Sprint("h", i, ".example.com")); o.Work == ownership.WorkQueued && strings.Contains(o.Message, "3 orders per 1 h") {
				n++
			}
		}
		return n
	}
	w.wait("five to queue on both nodes", func() bool { return waiting() == 5 }, func() string { return fmt.Sprint(waiting()) })
	if got := w.ca.Placed(); got != 3 {
		t.Errorf("%d orders, allowed are 3", got)
	}

	c := w.is.cas()[0]
	if _, err := w.s.ledger.put(context.Background(), c, acme.ScopeDomain, "x.example.org", time.Now().Add(time.Hour), "too many certificates", time.Now()); err != nil {
		t.Fatal(err)
	}
	w.wait("the other node to know of the hold", func() bool { _, held := nodes[1].ledger.held(c, "y.example.org", time.Now()); return held }, func() string { return "" })
	want(1, "z.example.org")
	o := w.waitOn(nodes[1], "z.example.org", worked(ownership.WorkRateLimited))
	if !strings.Contains(o.Message, "too many certificates") {
		t.Errorf("message %q", o.Message)
	}
}

func (w *world) waitOn(s *Scheduler, hostname string, ok func(ownership.CertificateObservation) bool) (o ownership.CertificateObservation) {
	w.t.Helper()
	w.wait(hostname, func() bool { o = s.Observe(hostname); return ok(o) }, func() string { return fmt.Sprintf("%+v", o) })
	return o
}

// Two nodes share store and storage: one order, and both know.
func TestTwoNodesPlaceOneOrder(t *testing.T) {
	w := newWorld(t)
	other := w.node(acme.Authority{Directory: w.ca.Directory(), Email: "ops@example.net"})
	var hosts []string
	for i := range 20 {
		h := fmt.Sprintf("h%d.example.com", i)
		hosts = append(hosts, h)
		w.dns.delegate(h)
		w.s.Want(Want{Hostname: h, UID: h, DNS01: true})
		other.Want(Want{Hostname: h, UID: h, DNS01: true})
	}
	for _, h := range hosts {
		mine := w.until(h, "certified", seen)
		w.wait(h+" on the other node", func() bool { return other.Observe(h).SerialNumber == mine.SerialNumber },
			func() string { return fmt.Sprintf("%+v against %+v", other.Observe(h), mine) })
	}
	if w.ca.Placed() != 20 {
		t.Errorf("%d orders for 20 hostnames", w.ca.Placed())
	}
}

// A node orders for what is its own, while it is live, and takes up what becomes so.
func TestANodeOrdersForItsOwn(t *testing.T) {
	w := newWorld(t)
	a := acme.Authority{Directory: w.ca.Directory(), Email: "ops@example.net"}
	var mine, live atomic.Bool
	const host, witness = "api.example.com", "witness.example.com"
	other := w.node(a, func(c *Config) {
		c.Mine = func(hostname string) bool { return hostname == witness || mine.Load() }
		c.Live = live.Load
	})
	for _, h := range []string{host, witness} {
		w.dns.delegate(h)
		other.Want(Want{Hostname: h, UID: h, DNS01: true})
	}
	w.wait("its own to be taken up", func() bool {
		other.entries.mu.Lock()
		defer other.entries.mu.Unlock()
		return other.entries.of.get(witness).looked
	}, func() string { return "" })
	if w.ca.Placed() != 0 {
		t.Fatal("a node that is not live orders")
	}
	live.Store(true)
	w.waitOn(other, witness, seen)
	if w.ca.Placed() != 1 {
		t.Fatalf("%d orders", w.ca.Placed())
	}
	mine.Store(true)
	other.SharesChanged()
	w.waitOn(other, host, seen)

	// The other way: what is let go of is left to others.
	mine.Store(false)
	other.SharesChanged()
	other.entries.mu.Lock()
	e := other.entries.of.get(host)
	if e.slot >= 0 || e.ready() != nil {
		t.Error("another node's certificate is renewed here")
	}
	other.entries.mu.Unlock()
}

// What a node was at when it lost its lease changes nothing that another node has kept
// since, whatever came of it.
func TestWhatWasBegunInAnEarlierTermIsNotKept(t *testing.T) {
	w := newWorld(t)
	a := acme.Authority{Directory: w.ca.Directory(), Email: "ops@example.net"}
	const host = "api.example.com"
	var term atomic.Int64
	var other *Scheduler
	held, free := make(chan struct{}), make(chan struct{})
	other = w.node(a, func(c *Config) {
		c.Term = func() string { return fmt.Sprint(term.Load()) }
		c.Prober = &waitingProber{Prober: w.dns, held: held, free: free}
	})
	other.Want(Want{Hostname: host, UID: "u1", DNS01: true})
	<-held // it asks DNS, and stands still
	w.dns.delegate(host)
	term.Add(1)
	rev, err := w.store.Write(t.Context(), store.Op{Key: IndexPrefix + host, Value: (&dossier{UID: "u1", CA: w.key(), Serial: "77", NotBefore: time.Now().Unix(), NotAfter: time.Now().Add(time.Hour).Unix()}).marshal(), If: store.Any})
	if err != nil {
		t.Fatal(err)
	}
	w.wait("the other's dossier to be known", func() bool { return other.progress.Revision() >= rev }, func() string { return "" })
	close(free)
	o := w.waitOn(other, host, seen)
	kv, _, err := w.store.Get(t.Context(), IndexPrefix+host)
	if err != nil || kv.Revision != rev || o.SerialNumber != "77" {
		t.Errorf("the store has it at %d, want %d, %v; observed %+v", kv.Revision, rev, err, o)
	}
	if n := w.ca.Placed(); n != 0 {
		t.Errorf("%d orders are placed in a later term than they were begun in", n)
	}
}

// waitingProber stands still when it is asked first.
type waitingProber struct {
	Prober
	once       sync.Once
	held, free chan struct{}
}

func (p *waitingProber) Delegated(ctx context.Context, hostname string) (bool, error) {
	p.once.Do(func() { close(p.held); <-p.free })
	return p.Prober.Delegated(ctx, hostname)
}

// A certificate that was revoked at one node is served by none any longer, not even by one
// whose record it is not.
func TestARevokedCertificateLeavesTheMemoryOfAllNodes(t *testing.T) {
	w := newWorld(t)
	const host = "api.example.com"
	other := w.node(acme.Authority{Directory: w.ca.Directory(), Email: "ops@example.net"}, func(c *Config) {
		c.Mine = func(string) bool { return false }
	})
	w.dns.delegate(host)
	w.s.Want(Want{Hostname: host, UID: "u1", DNS01: true})
	w.until(host, "certified", seen)
	w.wait("the other node to know", func() bool { return other.Observe(host).SerialNumber != "" }, func() string { return "" })
	magic := other.authorities()[0].cfg
	if _, err := magic.CacheManagedCertificate(t.Context(), host); err != nil {
		t.Fatal(err)
	}
	if err := w.s.Revoke(t.Context(), host, acmez.ReasonSuperseded); err != nil {
		t.Fatal(err)
	}
	w.wait("it to leave the other node's memory", func() bool { return !certfiles.InMemory(magic, host) }, func() string { return "" })
}
