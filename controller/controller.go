package controller

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"go.uber.org/zap"
	"k8s.io/apimachinery/pkg/types"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
	"github.com/apoxy-dev/caddy-apoxy/internal/lru"
	"github.com/apoxy-dev/caddy-apoxy/issuance"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
	"github.com/apoxy-dev/caddy-apoxy/resolver"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// DNS is how the controller sees DNS; *resolver.Resolver is one. Both methods are
// bounded in time and safe for concurrent use. They obey the resolver.Ration of
// their context, and set what resolver.WithHeard put there.
type DNS interface {
	// Observe looks at the name that kind means for hostname.
	Observe(ctx context.Context, hostname string, kind resolver.Kind) ownership.DNSObservation
	// CAA returns the relevant CAA record set of hostname; see issuance.Prober.
	CAA(ctx context.Context, hostname string) (ownership.CAAObservation, error)
}

// Config is what a Controller works with. Store, Table, Resolver, Issuance,
// Target and Settings are required.
type Config struct {
	// Store keeps the records.
	Store store.Store
	// Table is asked how many records are verified, and whether a target's
	// health is news to a record.
	Table *hosts.Table
	// Resolver sees DNS.
	Resolver DNS
	// Issuance obtains certificates and tells of them.
	Issuance issuance.Observer
	// Stored has issuance look whether storage has the hostname's certificate, in
	// bounded time, before a look judges by what Issuance tells of it. Default: what
	// issuance remembers is believed.
	Stored func(ctx context.Context, hostname string)
	// Target tells of a target, from memory.
	Target func(v1alpha3.TargetKey) ownership.TargetObservation
	// TargetOf is Target for one record, asked where that is OfRecord. Required if
	// any is.
	TargetOf func(*hosts.Host) ownership.TargetObservation
	// Settings returns the operator's choices in force.
	Settings func() ownership.Settings
	// Connect tells by what link the customer creates what a record lacks with a status,
	// nil for none, from memory; what the status has so far holds where it cannot tell.
	// Nil: there are no links.
	Connect func(*v1alpha3.DomainRecord, *v1alpha3.DomainRecordStatus) *v1alpha3.DomainConnectStatus
	// Delete deletes the named record if it has this uid and was never verified,
	// and is without effect otherwise. Nil: such records stay.
	Delete func(ctx context.Context, name string, uid types.UID) error
	// Mine reports whether this node looks at the record of a hostname, where several
	// share the store; SharesChanged tells that it reports others. Nil: it looks at all.
	Mine func(hostname string) bool
	// Live reports whether this node may write statuses at this moment: while it does not
	// hear of what others do, it judges by what is long past. Nil: it may always.
	Live func() bool
	// Pass passes a hint on to the node that looks at the record of a hostname; see Hint
	// and HintUnproven. It reports false if that is this one. It must return at once.
	// Nil: there is no other.
	Pass func(hostname string, proven bool) bool
	// Peers tells of what other nodes' records are about to lose ownership, for the fleet
	// brake, and OnFalling is told of this node's. Nil: there is no other.
	Peers     func() Falling
	OnFalling func(Falling)
	// OnTransition is told of every change of a condition or phase that this
	// controller wrote, and of every deletion it heard of. It must return soon.
	// Default: nobody is told.
	OnTransition func(Transition)
	// Concurrency bounds the looks under way at domains that answered soon the
	// last time, and as many at those of which nothing is known. Beside them
	// a quarter as many have places that answer late, an eighth of which no
	// look was finished yet, and an eighth that did not answer. Default: 256.
	Concurrency int
	// Logger. Default: none.
	Logger *zap.Logger
	// Now is the clock. Default: time.Now.
	Now func() time.Time
	// Rand returns numbers from 0 up to 1, to spread looks. Default: math/rand.
	Rand func() float64
}

// Controller keeps the status of all records true. Its loop is: observe,
// evaluate, write if different, look again when it is time. All methods are safe
// for concurrent use and, but for Check and Run, return at once.
type Controller struct {
	cfg     Config
	brake   brake
	hints   hints
	glances glances
	seen    *lru.Cache[*sighting]
	kick    chan struct{}
	// expired holds the expiry of each record whose deletion was asked for and not yet
	// heard of, by name.
	expired sync.Map

	mu      sync.Mutex
	queue   queue
	byName  map[string]*item
	aliases map[string]string // hostname to name, where they differ
	running bool
	heeded  time.Time // when the clock was last looked at

	targetsMu   sync.Mutex
	targets     map[v1alpha3.TargetKey]ownership.TargetObservation
	targetsMost int // more are worth forgetting those that no record names
	targetsKick chan struct{}
}

// SeenLimit and seenFor bound how many unsettled records' observations are kept,
// and for how long, so that other news can be judged without asking DNS again.
const (
	seenLimit = 16384
	seenFor   = 10 * time.Minute
)

