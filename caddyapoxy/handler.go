package caddyapoxy

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
	"github.com/apoxy-dev/caddy-apoxy/target"
	"github.com/apoxy-dev/caddy-apoxy/tunnel"
)

func init() {
	caddy.RegisterModule(Handler{})
}

// Handler admits requests for hostnames whose records are OwnershipVerified
// and serves each from its record's target. All others are refused: 421 for a
// hostname that is unknown or not verified, or is not the one of the TLS
// handshake; 503 for a target that this handler does not define. Another site's
// definition of that name is that site's alone, be it another or an internal one.
type Handler struct {
	// Targets made of any handlers, by name; each value is what the
	// subroute handler takes.
	Gateways map[string]json.RawMessage `json:"gateways,omitempty"`

	// Targets made of Caddy's reverse proxy, by name; each value is what the
	// reverse_proxy handler takes, and `allowed_upstreams` where its upstreams have
	// placeholders of records: what these may lead to, as networks (10.0.0.0/8) and
	// names (*.svc.internal), each with a port or without.
	Proxies map[string]json.RawMessage `json:"proxies,omitempty"`

	// Targets that agents serve, who connect from beside the backend, by name.
	Tunnels map[string]*Tunnel `json:"tunnels,omitempty"`

	// Targets made of sandboxed code from a file, by name.
	EdgeFunctions map[string]*EdgeFunction `json:"edgefunctions,omitempty"`

	// A file of HTML (.html) or plain text (.txt) with which requests for hostnames that
	// are not ready are answered, 421 and 503. {apoxy.refusal.*} and the request's
	// placeholders are replaced in it. Default: handle_errors of the server, and without
	// that a short, plain page.
	RefusalPage string `json:"refusal_page,omitempty"`

	app     *App
	logger  *zap.Logger
	page    *refusalPage // nil: the default
	targets map[target.Ref]target.Target
}

// CaddyModule returns the Caddy module information.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.apoxy", New: func() caddy.Module { return new(Handler) }}
}

// Provision loads the targets and makes them known to the app, which tells records
// of their health.
func (h *Handler) Provision(ctx caddy.Context) (err error) {
	if h.app, err = appFrom(ctx, "http.handlers.apoxy"); err != nil {
		return err
	}
	h.logger = ctx.Logger()
	if h.RefusalPage != "" {
		file, err := expand(caddy.NewReplacer(), "refusal_page", h.RefusalPage)
		if err != nil {
			return err
		}
		if h.page, err = openRefusalPage(file); err != nil {
			return err
		}
	}
	for name, raw := range h.Gateways {
		if err := refuseUnlistedInside(raw); err != nil {
			return fmt.Errorf("gateway %s: %w", name, err)
		}
		mod, err := ctx.LoadModuleByID("http.handlers.subroute", raw)
		if err != nil {
			return fmt.Errorf("gateway %s: %w", name, err)
		}
		if err := h.add(v1alpha3.KindGateway, name, target.Gateway{Handler: mod.(caddyhttp.MiddlewareHandler)}); err != nil {
			return err
		}
	}
	for name, raw := range h.Proxies {
		proxy, err := provisionProxy(ctx, raw)
		if err != nil {
			return fmt.Errorf("proxy %s: %w", name, err)
		}
		if err := h.add(v1alpha3.KindProxy, name, proxy); err != nil {
			return err
		}
	}
	if err := h.provisionTunnels(ctx); err != nil {
		return err
	}
	if err := h.provisionFunctions(ctx); err != nil {
		return err
	}
	h.app.countConnections(ctx)
	h.app.targets.AddSite()
	return nil
}

