package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

const (
	// backlog bounds the events that wait to be taken in, which takes a write.
	backlog = 8192
	// loadPage is how many entries are read at a time at the start.
	loadPage = 500
	// tidyEvery is how often what has become too old is looked for.
	tidyEvery = time.Minute
	// Bounds of the pause after the store has failed; it doubles from one to the other.
	shortestRetry = 50 * time.Millisecond
	longestRetry  = 5 * time.Second
)

// Config is what a Sender needs.
type Config struct {
	// Store keeps the queue, below Prefix.
	Store store.Store
	// Endpoints are those of the configuration in force. It returns at once.
	Endpoints func() []Endpoint
	// Record returns a record as JSON; nil: there is none. May be nil.
	Record func(ctx context.Context, name string) (json.RawMessage, error)
	// Node is this node's name, where several share the store: each delivers what it
	// queued. Nil or empty: there is one.
	Node func() string
	// Takes reports whether this node delivers what another queued, because that one is
	// gone; key tells deliveries apart, so that the nodes that are left share them out.
	// NodesChanged tells that it reports others. Nil: nothing is taken over.
	Takes func(node, key string) bool
	// UserAgent is the header User-Agent. Default: caddy-apoxy.
	UserAgent string
	// Now defaults to time.Now.
	Now func() time.Time
	// Logger gets what is worth knowing. Default: none.
	Logger *zap.Logger
}

// Sender delivers events to endpoints. New makes one.
type Sender struct {
	cfg      Config
	client   *http.Client
	log      *zap.Logger
	offered  chan Event
	overflow atomic.Bool // some were lost lately
	full     atomic.Bool // some were dropped lately
	wake     chan struct{}
	nodes    chan struct{} // has a token when what others queued is to be looked through
	flights  sync.WaitGroup
	last     time.Time // what tick returned; takeIn's

	mu    sync.Mutex
	lines map[string]*line // by Endpoint.key
}

// New returns a Sender that does nothing until Run.
func New(cfg Config) *Sender {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	if cfg.Node == nil {
		cfg.Node = func() string { return "" }
	}
	if cfg.Takes == nil {
		cfg.Takes = func(string, string) bool { return false }
	}
	if cfg.UserAgent == "" {
		cfg.UserAgent = "caddy-apoxy"
	}
	return &Sender{
		cfg: cfg, client: newClient(), log: cfg.Logger,
		offered: make(chan Event, backlog), wake: make(chan struct{}, 1), nodes: make(chan struct{}, 1), lines: map[string]*line{},
	}
}

// Wants tells whether an endpoint is told of events of a type.
func (s *Sender) Wants(event string) bool {
	for _, e := range s.cfg.Endpoints() {
		if e.wants(event) {
			return true
		}
	}
	return false
}

// Offer has endpoints told of an event. It returns at once: whoever calls it keeps the
// records.
func (s *Sender) Offer(e Event) {
	if !s.Wants(e.Type) {
		return
	}
	if e.At.IsZero() {
		e.At = s.cfg.Now()
	}
	select {
	case s.offered <- e:
	default:
		count(countDropped, 1)
		if !s.overflow.Swap(true) {
			s.log.Error("events are lost to webhooks: the store takes them slower than records change")
		}
	}
}

// EndpointsChanged tells that Endpoints returns others.
func (s *Sender) EndpointsChanged() { s.rouse() }

// NodesChanged tells that other nodes have come or gone.
func (s *Sender) NodesChanged() {
	select {
	case s.nodes <- struct{}{}:
	default:
	}
}

func (s *Sender) rouse() {
	select {
	case s.wake <- struct{}{}:
	default: // it is about to look already
	}
}

// Run delivers until the context ends, and returns when nothing is under way any more.
func (s *Sender) Run(ctx context.Context) error {
	if err := s.load(ctx, Prefix); err != nil {
		return err
	}
	var work sync.WaitGroup
	work.Go(func() { s.takeIn(ctx) })
	work.Go(func() { s.tidyNowAndThen(ctx) })
	defer work.Wait()
	defer s.flights.Wait()
	defer s.client.CloseIdleConnections()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		case <-timer.C:
		case <-s.nodes:
			if err := s.load(ctx, queuePrefix); err != nil {
				return err
			}
		}
		if next := s.launch(ctx); !next.IsZero() {
			timer.Reset(max(next.Sub(s.cfg.Now()), 0))
		}
	}
}