// New returns a Controller. It looks at nothing before Run.
func New(cfg Config) *Controller {
	if cfg.Concurrency <= 0 {
		cfg.Concurrency = 256
	}
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Float64
	}
	if cfg.Mine == nil {
		cfg.Mine = func(string) bool { return true }
	}
	if cfg.Live == nil {
		cfg.Live = func() bool { return true }
	}
	if cfg.Pass == nil {
		cfg.Pass = func(string, bool) bool { return false }
	}
	if cfg.OnTransition == nil {
		cfg.OnTransition = func(Transition) {}
	}
	c := &Controller{
		cfg:         cfg,
		hints:       newHints(),
		glances:     glances{hints: newHints()},
		seen:        lru.New[*sighting](seenLimit),
		kick:        make(chan struct{}, 1),
		byName:      make(map[string]*item),
		aliases:     make(map[string]string),
		targetsKick: make(chan struct{}, 1),
	}
	c.queue = newQueue(cfg.Concurrency)
	c.brake.withdrawing = make(map[string]*withdrawal)
	c.brake.settings, c.brake.logger = cfg.Settings, cfg.Logger
	c.brake.verified, c.brake.peers, c.brake.changed = c.verified, cfg.Peers, cfg.OnFalling
	return c
}

// Run looks at records until the context ends; then it waits for the looks under
// way, which end with it. It returns nil.
func (c *Controller) Run(ctx context.Context) error {
	var work sync.WaitGroup
	defer work.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	work.Go(func() { c.followTargets(ctx) })
	c.mu.Lock()
	c.running = true
	c.mu.Unlock()
	defer c.stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		c.takeHints()
		c.mu.Lock()
		now := c.cfg.Now()
		c.heedClock(now)
		glance := c.takeGlances(now)
		for e := c.queue.next(now); e != nil; e = c.queue.next(now) {
			what, waiters := e.begin()
			work.Go(func() {
				c.work(ctx, e, what, waiters)
				c.forgetGone(e)
			})
		}
		wait := min(c.queue.wait(now), glance)
		queueDepth.Set(float64(c.queue.waiting()))
		c.mu.Unlock()
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return nil
		case <-c.kick:
		case <-timer.C:
		}
	}
}

// stop answers those who wait for a look that will not come.
func (c *Controller) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running = false
	for _, e := range c.byName {
		answerAll(e.known().waiters, errStopped)
		e.forget(func(r *rare) { r.waiters = nil })
	}
}

// poke makes Run look at the queue again.
func (c *Controller) poke() {
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

// NextLook is when the record is looked at next unless something happens; zero if
// there is no such record.
func (c *Controller) NextLook(name string) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.byName[name]; e != nil && e.due != 0 {
		return time.Unix(0, e.due)
	}
	return time.Time{}
}

// Wake has the record looked at now.
func (c *Controller) Wake(name string) {
	c.demand(workLook, func() *item { return c.byName[name] })
}

// CertificateChanged has the record of hostname judged anew with what issuance
// knows now, without asking DNS where its answers are still at hand.
func (c *Controller) CertificateChanged(hostname string) {
	c.demand(workJudge, func() *item { return c.ofHost(hostname) })
}

// ConnectChanged is CertificateChanged for what Config.Connect tells of a hostname.
func (c *Controller) ConnectChanged(hostname string) { c.CertificateChanged(hostname) }

// demand asks for work on the item that find, which is called with c.mu held, finds
// if there is one.
func (c *Controller) demand(what work, find func() *item) {
	c.mu.Lock()
	if e := find(); e != nil {
		c.queue.demand(e, what)
	}
	c.mu.Unlock()
	c.poke()
}

// demandAll asks for work on the records of these names that there are.
func (c *Controller) demandAll(what work, names []string) {
	c.mu.Lock()
	for _, name := range names {
		if e := c.byName[name]; e != nil {
			c.queue.demand(e, what)
		}
	}
	c.mu.Unlock()
	c.poke()
}

// ofHost returns the item of a hostname; c.mu is held.
func (c *Controller) ofHost(hostname string) *item {
	if name, ok := c.aliases[hostname]; ok {
		return c.byName[name]
	}
	if e := c.byName[hostname]; e != nil && e.hostname == hostname {
		return e
	}
	return nil
}

// Check looks at the record now and returns when its status is written, or with
// the context's error, store.ErrNotFound, or an error of the store.
func (c *Controller) Check(ctx context.Context, name string) error {
	// Buffered: the look must not wait for one who has left.
	done := make(chan error, 1)
	c.mu.Lock()
	e := c.byName[name]
	if e == nil {
		// Perhaps it was acknowledged, and the change has not come by yet.
		c.mu.Unlock()
		v, err := c.read(ctx, name)
		if err != nil {
			return err
		}
		c.mu.Lock()
		if e = c.byName[name]; e == nil {
			e = c.add(name, v.record.Spec.Name)
		}
	}
	if !c.running {
		c.mu.Unlock()
		return errStopped
	}
	waiting := e.note()
	waiting.waiters = append(waiting.waiters, done) // before: who waits has it looked at here, whosever it is
	c.queue.demand(e, workLook|workUrgent)
	c.mu.Unlock()
	c.poke()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
