package issuance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/issuance/edge"

	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"

	acmez "github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/issuance/revocation"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// Config is what a Scheduler needs of the world.
type Config struct {
	// Store keeps the index of certificates and the ledger. Required.
	Store store.Store
	// Prober looks at DNS before an order; SetProber may give it later. Default:
	// what the Wants say is believed.
	Prober Prober
	// Challenges publishes DNS-01 values. Default: DNS-01 is not used.
	Challenges acme.Challenges
	// OnChange is called, without locks held and from any goroutine, whenever
	// what Observe tells of a hostname has changed. It must return quickly.
	OnChange func(hostname string)
	// Edge tells where hostnames lead to, so that it can be seen whether CAs
	// reach it. Default: not looked at.
	Edge func() edge.Endpoint
	// Concurrency bounds the orders in flight. Default: 32.
	Concurrency int
	// Logger. Default: none.
	Logger *zap.Logger
	// Now tells the time. Default: time.Now.
	Now func() time.Time
}

const (
	defaultConcurrency = 32
	// lookConcurrency bounds what is done beside orders: looks into storage
	// and polls of renewal windows.
	lookConcurrency = 8
	// ocspConcurrency bounds the OCSP responders that are asked at once.
	ocspConcurrency = 4
)

// Scheduler obtains certificates for the hostnames that are wanted and keeps
// them fresh. It outlives Caddy's configurations: each hands its Issuers in
// and takes them away again.
type Scheduler struct {
	cfg    Config
	log    *zap.Logger
	now    func() time.Time
	ledger *ledger
	reach  *edge.Checker
	prober atomic.Pointer[Prober]
	wake   chan struct{}
	// handshakes bounds the issuances that handshakes wait for.
	handshakes chan struct{}
	// hooks bounds the events whose handlers run.
	hooks chan struct{}
	// storing bounds the looks into storage for certificates on record.
	storing    chan struct{}
	responders revocation.Responders
	// patience is how long an order waits in its slot for its CA.
	patience time.Duration

	mu      sync.Mutex
	gens    []*Issuers // live configurations, the current one last
	loaded  bool
	indexed int           // hostnames in the index at the start
	known   chan struct{} // closed once the index is loaded
	entries map[string]*entry
	due     dueHeap
	lanes   map[string]*lane
	parked  *lane           // due, but no configured CA may be used
	putOff  map[*entry]bool // due, but every CA is held
	freed   map[*entry]bool // put off, being looked at anew after a change of issuers
	stale   []*lane         // of before the last reroute, being emptied
	mount   string          // the storages of the current configuration
	audited string          // those that the index was compared with last
	// auditing: they are to be compared with the index, and orders wait for it;
	// auditor: that is under way.
	auditing, auditor bool
	doubts            map[string]string // why storage could not tell of a hostname
	doubtTold         time.Time
	muteUntil         time.Time            // looks do not ask storage, which answered nothing; zero: it did
	revokedTold       map[string]bool      // certificates by issuer and serial number
	heardOf           map[string]time.Time // hostnames, when handshakes had storage looked at
	flying            int                  // orders
	booked            map[string]int       // orders that are to be spent yet, by CA and account
	looking           int                  // other steps, but
	asking            int                  // OCSP responders
	sorted            time.Time            // when all due work was last routed
}

// New returns a Scheduler that does nothing before Run.
func New(cfg Config) *Scheduler {
	if cfg.Concurrency <= 0 {
		cfg.Concurrency = defaultConcurrency
	}
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Edge == nil {
		cfg.Edge = func() edge.Endpoint { return edge.Endpoint{} }
	}
	if cfg.OnChange == nil {
		cfg.OnChange = func(string) {}
	}
	s := &Scheduler{
		cfg: cfg, log: cfg.Logger, now: cfg.Now, patience: acme.DefaultPatience, ledger: newLedger(cfg.Store),
		wake: make(chan struct{}, 1), known: make(chan struct{}), handshakes: make(chan struct{}, 8),
		hooks: make(chan struct{}, maxHooks), revokedTold: map[string]bool{},
		storing: make(chan struct{}, storedConcurrency), doubts: map[string]string{}, heardOf: map[string]time.Time{},
		entries: map[string]*entry{}, lanes: map[string]*lane{}, booked: map[string]int{}, putOff: map[*entry]bool{}, freed: map[*entry]bool{}, parked: &lane{parked: true},
	}
	s.reach = edge.New(cfg.Now, s.ledger)
	if cfg.Prober != nil {
		s.SetProber(cfg.Prober)
	}
	return s
}

