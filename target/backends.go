package target

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// Backends is a proxy that sends each record's requests to where its labels or
// annotations say, as far as an allow list lets it.
type Backends struct {
	proxy     *reverseproxy.Handler
	upstreams []upstream
	allow     *AllowList
	port      uint16
}

// upstream is a configured upstream whose address holds placeholders.
type upstream struct {
	dial        string
	maxRequests int
	keys        []recordKey
	// foreign: it depends on more than the record.
	foreign bool
}

// recordKey names what a placeholder stands for: an annotation or a label.
type recordKey struct{ placeholder, kind, key string }

func (k recordKey) String() string { return fmt.Sprintf("%s %q", k.kind, k.key) }

var (
	placeholders = regexp.MustCompile(`\{[^{}]*\}`)
	ofRecord     = regexp.MustCompile(`^\{apoxy\.record\.(annotation|label)s\.(.+)\}$`)
)

// NewBackends makes a target of a provisioned proxy that has no upstreams of its own,
// and of the addresses that it is to have, which hold placeholders. The proxy's
// connections go through the dial guard from then on. Without a port an upstream has
// port. Errors name the upstream.
func NewBackends(proxy *reverseproxy.Handler, upstreams reverseproxy.UpstreamPool, allow *AllowList) (*Backends, error) {
	transport, ok := proxy.Transport.(*reverseproxy.HTTPTransport)
	if !ok {
		return nil, fmt.Errorf("the transport is %T: only the transport http can tell what it connects to", proxy.Transport)
	}
	b := &Backends{proxy: proxy, allow: allow, port: 80}
	if transport.TLSEnabled() {
		b.port = 443
	}
	for _, u := range upstreams {
		one := upstream{dial: u.Dial, maxRequests: u.MaxRequests}
		for _, p := range placeholders.FindAllString(u.Dial, -1) {
			if m := ofRecord.FindStringSubmatch(p); m != nil {
				one.keys = append(one.keys, recordKey{p, m[1], m[2]})
			}
			one.foreign = one.foreign || !ofEveryRequest(p)
		}
		b.upstreams = append(b.upstreams, one)
	}
	if err := guardTransport(transport, allow); err != nil {
		return nil, err
	}
	proxy.DynamicUpstreams = chosenUpstreams{}
	return b, nil
}

// ofEveryRequest reports whether a placeholder means the same for all requests of a record.
func ofEveryRequest(placeholder string) bool {
	for _, known := range []string{"{apoxy.", "{env.", "{file.", "{system."} {
		if strings.HasPrefix(placeholder, known) {
			return true
		}
	}
	return false
}

// choose are the backends that a record names, at least one. expand replaces
// placeholders. An error says which annotation or label is to blame, what it holds and
// what is expected, and wraps ErrNoBackend.
func (b *Backends) choose(expand func(string) string) (chosen []*reverseproxy.Upstream, err error) {
	var missing []string
	for _, u := range b.upstreams {
		if empty := u.emptyKeys(expand); len(empty) > 0 {
			missing = append(missing, empty...)
			continue
		}
		backend, err := b.allow.Check(expand(u.dial), b.port)
		if err != nil {
			return nil, fmt.Errorf("%s %w", u.names(), err)
		}
		chosen = append(chosen, &reverseproxy.Upstream{Dial: backend.String(), MaxRequests: u.maxRequests})
	}
	if len(chosen) == 0 {
		return nil, &noBackend{strings.Join(missing, " and ") + " is not there or empty: expected a backend, such as 10.0.0.5:8080"}
	}
	return chosen, nil
}

func (u upstream) emptyKeys(expand func(string) string) (empty []string) {
	for _, k := range u.keys {
		if expand(k.placeholder) == "" {
			empty = append(empty, k.String())
		}
	}
	return empty
}

// names says what an upstream is made of.
func (u upstream) names() string {
	if len(u.keys) == 0 {
		return fmt.Sprintf("the upstream %q", u.dial)
	}
	all := make([]string, len(u.keys))
	for i, k := range u.keys {
		all[i] = k.String()
	}
	text := strings.Join(all, " and ")
	if u.dial != u.keys[0].placeholder {
		text += ", which make the upstream,"
	}
	return text
}

// Serve proxies the request to a backend that its record names. Where there is none,
// or what it leads to is not allowed, the answer is 503 with Retry-After and the error
// wraps ErrNoBackend.
func (b *Backends) Serve(w http.ResponseWriter, r *http.Request, next Next) error {
	expand := func(s string) string { return s }
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		expand = func(s string) string { return repl.ReplaceAll(s, "") }
	}
	chosen, err := b.choose(expand)
	if err == nil {
		r = r.WithContext(context.WithValue(r.Context(), chosenKey{}, chosen))
		err = b.proxy.ServeHTTP(w, r, next)
	}
	if why := (*noBackend)(nil); errors.As(err, &why) {
		if chosen != nil { // the proxy has given the error a status of its own
			err = why
		}
		w.Header().Set("Retry-After", "30")
		return caddyhttp.Error(http.StatusServiceUnavailable, err)
	}
	return err
}

// Health is that of no record in particular. Its message changes with what decides.
func (b *Backends) Health() Health {
	dials := make([]string, len(b.upstreams))
	for i, u := range b.upstreams {
		dials[i] = u.dial
	}
	return Health{Healthy: true, Unchecked: true, OfRecord: true, Message: fmt.Sprintf("%s port %d: %s", strings.Join(dials, " "), b.port, b.allow)}
}

// HealthOf tells whether the record names backends that are allowed. value gives its
// placeholders. Nothing is contacted.
func (b *Backends) HealthOf(value func(key string) (any, bool)) Health {
	for _, u := range b.upstreams {
		if u.foreign {
			return Health{Healthy: true, Unchecked: true, OfRecord: true}
		}
	}
	repl := caddy.NewReplacer()
	repl.Map(value)
	chosen, err := b.choose(func(s string) string { return repl.ReplaceAll(s, "") })
	if err != nil {
		return Health{OfRecord: true, Message: err.Error()}
	}
	names := make([]string, len(chosen))
	for i, u := range chosen {
		names[i] = u.Dial
	}
	return Health{Healthy: true, Unchecked: true, OfRecord: true, Message: "requests go to " + strings.Join(names, " and ")}
}

type chosenKey struct{}

// chosenUpstreams gives the proxy what was chosen for a request. Each backend has its own
// count of requests and failures: one that is down takes no other with it.
type chosenUpstreams struct{}

// GetUpstreams implements reverseproxy.UpstreamSource.
func (chosenUpstreams) GetUpstreams(r *http.Request) ([]*reverseproxy.Upstream, error) {
	chosen, ok := r.Context().Value(chosenKey{}).([]*reverseproxy.Upstream)
	if !ok {
		return nil, ErrNoBackend
	}
	return chosen, nil
}

var (
	_ RecordTarget                = (*Backends)(nil)
	_ reverseproxy.UpstreamSource = chosenUpstreams{}
)