// launch sends what is due and returns when it is to be called again at the latest; the
// zero time: only when roused.
func (s *Sender) launch(ctx context.Context) (next time.Time) {
	endpoints := s.cfg.Endpoints()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range endpoints {
		l := s.line(e.key())
		for {
			it, at := l.pick(s.cfg.Now())
			if it == nil {
				if !at.IsZero() && (next.IsZero() || at.Before(next)) {
					next = at
				}
				break
			}
			s.flights.Go(func() { s.fly(ctx, e, l, it) })
		}
	}
	return next
}

// line is that of an endpoint. s.mu is held.
func (s *Sender) line(key string) *line {
	l := s.lines[key]
	if l == nil {
		l = new(line)
		s.lines[key] = l
	}
	return l
}

// measure tells how many wait. s.mu is held.
func (s *Sender) measure() {
	n := 0
	for _, l := range s.lines {
		n += l.waiting
	}
	queueDepth.Set(float64(n))
}

// load reads what the store has below a prefix of earlier runs and of nodes that are gone.
func (s *Sender) load(ctx context.Context, prefix string) error {
	o := store.ListOptions{Limit: loadPage}
	for {
		var page store.ListResult
		err := s.patiently(ctx, func() (err error) {
			page, err = s.cfg.Store.List(ctx, prefix, o)
			return err
		})
		if err != nil {
			return err
		}
		var lost []store.Op
		for i := range page.KeyValues {
			if kv := &page.KeyValues[i]; !s.recall(ctx, kv) {
				lost = append(lost, store.Op{Key: kv.Key, If: kv.Revision})
			}
		}
		s.removeLost(ctx, lost)
		if !page.More {
			return nil
		}
		o.After = page.KeyValues[len(page.KeyValues)-1].Key
	}
}

// removeLost removes what cannot be read, and so cannot be sent.
func (s *Sender) removeLost(ctx context.Context, lost []store.Op) {
	for ops := range slices.Chunk(lost, writeOps) {
		s.log.Error("webhook deliveries of an earlier run are lost: what the store has of them cannot be read", zap.Int("deliveries", len(ops)))
		if err := s.write(ctx, ops...); err != nil {
			s.log.Warn("lost webhook deliveries are still in the store", zap.Error(err))
		}
	}
}

// recall takes an entry or a state of an earlier run in; false: it cannot be read.
func (s *Sender) recall(ctx context.Context, kv *store.KeyValue) bool {
	if !strings.HasPrefix(kv.Key, queuePrefix) && !strings.HasPrefix(kv.Key, statePrefix) {
		return true // of another version, which may come back
	}
	if kv.Err != nil {
		return false
	}
	if endpoint, ok := strings.CutPrefix(kv.Key, statePrefix); ok {
		st, err := decodeState(kv.Value)
		if err != nil {
			return false
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.line(endpoint).state = st
		return true
	}
	endpoint, id, e, err := decodeEntry(strings.TrimPrefix(kv.Key, queuePrefix), kv.Value)
	if err != nil {
		return false
	}
	if !s.takeOver(ctx, kv, &e) {
		return true // another node's
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.measure()
	s.line(endpoint).add(e.item(id))
	return true
}

// takeOver makes an entry this node's, if it is not; false: it is another's.
func (s *Sender) takeOver(ctx context.Context, kv *store.KeyValue, e *entry) bool {
	self := s.cfg.Node()
	switch {
	case e.Node == self:
		return true
	case e.Node != "" && self != "" && !s.cfg.Takes(e.Node, kv.Key):
		return false
	}
	e.Node = self
	err := s.write(ctx, store.Op{Key: kv.Key, Value: encode(e), If: kv.Revision})
	return err == nil // else it was taken, or delivered, meanwhile
}

func (e *entry) item(id string) *item {
	return &item{id: id, record: e.Record, queued: e.Queued, tries: e.Tries, next: e.Next, reason: e.Reason, givenUp: e.GivenUp}
}

// patiently does f again until the store is available. Errors: those of another kind, and
// the context's.
func (s *Sender) patiently(ctx context.Context, f func() error) error {
	delay := shortestRetry
	for {
		err := f()
		if err == nil || !errors.Is(err, store.ErrUnavailable) {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(delay):
		}
		delay = min(2*delay, longestRetry)
	}
}

func (s *Sender) write(ctx context.Context, ops ...store.Op) error {
	return s.patiently(ctx, func() error {
		_, err := s.cfg.Store.Write(ctx, ops...)
		return err
	})
}
