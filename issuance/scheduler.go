package issuance

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	acmez "github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
	"github.com/apoxy-dev/caddy-apoxy/issuance/edge"
	"github.com/apoxy-dev/caddy-apoxy/issuance/revocation"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// Config is what a Scheduler needs of the world.
type Config struct {
	// Store keeps the index of certificates and the ledger. Required.
	Store store.Store
	// Prober asks DNS before an order; SetProber may set it later. Default: what the
	// Wants say is believed.
	Prober Prober
	// Challenges publishes DNS-01 values. Default: DNS-01 is not used.
	Challenges acme.Challenges
	// OnChange is called, without locks held and from any goroutine, whenever
	// what Observe tells of a hostname has changed. It must return quickly.
	OnChange func(hostname string)
	// OnExpiring is called, like OnChange, 30, 14 and 3 days before the end of a
	// customer's own certificate that nothing takes the place of, once each. Default: it
	// is logged alone.
	OnExpiring func(Expiring)
	// OnOrdered is called, like OnChange, of each certificate that was obtained, and of
	// each try that came to nothing. Default: nobody hears of it.
	OnOrdered func(Ordered)
	// Edge returns where hostnames lead to, to check whether CAs reach it. Default: not
	// checked.
	Edge func() edge.Endpoint
	// Mine reports whether this node works on a hostname, where several share the store:
	// the others neither order nor look after its certificate, but for handshakes.
	// SharesChanged tells that it reports others. Nil: this node works on all.
	Mine func(hostname string) bool
	// Live reports whether this node may place orders at this moment. Nil: it may always.
	Live func() bool
	// Term names the stretch of time through which this node has been live without a break;
	// empty: it is not. Work of an earlier one changes nothing in the store: another node
	// may have done it again meanwhile. Nil: there is one that never ends.
	Term func() string
	// Ready is closed once Want was called for all that is wanted at the start: before,
	// Run reads the index alone, for a hostname that nobody wants counts as one without
	// a record. Nil: it was, before Run.
	Ready <-chan struct{}
	// Concurrency is how many orders are in flight at most. Default: 32.
	Concurrency int
	// Logger. Default: none.
	Logger *zap.Logger
	// Now tells the time. Default: time.Now.
	Now func() time.Time
}

const (
	defaultConcurrency = 32
	// besideConcurrency is how many other steps are in flight at most: searches of
	// storage, deletions and questions about renewal windows.
	besideConcurrency = 8
	// ocspConcurrency is how many OCSP responders are asked at once.
	ocspConcurrency = 4
	// handshakeConcurrency is how many handshakes may wait for an issuance at once.
	handshakeConcurrency = 8
)

// Scheduler obtains certificates for the hostnames that are wanted and keeps
// them fresh. It outlives Caddy's configurations: each sets its Issuers and drops them
// when it ends.
type Scheduler struct {
	*tools
	entries     *entries
	inventory   *inventory
	revocations revocationsTold
	handshakes  chan struct{}
	progress    store.Progress // up to where the index has come
	expiries    atomic.Pointer[Expiries]

	confMu  sync.Mutex // held while the configuration changes
	configs []*Issuers // live ones, the current one last
	audits  auditor
}

// tools are what jobs work with. None of them knows the entries.
type tools struct {
	cfg         Config
	log         *zap.Logger
	now         func() time.Time
	ledger      *ledger
	edgeCheck   *edge.Checker
	prober      atomic.Pointer[Prober]
	responders  revocation.Responders
	hooks       chan struct{} // bounds the events whose handlers run
	patience    time.Duration // acme.Flow.Patience
	authorities func() []*ca  // the current ones, in order
	retry       func(hostname string)
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
	if cfg.OnOrdered == nil {
		cfg.OnOrdered = func(Ordered) {}
	}
	if cfg.OnExpiring == nil {
		cfg.OnExpiring = func(Expiring) {}
	}
	if cfg.Mine == nil {
		cfg.Mine = func(string) bool { return true }
	}
	if cfg.Live == nil {
		cfg.Live = func() bool { return true }
	}
	if cfg.Term == nil {
		cfg.Term = func() string { return "ever" }
	}
	if cfg.OnChange == nil {
		cfg.OnChange = func(string) {}
	}
	s := &Scheduler{handshakes: make(chan struct{}, handshakeConcurrency), inventory: newInventory()}
	l := newLedger(cfg.Store)
	s.entries = newEntries(cfg.Now, l, cfg.Concurrency, s.inventory.forget)
	s.entries.mine, s.entries.term = cfg.Mine, cfg.Term
	s.tools = &tools{cfg: cfg, log: cfg.Logger, now: cfg.Now, ledger: l, edgeCheck: edge.New(cfg.Now, l), patience: acme.DefaultPatience,
		hooks: make(chan struct{}, maxHooks), authorities: s.entries.authorities, retry: s.entries.retry}
	if cfg.Prober != nil {
		s.SetProber(cfg.Prober)
	}
	return s
}

// SharesChanged tells that Config.Mine reports others than before.
func (s *Scheduler) SharesChanged() {
	s.entries.each(s.entries.place)
	s.entries.poke()
}

// WaitRevision returns once Observe tells what the store has at a revision, or later, or
// with the context's error.
func (s *Scheduler) WaitRevision(ctx context.Context, revision int64) error {
	return s.progress.WaitRevision(ctx, revision)
}

// SetProber sets or replaces the Prober.
func (s *Scheduler) SetProber(p Prober) { s.prober.Store(&p) }

// SetIssuers makes a configuration's issuers the current ones.
func (s *Scheduler) SetIssuers(is *Issuers) {
	is.front.SetIndex(s)
	s.reconfigure(is, is)
}

// DropIssuers removes a configuration's issuers. If they were the current ones, those of
// the configuration before become current again, unless it was dropped, too.
func (s *Scheduler) DropIssuers(is *Issuers) { s.reconfigure(is) }

// reconfigure removes a configuration's issuers and makes others the current ones.
func (s *Scheduler) reconfigure(out *Issuers, in ...*Issuers) {
	s.confMu.Lock()
	defer s.confMu.Unlock()
	s.configs = append(slices.DeleteFunc(s.configs, func(g *Issuers) bool { return g == out }), in...)
	var current *Issuers
	if n := len(s.configs); n > 0 {
		current = s.configs[n-1]
	}
	s.entries.use(current, s.audits.mount(current.cas()))
}

// Authorities lists the issuer keys of the current configuration, in order.
func (s *Scheduler) Authorities() []string {
	var keys []string
	for _, c := range s.authorities() {
		keys = append(keys, c.Key)
	}
	return keys
}

// Configured are the authorities of the current configuration, in order.
func (s *Scheduler) Configured() (out []acme.Authority) {
	for _, c := range s.authorities() {
		out = append(out, c.Auth)
	}
	return out
}

// CAAIssuers lists the current CAs by what CAA records may say about them, as far as that
// is known: the issuer domain names once a CA's directory was read, the account once it
// was used.
func (s *Scheduler) CAAIssuers() []ownership.Issuer {
	cas := s.authorities()
	out := make([]ownership.Issuer, 0, len(cas))
	for _, c := range cas {
		i := ownership.Issuer{Names: c.names, Identities: c.KnownIdentities(), Account: c.Location(), Methods: c.methods}
		if s.cfg.Challenges == nil {
			i.Methods = slices.DeleteFunc(slices.Clone(i.Methods), func(m string) bool { return m == acmez.ChallengeTypeDNS01 })
		}
		out = append(out, i)
	}
	return out
}
