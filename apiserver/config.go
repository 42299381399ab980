package apiserver

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"
	"k8s.io/apimachinery/pkg/version"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// Paths are the patterns, for an http.ServeMux, of everything a Server
// answers. Both forms of each root are there because kubectl asks without the
// final slash and a mux would redirect it.
var Paths = []string{"/api", "/api/", "/apis", "/apis/", "/openapi/", "/version"}

// Config is what a Server needs to know. Store and Zone are required.
type Config struct {
	// Store keeps the records.
	Store store.Store
	// Index narrows lists by a selector to the records that it may select. Nil: every
	// record is read.
	Index Index
	// Zone returns the operator's zone, lower case, without the final dot. It
	// is asked at every write, so that a changed configuration counts at once.
	Zone func() string
	// NameServers returns the host names of the zone's name servers, which no
	// record may take. It is asked as Zone is. May be nil.
	NameServers func() []string
	// Reserved reports whether the configuration already serves a hostname, and
	// which part of it does. May be nil.
	Reserved func(hostname string) (by string, yes bool)
	// Prepare fills the initial status of a new record, which takes the place of
	// replaced if that is not nil. It must change nothing else: it also runs for
	// dry runs. May be nil.
	Prepare func(r, replaced *v1alpha3.DomainRecord)
	// Check looks at the named record now and returns once the outcome is
	// stored. Nil: the subresource check answers 503.
	Check func(ctx context.Context, name string) error
	// Revoke revokes the certificate of a hostname at its CA, for a reason by
	// its name in RFC 5280 section 5.3.1, and returns once it is gone. Its error
	// may wrap ErrNoCertificate or ErrRevocationReason. Nil: the subresource
	// revoke answers 503.
	Revoke func(ctx context.Context, hostname, reason string) error
	// Certificates keeps customers' own. Nil: the subresource certificate answers 503.
	Certificates Certificates
	// SetupLink makes a link to the customer's page of a record that lasts until a
	// moment, in whole seconds. Its error may wrap ErrUnavailable. Nil: the subresource
	// setuplink answers 503.
	SetupLink func(ctx context.Context, r *v1alpha3.DomainRecord, until time.Time) (url string, err error)
	// NextLook is when the named record is looked at next, for wide tables;
	// the zero time: unknown. May be nil.
	NextLook func(name string) time.Time
	// Version is what /version reports. Default: v0.0.0.
	Version string
	// Now is the clock of creation and deletion times. Default: time.Now.
	Now func() time.Time
	// Logger gets what goes wrong inside. Default: nothing is logged.
	Logger *zap.Logger
	// Limits bound what a client may ask for.
	Limits Limits
}

// Limits bound what clients may send and hold. Zero values stand for the
// defaults.
type Limits struct {
	// Body is the largest request body in bytes. Default: 3 MiB.
	Body int64
	// BodyRead is how long a client may take to send a body. Default: 10 s.
	BodyRead time.Duration
	// Record is the largest stored record in bytes. Default: 1 MiB.
	Record int
	// Watches is how many watches may be open at a time. Default: 10000.
	Watches int
	// Page is the most items of one answer to a list that asks for a limit.
	// Default: 10000.
	Page int
	// WatchWrite is how long a watcher may take to read what it is sent before
	// it is cut off. Default: 30 s.
	WatchWrite time.Duration
	// Bookmark is the time between two bookmarks of a watch that asked for
	// them. Default: 1 minute.
	Bookmark time.Duration
}

func (l Limits) withDefaults() Limits {
	if l.Body <= 0 {
		l.Body = 3 << 20
	}
	if l.BodyRead <= 0 {
		l.BodyRead = 10 * time.Second
	}
	if l.Record <= 0 {
		l.Record = 1 << 20
	}
	if l.Watches <= 0 {
		l.Watches = 10_000
	}
	if l.Page <= 0 {
		l.Page = 10_000
	}
	if l.WatchWrite <= 0 {
		l.WatchWrite = 30 * time.Second
	}
	if l.Bookmark <= 0 {
		l.Bookmark = time.Minute
	}
	return l
}

// Server answers Kubernetes' REST calls for DomainRecords. It is an
// http.Handler for Paths, safe for concurrent use.
type Server struct {
	cfg      Config
	log      *zap.Logger
	version  version.Info
	managers *fieldManagers
	docs     *documents
	locks    stripes

	closed    context.Context
	close     context.CancelFunc
	watches   chan struct{}
	streams   chan struct{}
	shutdowns shutdowns
}

// New returns a Server over cfg.Store.
func New(cfg Config) (*Server, error) {
	if cfg.Store == nil {
		return nil, errors.New("building the API server: no store is given")
	}
	if cfg.Zone == nil {
		return nil, errors.New("building the API server: no zone is given")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	if cfg.Version == "" {
		cfg.Version = "v0.0.0"
	}
	cfg.Limits = cfg.Limits.withDefaults()
	s := &Server{cfg: cfg, log: cfg.Logger, version: versionInfo(cfg.Version)}
	var err error
	if s.managers, err = newFieldManagers(); err != nil {
		return nil, err
	}
	if s.docs, err = newDocuments(cfg.Version); err != nil {
		return nil, err
	}
	s.closed, s.close = context.WithCancel(context.Background())
	s.watches = make(chan struct{}, cfg.Limits.Watches)
	s.streams = make(chan struct{}, maxStreams)
	return s, nil
}

// Close ends all watches; clients resume them elsewhere by resourceVersion.
// Other calls still answer. The store stays open. Close may be called twice.
func (s *Server) Close() error {
	s.close()
	return nil
}

var _ http.Handler = (*Server)(nil)

// shutdowns remembers, for each http.Server that a watch runs on, a context
// that ends when that server begins to shut down.
type shutdowns struct {
	mu sync.Mutex
	of map[*http.Server]context.Context
}

// context returns the context that ends with the http.Server serving r; nil if
// r is served by something else.
func (d *shutdowns) context(r *http.Request) context.Context {
	srv, ok := r.Context().Value(http.ServerContextKey).(*http.Server)
	if !ok || srv == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if ctx, ok := d.of[srv]; ok {
		return ctx
	}
	ctx, cancel := context.WithCancel(context.Background())
	if d.of == nil {
		d.of = make(map[*http.Server]context.Context)
	}
	d.of[srv] = ctx
	srv.RegisterOnShutdown(func() {
		cancel()
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.of, srv)
	})
	return ctx
}
