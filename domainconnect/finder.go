package domainconnect

import (
	"context"
	"crypto/tls"
	"errors"
	"net/netip"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/internal/lru"
)

// DNS is how the finder sees DNS; *resolver.Resolver is one.
type DNS interface {
	// Texts returns the TXT records of an absolute name, CNAMEs followed; none if there
	// are none. An error: could not tell.
	Texts(ctx context.Context, name string) ([]string, error)
	// Addresses returns the A and AAAA records of a host, CNAMEs followed.
	Addresses(ctx context.Context, host string) ([]netip.Addr, error)
}

// Config is what a Finder works with. DNS is required.
type Config struct {
	DNS DNS
	// PrivateNetworks are the special-purpose networks that may be contacted; see
	// specialpurpose.Of. Nil: none.
	PrivateNetworks func() []netip.Prefix
	// TLS is whom providers' certificates are trusted of. Nil: the system's.
	TLS *tls.Config
	// OnFound is told of each hostname whose zone was asked about when it is known what
	// its provider offers. It must return at once.
	OnFound func(hostname string)
	// Logger says at debug level what was found. Default: none.
	Logger *zap.Logger
	// Now is the clock. Default: time.Now.
	Now func() time.Time
}

// How long what is known is believed, how soon what failed is tried again, and how much
// is done at once. Zones that do not fit are asked about when a place is free, at a
// later look.
const (
	believeFor   = 24 * time.Hour
	retryLeast   = time.Minute
	zonesKnown   = 1 << 15
	zonesAwaited = 256
	hostsOfZone  = 16 // that are told; the others hear of it at their next look
	workers      = 16
	findFor      = 15 * time.Second
)

// Finder finds out, beside the looks and never in their way, what DNS providers offer,
// and remembers it for a day.
type Finder struct {
	cfg   Config
	asker *asker
	known *lru.Cache[finding]
	queue chan question

	mu      sync.Mutex
	awaited map[question]map[string]bool // the hostnames that are to be told
}

// question is what is found out.
type question struct {
	zone    string
	service Service
}

func (q question) key() string {
	return q.zone + "/" + q.service.ProviderID + "/" + q.service.ServiceID
}

// finding is what is known of a zone.
type finding struct {
	offer   Offer
	offered bool
	// told: there was an answer once; else nothing is known but failures.
	told     bool
	until    time.Time // when it is asked again
	failures int       // since the last answer
}

// NewFinder returns a Finder, which finds nothing before Run.
func NewFinder(cfg Config) *Finder {
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.OnFound == nil {
		cfg.OnFound = func(string) {}
	}
	f := &Finder{cfg: cfg, known: lru.New[finding](zonesKnown), queue: make(chan question, zonesAwaited), awaited: map[question]map[string]bool{}}
	f.asker = newAsker(&f.cfg)
	return f
}

// Answer is what is known of an offer.
type Answer uint8

const (
	// Unknown: nobody has told yet, or lately; what was known before holds.
	Unknown Answer = iota
	// NotOffered: the provider does not support Domain Connect, or not the template.
	NotOffered
	// Offered: it does.
	Offered
)

// Offer tells from memory what the DNS provider of a zone (without the final dot)
// offers, and has it found out where that is not known or old; then OnFound is told of
// the hostname. It never waits.
func (f *Finder) Offer(zone, hostname string, s Service) (Offer, Answer) {
	q := question{zone, s}
	found, ok := f.known.Get(q.key())
	if !ok || !f.cfg.Now().Before(found.until) {
		f.demand(q, hostname)
	}
	switch {
	case !found.told:
		return Offer{}, Unknown
	case !found.offered:
		return Offer{}, NotOffered
	}
	return found.offer, Offered
}

func (f *Finder) demand(q question, hostname string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	hosts := f.awaited[q]
	if hosts == nil {
		select {
		case f.queue <- q:
		default:
			return // too many at once: a later look asks again
		}
		hosts = map[string]bool{}
		f.awaited[q] = hosts
	}
	if len(hosts) < hostsOfZone {
		hosts[hostname] = true
	}
}

// Run finds out what is asked for until the context ends. It returns nil.
func (f *Finder) Run(ctx context.Context) error {
	var work sync.WaitGroup
	defer work.Wait()
	for range workers {
		work.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case q := <-f.queue:
					f.find(ctx, q)
				}
			}
		})
	}
	<-ctx.Done()
	return nil
}

// find finds one thing out and tells who waits for it.
func (f *Finder) find(ctx context.Context, q question) {
	within, cancel := context.WithTimeout(ctx, findFor)
	defer cancel()
	offer, err := discover(within, &f.cfg, f.asker, q.zone, q.service)
	before, _ := f.known.Get(q.key())
	next := learn(before, offer, err, f.cfg.Now())
	if ctx.Err() == nil {
		f.known.Put(q.key(), next, 2*believeFor)
	}
	if l := f.cfg.Logger.Check(zap.DebugLevel, "asked what a DNS provider offers"); l != nil {
		l.Write(zap.String("zone", q.zone), zap.Bool("offered", next.offered), zap.NamedError("reason", err))
	}
	f.mu.Lock()
	hosts := f.awaited[q]
	delete(f.awaited, q)
	f.mu.Unlock()
	if before.told == next.told && before.offered == next.offered && before.offer == next.offer {
		return // no news
	}
	for host := range hosts {
		f.cfg.OnFound(host)
	}
}

// learn is what is known after one more try. A failure leaves what was known, and is
// tried again later each time, a day at most.
func learn(before finding, offer Offer, err error, now time.Time) finding {
	switch {
	case err == nil:
		return finding{offer: offer, offered: true, told: true, until: now.Add(believeFor)}
	case errors.Is(err, errNotOffered):
		return finding{told: true, until: now.Add(believeFor)}
	}
	wait := believeFor
	if before.failures < 11 { // 2^11 minutes are more than a day
		wait = min(retryLeast<<before.failures, believeFor)
	}
	before.failures++
	before.until = now.Add(wait)
	return before
}
