package issuance

import (
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
	// besideConcurrency bounds what is done beside orders: looks into storage
	// and polls of renewal windows.
	besideConcurrency = 8
	// ocspConcurrency bounds the OCSP responders that are asked at once.
	ocspConcurrency = 4
	// handshakeConcurrency bounds the issuances that handshakes wait for.
	handshakeConcurrency = 8
)

// Scheduler obtains certificates for the hostnames that are wanted and keeps
// them fresh. It outlives Caddy's configurations: each hands its Issuers in
// and takes them away again.
type Scheduler struct {
	*tools
	entries    *entries
	inventory  *inventory
	told       revokedTold
	handshakes chan struct{}

	confMu  sync.Mutex // held while one configuration takes another's place
	configs []*Issuers // live ones, the current one last
	audits  auditor
}

// tools are what work on hostnames is done with. None of them knows the entries.
type tools struct {
	cfg         Config
	log         *zap.Logger
	now         func() time.Time
	ledger      *ledger
	edgeCheck   *edge.Checker
	prober      atomic.Pointer[Prober]
	responders  revocation.Responders
	hooks       chan struct{} // bounds the events whose handlers run
	patience    time.Duration // how long an order waits in its slot for its CA
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
	if cfg.OnChange == nil {
		cfg.OnChange = func(string) {}
	}
	s := &Scheduler{handshakes: make(chan struct{}, handshakeConcurrency), inventory: newInventory()}
	l := newLedger(cfg.Store)
	s.entries = newEntries(cfg.Now, l, cfg.Concurrency, s.inventory.forget)
	s.tools = &tools{cfg: cfg, log: cfg.Logger, now: cfg.Now, ledger: l, edgeCheck: edge.New(cfg.Now, l), patience: acme.DefaultPatience,
		hooks: make(chan struct{}, maxHooks), authorities: s.entries.authorities, retry: s.entries.retry}
	if cfg.Prober != nil {
		s.SetProber(cfg.Prober)
	}
	return s
}

// SetProber gives or replaces the Prober.
func (s *Scheduler) SetProber(p Prober) { s.prober.Store(&p) }

// SetIssuers makes a configuration's issuers the current ones.
func (s *Scheduler) SetIssuers(is *Issuers) {
	is.front.SetIndex(s)
	s.reconfigure(is, is)
}

// DropIssuers takes a configuration's issuers away. If they were the current
// ones, those of the configuration before apply again, if it still lives.
func (s *Scheduler) DropIssuers(is *Issuers) { s.reconfigure(is) }

// reconfigure takes a configuration out, and others in as the last.
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

// CAAIssuers lists the current authorities as CAA records speak of them, as far as
// that is known. A CA's directory tells its identities, once it has been read, and
// the account is known once it was used.
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
