package resolver

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/zap"
	"golang.org/x/sync/singleflight"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/internal/lru"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
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
	// MaxServers bounds the addresses asked of one zone. Default: 8.
	MaxServers int
	// MaxChain bounds the CNAMEs followed. Default: 10.
	MaxChain int
	// MaxReferrals bounds the delegations followed down from the registered
	// domain. Default: 6.
	MaxReferrals int
	// Concurrency bounds the questions in flight in all. Default: 2048.
	Concurrency int
	// ZoneConcurrency bounds the questions in flight about names of one
	// registered domain. Default: 16.
	ZoneConcurrency int
	// CacheTTL is how long a zone's servers and their addresses are
	// remembered. Default: 15 s.
	CacheTTL time.Duration
	// PrivateNetworks are the special-purpose networks in which customers' name
	// servers may be contacted; see specialpurpose.Of. Default: none.
	PrivateNetworks []netip.Prefix
	// Logger says at debug level what was asked and found. Default: none.
	Logger *zap.Logger
}

// Resolver sees DNS as the world's certificate authorities see it: it asks the
// authoritative name servers of a name directly, all of them, and falls back to
// recursive resolvers where it cannot. It is safe for concurrent use and bounded
// in time, memory and questions whatever the servers do.
type Resolver struct {
	cfg       Config
	recursors atomic.Pointer[[]netip.AddrPort]
	flights   singleflight.Group
	cuts      *lru.Cache[*zone]        // by the name that the search began at
	deeper    *lru.Cache[*zone]        // by apex, for zones that a referral led to
	addresses *lru.Cache[[]netip.Addr] // by name server
	slots     chan struct{}
	gates     gates
	mute      muted
	outward   outward
	shares    [causes]*share
	began     time.Time
}

// New returns a Resolver. Recursive resolvers that cannot be used are
// logged; ParseResolvers tells beforehand.
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
	orInt := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	orInt(&cfg.MaxServers, 8)
	orInt(&cfg.MaxChain, 10)
	orInt(&cfg.MaxReferrals, 6)
	orInt(&cfg.Concurrency, 2048)
	orInt(&cfg.ZoneConcurrency, 16)
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
		slots:     make(chan struct{}, cfg.Concurrency),
		gates:     gates{limit: cfg.ZoneConcurrency, open: make(map[string]*gate)},
		shares: [causes]*share{Owed: newShare(owedRate, owedBurst),
			Proven: newShare(provenRate, provenBurst), Unproven: newShare(unprovenRate, unprovenBurst)},
		began: time.Now(),
	}
	if err := r.SetResolvers(cfg.Resolvers); err != nil {
		cfg.Logger.Error("no recursive resolver can be asked", zap.Error(err))
	}
	return r
}

// SetResolvers replaces the recursive resolvers, as ParseResolvers reads them. On
// an error those in use stay.
func (r *Resolver) SetResolvers(resolvers []string) error {
	recursors, err := ParseResolvers(resolvers)
	if err != nil {
		return err
	}
	r.recursors.Store(&recursors)
	return nil
}

// Resolvers are the recursive resolvers in use.
func (r *Resolver) resolvers() []netip.AddrPort {
	if p := r.recursors.Load(); p != nil {
		return *p
	}
	return nil
}

// Name is where records of this kind of hostname stand, absolute.
func (k Kind) name(hostname string) string {
	hostname = strings.ToLower(strings.TrimSuffix(hostname, "."))
	switch k {
	case KindACMEChallenge:
		return v1alpha3.OwnerACMEChallengeName(hostname)
	case KindOwnership:
		return v1alpha3.OwnerApoxyChallengeName(hostname)
	}
	return v1alpha3.OwnerTrafficName(hostname)
}

// Look is one observation in the making.
type look struct {
	hostname string
	kind     Kind
	name     string // where the records stand, absolute
}

// Observe looks at the name that kind means for hostname (spec.name of a
// record) and follows the CNAMEs found there up to the operator's zone or the end
// of the chain. It never takes longer than the configured Timeout. In a context of
// Unproven it only glances; see WithRation.
func (r *Resolver) Observe(ctx context.Context, hostname string, kind Kind) ownership.DNSObservation {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	l := look{hostname, kind, kind.name(hostname)}
	if RationOf(ctx).few() {
		return r.glance(ctx, l)
	}
	obs := r.follow(ctx, l)
	edge := r.cfg.EdgeAddresses()
	r.lookBeside(ctx, l, &obs, edge)
	right := len(obs.Chain) > 0 && r.expected(l, obs.Chain[len(obs.Chain)-1])
	switch {
	case obs.Outcome == ownership.CouldNotTell:
	case obs.Cached && !obs.Barred:
	case right && kind == KindACMEChallenge:
		// Some servers allow TXT records beside the CNAME. The CA would see these.
		if said, ok := r.probe(ctx, l.name, dns.TypeTXT); ok && len(said.texts) > 0 {
			obs.Other = said.texts
		}
	case right:
	case len(obs.Chain) > 0:
		obs.Wildcard = r.wildcard(ctx, l, obs.Chain[0])
	default:
		obs.Elsewhere = r.elsewhere(ctx, l)
	}
	if obs.Outcome == ownership.Seen && !obs.Cached && (right || len(obs.Chain) == 0 && slices.ContainsFunc(obs.Addresses, func(a netip.Addr) bool { return slices.Contains(edge, a.Unmap()) })) {
		r.compareResolvers(ctx, l, &obs)
	}
	obs.At = time.Now()
	return obs
}