// SetProber gives or replaces the Prober.
func (s *Scheduler) SetProber(p Prober) { s.prober.Store(&p) }

// SetIssuers makes a configuration's issuers the current ones.
func (s *Scheduler) SetIssuers(is *Issuers) {
	s.mu.Lock()
	s.gens = append(slices.DeleteFunc(s.gens, func(g *Issuers) bool { return g == is }), is)
	is.front.SetIndex(s)
	s.remount()
	s.reroute()
	s.mu.Unlock()
	s.poke()
}

// DropIssuers takes a configuration's issuers away. If they were the current
// ones, those of the configuration before apply again, if it still lives.
func (s *Scheduler) DropIssuers(is *Issuers) {
	s.mu.Lock()
	s.gens = slices.DeleteFunc(s.gens, func(g *Issuers) bool { return g == is })
	s.remount()
	s.reroute()
	s.mu.Unlock()
	s.poke()
}

func (s *Scheduler) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// cas are the current authorities in order. s.mu must be held.
func (s *Scheduler) cas() []*ca {
	if len(s.gens) == 0 {
		return nil
	}
	return s.gens[len(s.gens)-1].cas()
}

// Authorities lists the issuer keys of the current configuration, in order.
func (s *Scheduler) Authorities() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []string
	for _, c := range s.cas() {
		keys = append(keys, c.Key)
	}
	return keys
}

// CAAIssuers lists the current authorities as CAA records speak of them, as far as
// that is known. A CA's directory tells its identities, once it has been read, and
// the account is known once it was used.
func (s *Scheduler) CAAIssuers() []ownership.Issuer {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]ownership.Issuer, 0, len(s.cas()))
	for _, c := range s.cas() {
		i := ownership.Issuer{Names: c.names, Identities: c.KnownIdentities(), Account: c.Location(), Methods: c.methods}
		if s.cfg.Challenges == nil {
			i.Methods = slices.DeleteFunc(slices.Clone(i.Methods), func(m string) bool { return m == acmez.ChallengeTypeDNS01 })
		}
		out = append(out, i)
	}
	return out
}

// candidates are the authorities that a Want for the named one may use. s.mu
// must be held.
func (s *Scheduler) candidates(named string) []*ca {
	return slices.DeleteFunc(s.cas(), func(c *ca) bool { return !c.Auth.Named(named) })
}

// Run loads the index and works until the context ends. In-flight work is
// cancelled with it; orders that were placed are taken up again by the next Run.
func (s *Scheduler) Run(ctx context.Context) error {
	if s.cfg.Store == nil {
		return errors.New("running issuance: no store")
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	followed := make(chan error, 1)
	wg.Go(func() { followed <- s.follow(ctx) })
	select {
	case <-s.known:
	case err := <-followed: // the context ended, or the store was closed, before all was read
		return err
	}
	wg.Go(func() { s.ledger.tidyHourly(ctx, s.now, s.log) })

	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if mount := s.auditDue(); mount != "" {
			wg.Go(func() { s.audit(ctx, mount) })
		}
		for _, j := range s.dispatch(ctx) {
			wg.Go(j)
		}
		timer.Reset(s.pause())
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		case <-timer.C:
		}
	}
}

// Indexed returns how many hostnames the index held at the start, once it has
// been read.
func (s *Scheduler) Indexed(ctx context.Context) (int, error) {
	select {
	case <-s.known:
	case <-ctx.Done():
		return 0, fmt.Errorf("waiting for the index of certificates: %w", ctx.Err())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.indexed, nil
}

// Observe tells what is known of the hostname's certificate, from memory. A
// hostname that is not wanted has none unless the index knows one; for one that
// is wanted storage is searched first, and until then nothing can be told.
func (s *Scheduler) Observe(hostname string) ownership.CertificateObservation {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.loaded {
		return ownership.CertificateObservation{}
	}
	if e := s.entries[hostname]; e != nil {
		return s.observe(e, s.now())
	}
	return ownership.CertificateObservation{Outcome: ownership.Absent}
}
