package issuance

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/internal/acmetest"
	"github.com/apoxy-dev/caddy-apoxy/internal/certtest"
	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
	"github.com/apoxy-dev/caddy-apoxy/issuance/edge"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
)

// world is a scheduler with a CA, certmagic and a store, all real but the CA
// and DNS.
type world struct {
	t      *testing.T
	ca     *acmetest.CA
	dir    string
	store  store.Store
	magic  *certmagic.Config
	s      *Scheduler
	is     *Issuers
	zone   *acmetest.Zone
	dns    *testDNS
	stop   context.CancelFunc
	done   chan struct{}
	change chan string
	expire chan Expiring
	order  chan Ordered  // those that have ended
	edge   edge.Endpoint // set before the first Want
	log    *zap.Logger   // of the next start; nil: none
	ahead  atomic.Int64  // of the scheduler's clock, in nanoseconds
}

type testDNS struct {
	mu        sync.Mutex
	delegated map[string]bool
	caa       map[string]ownership.CAAObservation
	caaErr    error
	astray    map[string]bool
	bogus     map[string]bool
	slow      map[string]time.Duration
}

func (d *testDNS) Delegated(_ context.Context, hostname string) (bool, error) {
	d.mu.Lock()
	pause := d.slow[hostname]
	d.mu.Unlock()
	time.Sleep(pause) // what a slow name server takes
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.bogus[hostname] {
		return false, fmt.Errorf("looking for the delegation of %s: %w", hostname, ownership.ErrBogus)
	}
	return d.delegated[hostname], nil
}

func (d *testDNS) CAA(_ context.Context, hostname string) (ownership.CAAObservation, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.caa[hostname], d.caaErr
}

// caaSet is a record set of issue properties at example.com.
func caaSet(values ...string) ownership.CAAObservation {
	o := ownership.CAAObservation{Outcome: ownership.Seen, Domain: "example.com"}
	for _, v := range values {
		o.Records = append(o.Records, ownership.CAARecord{Tag: "issue", Value: v})
	}
	return o
}

func (d *testDNS) Arrives(_ context.Context, hostname string) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.bogus[hostname] {
		return false, fmt.Errorf("looking where %s leads: %w", hostname, ownership.ErrBogus)
	}
	return !d.astray[hostname], nil
}

func (d *testDNS) delegate(hostname string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.delegated[hostname] = true
}

func (d *testDNS) undelegate(hostname string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.delegated, hostname)
}

func newWorld(t *testing.T) *world {
	t.Setenv("NO_PROXY", "*")
	w := &world{t: t, ca: acmetest.New(t), dir: t.TempDir(), zone: &acmetest.Zone{},
		dns: &testDNS{delegated: map[string]bool{}, caa: map[string]ownership.CAAObservation{}, astray: map[string]bool{}, bogus: map[string]bool{}, slow: map[string]time.Duration{}}, change: make(chan string, 1000), expire: make(chan Expiring, 100), order: make(chan Ordered, 100)}
	w.ca.Validate = w.zone.Validate
	w.magic = certtest.Magic(t, filepath.Join(w.dir, "storage"))
	w.start()
	t.Cleanup(func() { w.halt() })
	return w
}

// start opens the store and runs a scheduler; halt ends both, as a restart does.
func (w *world) start() {
	st, err := boltstore.Open(filepath.Join(w.dir, "apoxy.db"), boltstore.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	w.store = st
	now := func() time.Time { return time.Now().Add(time.Duration(w.ahead.Load())) }
	w.s = New(Config{Store: st, Now: now, Logger: w.log, Prober: w.dns, Challenges: w.zone, Edge: func() edge.Endpoint { return w.edge }, OnExpiring: func(e Expiring) { w.expire <- e }, OnOrdered: func(o Ordered) {
		select {
		case w.order <- o:
		default:
		}
	}, OnChange: func(h string) {
		select {
		case w.change <- h:
		default:
		}
	}})
	w.is = &Issuers{}
	iss := &testIssuer{w: w}
	w.magic.Issuers = []certmagic.Issuer{iss}
	w.is.Set(iss, acme.Authority{Directory: w.ca.Directory(), Email: "ops@example.net"}, w.magic, nil)
	w.s.SetIssuers(w.is)
	ctx, cancel := context.WithCancel(context.Background())
	w.stop, w.done = cancel, make(chan struct{})
	go func() {
		defer close(w.done)
		if err := w.s.Run(ctx); err != nil {
			w.t.Error(err)
		}
	}()
}

func (w *world) halt() {
	w.stop()
	<-w.done
	if err := w.store.Close(); err != nil {
		w.t.Error(err)
	}
}

// until waits for an observation.
func (w *world) until(hostname, what string, ok func(ownership.CertificateObservation) bool) ownership.CertificateObservation {
	w.t.Helper()
	var o ownership.CertificateObservation
	w.wait(hostname+" "+what, func() bool { o = w.s.Observe(hostname); return ok(o) },
		func() string { return fmt.Sprintf("%+v", o) })
	return o
}

func (w *world) wait(what string, ok func() bool, last func() string) {
	w.t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			w.t.Fatalf("waiting for %s: last %s", what, last())
		case <-tick.C:
		}
	}
}

func seen(o ownership.CertificateObservation) bool { return o.Outcome == ownership.Seen }

func worked(k ownership.Work) func(ownership.CertificateObservation) bool {
	return func(o ownership.CertificateObservation) bool { return o.Work == k }
}

// patient sets how long orders wait in their slots; before the first Want.
func (w *world) patient(d time.Duration) { w.s.patience = d }

// advance puts the scheduler's clock forward.
func (w *world) advance(d time.Duration) {
	w.ahead.Add(int64(d))
	w.s.entries.poke()
}
