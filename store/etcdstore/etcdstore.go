package etcdstore

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/history"
)

// Options of a Store. Endpoints must be set.
type Options struct {
	// Endpoints are etcd's members, as URLs such as https://10.0.0.1:2379.
	Endpoints []string
	// Prefix is what all keys begin with; a slash follows it. Default: /apoxy.
	Prefix string
	// TLS is used with endpoints of scheme https. Nil: the system's roots.
	TLS *tls.Config
	// Username and Password authenticate; empty: nobody does.
	Username, Password string
	// RequestTimeout bounds a call. Default: 3 s.
	RequestTimeout time.Duration
	// History is how many changes are kept in memory for watches, and HistoryBytes
	// bounds their memory. Defaults: 16384 and 64 MiB.
	History, HistoryBytes int
	// Logger gets what is worth knowing. Default: none.
	Logger *zap.Logger
}

// The defaults of Options.
const (
	DefaultPrefix         = "/apoxy"
	DefaultRequestTimeout = 3 * time.Second
	DefaultHistory        = 16384
	DefaultHistoryBytes   = 64 << 20
)

func (o Options) withDefaults() Options {
	o.Prefix = strings.TrimRight(o.Prefix, "/")
	if o.Prefix == "" {
		o.Prefix = DefaultPrefix
	}
	if o.RequestTimeout <= 0 {
		o.RequestTimeout = DefaultRequestTimeout
	}
	if o.History <= 0 {
		o.History = DefaultHistory
	}
	if o.HistoryBytes <= 0 {
		o.HistoryBytes = DefaultHistoryBytes
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	return o
}

// Store is a store.Store below a prefix of etcd. Open makes one.
type Store struct {
	client  *clientv3.Client
	prefix  string // with its slash
	timeout time.Duration
	log     *zap.Logger
	health  health
	writers writers
	guides  guides

	hist  *history.History
	depth int64 // how many revisions back the feed begins

	ctx    context.Context // ends when the store is closed
	cancel context.CancelFunc

	mu     sync.Mutex
	closed bool
	work   sync.WaitGroup // what background began

	closing  sync.Once
	closeErr error
}

var _ store.Store = (*Store)(nil)

// Open returns the store. It does not wait for etcd: until a member answers, calls fail
// with store.ErrUnavailable. An error is one of the options.
func Open(o Options) (*Store, error) {
	if len(o.Endpoints) == 0 {
		return nil, errors.New("opening etcd: no endpoint is given: expected one or more, such as https://10.0.0.1:2379")
	}
	o = o.withDefaults()
	ctx, cancel := context.WithCancel(context.Background())
	client, err := clientv3.New(clientv3.Config{
		Context:              ctx,
		Endpoints:            o.Endpoints,
		TLS:                  o.TLS,
		Username:             o.Username,
		Password:             o.Password,
		DialTimeout:          o.RequestTimeout,
		DialKeepAliveTime:    5 * time.Second, // members refuse to be asked more often
		DialKeepAliveTimeout: 2 * time.Second,
		PermitWithoutStream:  true,
		MaxUnaryRetries:      2,
		Logger:               zap.NewNop(), // what fails is returned, and said once by us
		DialOptions:          []grpc.DialOption{grpc.WithConnectParams(reconnects)},
	})
	if err != nil {
		cancel()
		return nil, fmt.Errorf("opening etcd at %s: %w", strings.Join(o.Endpoints, ", "), err)
	}
	s := &Store{
		client: client, prefix: o.Prefix + "/", timeout: o.RequestTimeout, log: o.Logger,
		hist: history.New(0, 0, nil, o.History, o.HistoryBytes), depth: int64(o.History),
		ctx: ctx, cancel: cancel,
	}
	s.writers.init(s.prefix)
	s.health.engine = "etcd at " + strings.Join(o.Endpoints, ", ")
	s.background(s.feed)
	return s, nil
}

// background begins what Close waits for. It reports whether the store is open.
func (s *Store) background(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.work.Go(f)
	}
	return !s.closed
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key string) (store.KeyValue, int64, error) {
	res, err := call(ctx, s, func(ctx context.Context) (*clientv3.GetResponse, error) {
		return s.client.Get(ctx, s.prefix+key)
	})
	if err != nil {
		return store.KeyValue{}, 0, fmt.Errorf("reading key %q: %w", key, err)
	}
	if len(res.Kvs) == 0 || isOwn(key) {
		return store.KeyValue{}, res.Header.Revision, fmt.Errorf("reading key %q: %w", key, store.ErrNotFound)
	}
	kv := s.keyValue(res.Kvs[0])
	if kv.Err != nil {
		return kv, res.Header.Revision, fmt.Errorf("reading %s: %w", s.health.engine, kv.Err)
	}
	return kv, res.Header.Revision, nil
}

// keyValue is what etcd keeps, in our terms.
func (s *Store) keyValue(kv *mvccpb.KeyValue) store.KeyValue {
	e := store.KeyValue{Key: strings.TrimPrefix(string(kv.Key), s.prefix), Revision: kv.ModRevision}
	e.Value, e.Err = decode(e.Key, e.Revision, kv.Value)
	return e
}

// present returns the store's revision.
func (s *Store) present(ctx context.Context) (int64, error) {
	res, err := call(ctx, s, func(ctx context.Context) (*clientv3.GetResponse, error) {
		return s.client.Get(ctx, s.prefix, clientv3.WithCountOnly())
	})
	if err != nil {
		return 0, err
	}
	return res.Header.Revision, nil
}

// Watch implements store.Store.
func (s *Store) Watch(ctx context.Context, prefix string, after int64) (store.Watcher, error) {
	now, err := s.present(ctx)
	switch {
	case err != nil:
		return nil, fmt.Errorf("watching %q: %w", prefix, err)
	case after < 0:
		return nil, store.ErrExpired
	case after > now:
		return nil, store.ErrFutureRevision
	case after == 0:
		after = now
	}
	if err := s.reach(ctx, after); err != nil {
		return nil, fmt.Errorf("watching %q: %w", prefix, err)
	}
	return s.hist.Watch(prefix, after)
}

// Close implements store.Store. Calls under way fail with store.ErrClosed.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.hist.End(store.ErrClosed)
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
		s.cancel()
		s.work.Wait()
		if err := s.client.Close(); err != nil && !errors.Is(err, context.Canceled) {
			s.closeErr = fmt.Errorf("closing %s: %w", s.health.engine, err)
		}
	})
	return s.closeErr
}
