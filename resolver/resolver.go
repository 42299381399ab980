package resolver

import (
	"net/netip"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/singleflight"

	"github.com/apoxy-dev/caddy-apoxy/internal/lru"
)

// Kind says what a name is looked at for, and so which records matter there.
type Kind uint8

const (
	// KindTraffic is a hostname: its CNAME chain and the addresses at its end.
	KindTraffic Kind = iota
	// KindACMEChallenge is _acme-challenge of a hostname: its CNAME chain, and
	// what stands there in the CNAME's place.
	KindACMEChallenge
	// KindOwnership is _apoxy-challenge of a hostname, seen likewise.
	KindOwnership
)

// Config is what New makes a Resolver of. The zero value is usable.
type Config struct {
	// Resolvers are recursive resolvers, as host or host:port with the host an
	// IP address. Default: those of /etc/resolv.conf.
	Resolvers []string
	// Port is that of authoritative name servers. Default: 53.
	Port uint16
	// OwnZone returns the operator's zone without the final dot: a CNAME into
	// it ends a chain. Default: none.
	OwnZone func() string
	// EdgeAddresses returns those of the operator's edge: of a name that has them and
	// no others it is looked whether a wildcard makes them up. Default: none.
	EdgeAddresses func() []netip.Addr
	// Timeout bounds a whole observation. Default: 5 s.
	Timeout time.Duration
	// QueryTimeout bounds one question to one server over one transport.
	// Default: 1 s.
	QueryTimeout time.Duration
	// Grace is how long the other servers of a zone are waited for once one
	// has answered. Default: 700 ms.
	Grace time.Duration
	// CacheTTL is how long a zone's servers are remembered. Their addresses are twice as
	// long, or as long as their own TTL says, up to twenty times. Default: 15 s.
	CacheTTL time.Duration
	// PrivateNetworks are the special-purpose networks in which customers' name
	// servers may be contacted; see specialpurpose.Of. Default: none.
	PrivateNetworks []netip.Prefix
	// Logger says at debug level what was asked and found. Default: none.
	Logger *zap.Logger
}

// Bounds of what is asked.
const (
	maxServers   = 8    // addresses of one zone
	maxChain     = 10   // CNAMEs that are followed
	maxReferrals = 6    // delegations that are followed down from the registered domain
	maxQuestions = 2048 // in flight in all
	maxOfDomain  = 16   // in flight about names of one registered domain
)

// Resolver sees DNS as the world's certificate authorities see it: it asks the
// authoritative name servers of a name directly, all of them, and falls back to
// recursive resolvers where it cannot. It is safe for concurrent use and bounded
// in time, memory and questions whatever the servers do.
type Resolver struct {
	cfg       Config
	recursors []netip.AddrPort
	flights   singleflight.Group
	cuts      *lru.Cache[*zone]        // by the name that the search began at
	deeper    *lru.Cache[*zone]        // by apex, for zones that a referral led to
	addresses *lru.Cache[[]netip.Addr] // by name server
	probed    *lru.Cache[saying]       // by name: where mistakes put a CNAME; only what affirms
	slots     chan struct{}
	gates     gates
	mute      muted
	outward   outward
	shares    [causes]*share
	began     time.Time
}

// New returns a Resolver. Recursive resolvers that cannot be used are logged.
func New(cfg Config) *Resolver {
	or := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	or(&cfg.Timeout, 5*time.Second)
	or(&cfg.QueryTimeout, time.Second)
	or(&cfg.Grace, 700*time.Millisecond)
	or(&cfg.CacheTTL, 15*time.Second)
	if cfg.Port == 0 {
		cfg.Port = 53
	}
	if cfg.OwnZone == nil {
		cfg.OwnZone = func() string { return "" }
	}
	if cfg.EdgeAddresses == nil {
		cfg.EdgeAddresses = func() []netip.Addr { return nil }
	}
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	r := &Resolver{
		cfg:       cfg,
		cuts:      lru.New[*zone](4096),
		deeper:    lru.New[*zone](4096),
		addresses: lru.New[[]netip.Addr](4096),
		probed:    lru.New[saying](4096),
		slots:     make(chan struct{}, maxQuestions),
		gates:     gates{limit: maxOfDomain, open: make(map[string]*gate)},
		shares: [causes]*share{Owed: newShare(owedRate, owedBurst),
			Proven: newShare(provenRate, provenBurst), Unproven: newShare(unprovenRate, unprovenBurst)},
		began: time.Now(),
	}
	var err error
	if r.recursors, err = parseResolvers(cfg.Resolvers); err != nil {
		cfg.Logger.Error("no recursive resolver can be asked", zap.Error(err))
	}
	return r
}