// Follow looks at the name and at each CNAME's target in turn.
func (r *Resolver) follow(ctx context.Context, l look) ownership.DNSObservation {
	types := []uint16{dns.TypeCNAME}
	if l.kind == KindTraffic {
		types = []uint16{dns.TypeA, dns.TypeAAAA}
	}
	var obs ownership.DNSObservation
	visited := map[string]bool{l.name: true}
	for at := l.name; ; {
		a := r.consult(ctx, at, types...)
		if at == l.name {
			obs.Servers, obs.TTL = a.servers, a.ttl
			if obs.Apex = a.top(at); l.kind == KindTraffic && !obs.Apex && a.soa == "" && len(a.addrs) > 0 {
				obs.Apex, a = r.askTop(ctx, at, a)
			}
		}
		if obs.Problem == "" {
			obs.Problem = a.problem
		}
		noteCached(&obs, a)
		if !a.affirmed {
			obs.Outcome = ownership.CouldNotTell
			obs.Err = joined(obs.Err, a.err)
			if at != l.name {
				obs.Err = fmt.Sprintf("%s is an alias of %s, which could not be looked up: %s", l.name, at, a.err)
			}
			return obs
		}
		obs.Err = joined(obs.Err, a.err)
		if a.alias == "" {
			r.finish(ctx, &obs, at, a, l.kind)
			return obs
		}
		obs.Outcome = ownership.Seen
		obs.Chain = append(obs.Chain, a.alias)
		switch {
		case r.own(a.alias):
			return obs
		case visited[a.alias]:
			obs.Err = joined(obs.Err, fmt.Sprintf("the CNAMEs from %s form a loop at %s", l.name, a.alias))
			obs.Dangling = true
			return obs
		case len(obs.Chain) >= r.cfg.MaxChain:
			obs.Err = joined(obs.Err, fmt.Sprintf("more than %d CNAMEs follow from %s", r.cfg.MaxChain, l.name))
			obs.Dangling = true
			return obs
		}
		visited[a.alias] = true
		at = a.alias
	}
}

// Finish records the end of a chain, or a name that has no CNAME at all.
func (r *Resolver) finish(ctx context.Context, obs *ownership.DNSObservation, at string, a answer, kind Kind) {
	first := len(obs.Chain) == 0
	switch {
	case !first:
		obs.Dangling, obs.Addresses = a.nx, a.addrs
	case a.empty() && (kind == KindTraffic || a.nx || a.viaResolvers):
		obs.Outcome, obs.NXDomain = ownership.Absent, a.nx
	case kind == KindTraffic:
		obs.Outcome, obs.Addresses = ownership.Seen, a.addrs
	default:
		// The name exists without a CNAME: what stands there instead? Only the
		// authoritative servers are asked, because a recursive resolver would
		// remember that there is no TXT record, to the CA's later detriment.
		obs.Outcome = ownership.Absent
		if r.mute.now() {
			return
		}
		if in := r.authoritative(ctx, at, dns.TypeTXT, dns.TypeA, dns.TypeAAAA); in.affirmed && !in.empty() {
			obs.Outcome, obs.Other = ownership.Seen, in.presentation()
		}
	}
}

// Elsewhere tries the names that registrars' forms make of the right one, for
// the value that is expected there.
func (r *Resolver) elsewhere(ctx context.Context, l look) []string {
	apex := RegisteredDomain(l.name) + "."
	if r.cfg.OwnZone() == "" || apex == "." || v1alpha3.IsWildcard(l.name) {
		return nil
	}
	candidates := []string{l.name + apex}
	if label, rest, ok := strings.Cut(l.name, "."); ok && l.kind != KindTraffic && rest != apex {
		candidates = append(candidates, label+"."+apex)
	}
	var found []string
	for _, c := range candidates {
		if len(c) > maxName {
			continue
		}
		if said, ok := r.probe(ctx, c, dns.TypeCNAME); ok && said.alias != "" && r.expected(l, said.alias) {
			found = append(found, c)
		}
	}
	return found
}

// MaxName is the longest name in presentation form, with the final dot.
const maxName = 254

// Wildcard reports whether a sibling that nobody created has the same CNAME, so
// that it is a wildcard's.
func (r *Resolver) wildcard(ctx context.Context, l look, alias string) bool {
	if v1alpha3.IsWildcard(l.name) {
		return false
	}
	sibling := "_apoxy-nobody-created-this." + parentOf(l.name)
	if len(sibling) > maxName {
		return false
	}
	said, ok := r.probe(ctx, sibling, dns.TypeCNAME)
	return ok && said.alias == alias
}

// Expected reports whether an absolute CNAME target is what belongs there.
func (r *Resolver) expected(l look, target string) bool {
	zone := strings.ToLower(r.cfg.OwnZone())
	switch l.kind {
	case KindACMEChallenge:
		return target == v1alpha3.ChallengeName(l.hostname, zone)
	case KindOwnership:
		verify := v1alpha3.VerifyName(zone)
		return target == verify || strings.HasSuffix(target, "."+verify)
	}
	return target == v1alpha3.TrafficName(l.hostname, zone)
}

// Own reports whether an absolute name lies in the operator's zone.
func (r *Resolver) own(name string) bool {
	zone := r.cfg.OwnZone()
	return zone != "" && dns.IsSubDomain(absolute(zone), name)
}

func absolute(name string) string { return dns.Fqdn(strings.ToLower(name)) }

func joined(a, b string) string {
	switch {
	case a == "" || a == b:
		return b
	case b == "":
		return a
	}
	return a + "; " + b
}