// add takes a target in, whose name may be a placeholder.
func (h *Handler) add(kind, name string, t target.Target) error {
	name, err := expand(caddy.NewReplacer(), "the name of a "+kind, name)
	if err != nil {
		return err
	}
	ref := target.Ref{Kind: kind, Name: name}
	if _, twice := h.targets[ref]; twice {
		return fmt.Errorf("there are two targets of the kind %s named %q", kind, name)
	}
	if h.targets == nil {
		h.targets = map[target.Ref]target.Target{}
	}
	h.targets[ref] = t
	h.app.targets.Add(ref, t)
	return nil
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if name, ok := tunnel.Handshake(r); ok {
		h.acceptAgent(w, r, name)
		return nil
	}
	rt, err := h.app.runtime(r.Context())
	if err != nil {
		w.Header().Set("Retry-After", "1")
		return h.refuse(w, r, http.StatusServiceUnavailable, refusedStarting, err)
	}
	hostname := requestHost(r)
	host, _ := rt.table.Match(hostname)
	if host != nil {
		setPlaceholders(r, host) // here, so that handle_errors has them, too
		if h.answersChallenge(w, r, hostname) {
			return nil
		}
		withoutFinalDot(r)
	}
	trusted := fromTrustedProxy(r)
	switch d := admit(host, overTLS(r, trusted), trusted || sameServerName(rt.table, r, hostname, host)); d {
	case serve:
	case redirectPermanent, redirectTemporary:
		if d == redirectTemporary {
			rt.hintRequest(r, host.Hostname)
		}
		requests.count(host, d)
		http.Redirect(w, r, h.httpsURL(r, hostname), d.status())
		return nil
	default:
		if host != nil && !host.Verified {
			rt.hintRequest(r, host.Hostname)
		}
		requests.count(host, d)
		return h.refuse(w, r, d.status(), refusalReason(d), errors.New(d.why()))
	}
	if host.Redirect() != nil {
		return serveRedirect(host, hostname, overTLS(r, trusted), w, r)
	}
	t, ok := h.targets[target.Ref{Kind: host.Target().Kind, Name: host.Target().Name}]
	if !ok {
		requests.count(host, noTarget)
		w.Header().Set("Retry-After", "30")
		return h.refuse(w, r, noTarget.status(), refusalReason(noTarget), fmt.Errorf("record %s: this site defines no %s %q: add it to the site's apoxy block", host.Name(), host.Target().Kind, host.Target().Name))
	}
	if err := serveCounted(t, host, w, r, next); err != nil {
		return h.refuseFor(host, w, r, err)
	}
	return nil
}

// serveCounted has the target serve and counts what became of it, also if a
// handler panics: what it panicked with goes on to Caddy, stack and all.
func serveCounted(t target.Target, host *hosts.Host, w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	returned := false
	defer func() {
		if returned {
			return
		}
		v := recover()
		requests.count(host, outcomeOfPanic(v))
		if v != nil { // nil: runtime.Goexit
			panic(v)
		}
	}()
	err := t.Serve(w, r, next)
	returned = true
	requests.count(host, outcomeOf(err))
	return err
}

// requestHost is the host the request is for, without port, in lower case.
func requestHost(r *http.Request) string {
	host := r.Host
	if !strings.Contains(host, ":") {
		return canonical(host) // SplitHostPort would allocate an error
	}
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return canonical(host)
}

// sameServerName reports whether the TLS handshake named this request's host, which is
// hostname, or another one of the same record, as under a wildcard. True without TLS and
// for clients that sent no server name. It is not asked of a trusted proxy, whose
// handshake names what the proxy calls us, and whose connection carries every
// client's requests.
func sameServerName(table *hosts.Table, r *http.Request, hostname string, host *hosts.Host) bool {
	if r.TLS == nil || r.TLS.ServerName == "" || host == nil {
		return true
	}
	name := canonical(r.TLS.ServerName)
	if name == hostname {
		return true
	}
	named, _ := table.Match(name)
	return named != nil && named.Hostname == host.Hostname
}

// setPlaceholders offers the record to the handlers below.
func setPlaceholders(r *http.Request, host *hosts.Host) {
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return
	}
	repl.Map(func(key string) (any, bool) { return placeholder(host, key) })
}

func placeholder(host *hosts.Host, key string) (any, bool) {
	rest, ok := strings.CutPrefix(key, "apoxy.")
	if !ok {
		return nil, false
	}
	switch rest {
	case "record.name":
		return host.Name(), true
	case "record.hostname":
		return host.Hostname, true
	case "record.uid":
		return host.UID(), true
	case "target.kind":
		return host.Target().Kind, true
	case "target.name":
		return host.Target().Name, true
	}
	if label, ok := strings.CutPrefix(rest, "record.labels."); ok {
		value, _ := host.Label(label)
		return value, true
	}
	if annotation, ok := strings.CutPrefix(rest, "record.annotations."); ok {
		value, _ := host.Annotation(annotation)
		return value, true
	}
	return nil, false
}

// Interface guards
var (
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
)
