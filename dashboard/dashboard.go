package dashboard

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/internal/webui"
)

// Config is what a Dashboard needs to know. API, Facts, Search and Changes are required.
type Config struct {
	// API answers Kubernetes' REST calls for records.
	API http.Handler
	// Facts are shown beside the records.
	Facts Facts
	// Search finds records by their names.
	Search func(ctx context.Context, q Query) (Result, error)
	// Changes returns once a record has changed after a moment, the named one or, if name
	// is empty, any; or with the context's error. Moments are those that it returns: of a
	// negative one it returns the present at once.
	Changes func(ctx context.Context, since int64, name string) (now int64, err error)
	// AllowWrites: records can be checked and deleted, and certificates revoked.
	AllowWrites bool
	// Streams is how many pages may be live at a time. Default: 256.
	Streams int
	// Logger gets what goes wrong inside. Default: nothing is logged.
	Logger *zap.Logger
}

// Query is what a list shows; it is what the filters of its URL say.
type Query struct {
	Text, Owner, Phase, Reason string
	// Condition and Status: the condition of this type has this status.
	Condition, Status string
	// After and Before are the names of records that the page comes after, or before.
	After, Before string
	// Most is how many names are wanted.
	Most int
}

// Result is what was found.
type Result struct {
	// Names of records in the order of their bytes.
	Names []string
	// More: there may be more in the direction that was looked in, beyond Upto.
	More bool
	Upto string
	// Cut: it would have taken too long to look on.
	Cut bool
	// Partial: after a start, not all records are read yet.
	Partial bool
}

// Dashboard is an http.Handler for the paths below the place where it is mounted, of
// which its links know nothing: they are relative. It is safe for concurrent use.
type Dashboard struct {
	Config
	api     api
	origins *http.CrossOriginProtection
	streams chan struct{}
}

// New returns a Dashboard.
func New(cfg Config) (*Dashboard, error) {
	if cfg.API == nil || cfg.Facts == nil || cfg.Search == nil || cfg.Changes == nil {
		return nil, errors.New("building the dashboard: API, Facts, Search and Changes are required")
	}
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	if cfg.Streams <= 0 {
		cfg.Streams = 256
	}
	return &Dashboard{
		Config: cfg, api: api{cfg.API}, origins: http.NewCrossOriginProtection(), streams: make(chan struct{}, cfg.Streams),
	}, nil
}

// target is where a request goes.
type target struct {
	serve   func(http.ResponseWriter, *http.Request, string)
	name    string // of the record
	methods []string
}

var (
	reads    = []string{http.MethodGet, http.MethodHead}
	confirms = []string{http.MethodGet, http.MethodHead, http.MethodPost}
	writes   = []string{http.MethodPost}
)

// ServeHTTP answers one request.
func (d *Dashboard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	webui.Guard(w.Header(), webui.Policy{})
	// The addresses of these pages are no secrets, and Caddy's admin endpoint wants to
	// know where a browser's request comes from.
	w.Header().Set("Referrer-Policy", "same-origin")
	path, err := segments(r.URL)
	to, ok := d.route(path)
	switch {
	case err != nil || !ok:
		d.fail(w, r, problem{http.StatusNotFound, "There is no such page."})
	case !slices.Contains(to.methods, r.Method):
		w.Header().Set("Allow", strings.Join(to.methods, ", "))
		d.fail(w, r, problem{http.StatusMethodNotAllowed, d.whyNot(r.Method)})
	case r.Method == http.MethodPost:
		if err := d.origins.Check(r); err != nil {
			d.fail(w, r, problem{http.StatusForbidden, "This was asked for by another site's page, and is refused."})
			return
		}
		to.serve(w, r, to.name)
	default:
		to.serve(w, r, to.name)
	}
}

func (d *Dashboard) whyNot(method string) string {
	if method == http.MethodPost && !d.AllowWrites {
		return "This dashboard only shows: it changes nothing unless its configuration has allow_writes."
	}
	return "This page does not take " + cut(method, 20) + "."
}

// segments splits a path before it is unescaped, so that an escaped slash stays inside
// its segment.
func segments(u *url.URL) ([]string, error) {
	parts := strings.Split(strings.TrimPrefix(u.EscapedPath(), "/"), "/")
	for i, p := range parts {
		s, err := url.PathUnescape(p)
		if err != nil {
			return nil, err
		}
		parts[i] = s
	}
	return parts, nil
}

// route finds where a path leads.
func (d *Dashboard) route(path []string) (target, bool) {
	switch {
	case len(path) == 1 && path[0] == "":
		return target{d.overview, "", reads}, true
	case len(path) == 1 && path[0] == "records":
		return target{d.list, "", reads}, true
	case len(path) == 1 && path[0] == "live":
		return target{d.live, "", writesNothing}, true
	case len(path) == 2 && path[0] == "assets":
		return target{asset, path[1], reads}, true
	case len(path) < 2 || path[0] != "records" || path[1] == "":
		return target{}, false
	case len(path) == 2:
		return target{d.record, path[1], reads}, true
	case len(path) == 3:
		return d.action(path[1], path[2])
	}
	return target{}, false
}

// writesNothing are the methods of what is a stream.
var writesNothing = []string{http.MethodGet}

// action finds what is to be done to a record.
func (d *Dashboard) action(name, what string) (to target, ok bool) {
	to.name = name
	switch what {
	case "check":
		to.serve, to.methods = d.check, writes
	case "revoke":
		to.serve, to.methods = d.revoke, confirms
	case "delete":
		to.serve, to.methods = d.delete, confirms
	default:
		return to, false
	}
	if !d.AllowWrites {
		// A page that is not there, which would not take a POST either.
		to.methods = reads
		to.serve = func(w http.ResponseWriter, r *http.Request, _ string) {
			d.fail(w, r, problem{http.StatusNotFound, d.whyNot(http.MethodPost)})
		}
	}
	return to, true
}
