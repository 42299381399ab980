package caddyapoxy

import (
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
)

// maxRefusalPage bounds the file of a page, in bytes.
const maxRefusalPage = 256 << 10

// refusalPage is an operator's page for hostnames that are not ready, parted at its
// placeholders: literal, placeholder, literal and so on.
type refusalPage struct {
	contentType string
	parts       []string
	escape      func(string) string
}

// placeholders are what a page may name: the braces of its style sheet and script are not.
var placeholders = regexp.MustCompile(`\{[a-z][a-z0-9_]*(?:\.[A-Za-z0-9_/\-]+)+\}`)

// openRefusalPage reads a page, as HTML or plain text by the file's name. An error names
// the file and what was expected.
func openRefusalPage(file string) (*refusalPage, error) {
	p := &refusalPage{escape: html.EscapeString, contentType: "text/html; charset=utf-8"}
	switch filepath.Ext(file) {
	case ".html", ".htm":
	case ".txt":
		p.escape, p.contentType = func(s string) string { return s }, "text/plain; charset=utf-8"
	default:
		return nil, fmt.Errorf("refusal_page %s: expected a file of HTML (.html) or plain text (.txt)", file)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("reading refusal_page: %w", err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxRefusalPage+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading refusal_page: %w", err)
	case len(content) > maxRefusalPage:
		return nil, fmt.Errorf("refusal_page %s: it is longer than %d KiB: have it load images and the like from elsewhere", file, maxRefusalPage>>10)
	case !utf8.Valid(content):
		return nil, fmt.Errorf("refusal_page %s: expected text in UTF-8", file)
	}
	at := 0
	for _, found := range placeholders.FindAllIndex(content, -1) {
		p.parts = append(p.parts, string(content[at:found[0]]), string(content[found[0]+1:found[1]-1]))
		at = found[1]
	}
	p.parts = append(p.parts, string(content[at:]))
	return p, nil
}

// fill is the page with the values of its placeholders, escaped; one that stands for
// nothing stays as it is.
func (p *refusalPage) fill(value func(key string) (string, bool)) string {
	var b strings.Builder
	for i, part := range p.parts {
		if i%2 == 0 {
			b.WriteString(part)
		} else if v, ok := value(part); ok {
			b.WriteString(p.escape(v))
		} else {
			b.WriteString("{" + part + "}")
		}
	}
	return b.String()
}

// refusal is why a request is not served, as {apoxy.refusal.*} tells it.
type refusal struct {
	status int
	reason string
	// hostname is the request's, empty if it is none.
	hostname string
	// retryAfter is that of the answer, in seconds; empty: none.
	retryAfter string
}

// The reasons of refusals. A page may tell them apart; the one that comes with the
// product does not, as who is a customer, and who is about to become one, is nobody's
// business.
const (
	refusedUnknown    = "UnknownHostname"
	refusedUnverified = v1alpha3.ReasonOwnershipNotVerified
	refusedMisdirect  = "MisdirectedRequest"
	refusedTarget     = v1alpha3.ReasonTargetNotFound
	refusedBackend    = v1alpha3.ReasonTargetUnhealthy
	refusedStarting   = "Starting"
)

// refusalReason is that of a decision.
func refusalReason(d decision) string {
	switch d {
	case unknownHost:
		return refusedUnknown
	case misdirected:
		return refusedMisdirect
	case noTarget:
		return refusedTarget
	}
	return refusedUnverified
}

// words are what a visitor is told: a title and a sentence.
func (f refusal) words() (title, message string) {
	if f.status == http.StatusMisdirectedRequest {
		return "There is no site here", "Nothing is served at this address. If it is new, it may take a while until it is."
	}
	return "This site is not available right now", "Please try again in a little while."
}

// value is that of a placeholder.
func (f refusal) value(key string) (any, bool) {
	rest, ok := strings.CutPrefix(key, "apoxy.refusal.")
	if !ok {
		return nil, false
	}
	title, message := f.words()
	switch rest {
	case "status":
		return f.status, true
	case "reason":
		return f.reason, true
	case "hostname":
		return f.hostname, true
	case "title":
		return title, true
	case "message":
		return message, true
	case "retry_after":
		return f.retryAfter, true
	}
	return nil, false
}

// plain is the page that comes with the product.
func (f refusal) plain(asHTML bool) (contentType, page string) {
	title, message := f.words()
	if !asHTML {
		return "text/plain; charset=utf-8", title + ". " + message + "\n"
	}
	return "text/html; charset=utf-8", `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>` + title + `</title>
</head>
<body>
<h1>` + title + `</h1>
<p>` + message + `</p>
</body>
</html>
`
}

// refuse answers a request that is not served: by the operator's page, by what the
// server's handle_errors makes of the error, or plainly. why is for the operator alone.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, status int, reason string, why error) error {
	f := refusal{status: status, reason: reason, retryAfter: w.Header().Get("Retry-After")}
	if host := requestHost(r); isHostname(host) {
		f.hostname = host
	}
	repl, _ := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if repl != nil {
		repl.Map(f.value)
	}
	if h.page == nil && hasErrorRoutes(r) {
		return caddyhttp.Error(status, why)
	}
	h.logRefusal(r, status, why)
	contentType, page := f.plain(strings.Contains(r.Header.Get("Accept"), "text/html"))
	if h.page != nil {
		contentType, page = h.page.contentType, h.page.fill(func(key string) (string, bool) {
			if v, ok := f.value(key); ok {
				return fmt.Sprint(v), true
			}
			if repl == nil {
				return "", false
			}
			return repl.GetString(key)
		})
	} else {
		w.Header().Set("Content-Security-Policy", "default-src 'none'")
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Length", strconv.Itoa(len(page)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = io.WriteString(w, page) // the client is gone
	}
	return nil
}

// hasErrorRoutes reports whether the server that a request came to has handle_errors.
// Whoever calls a handler without a server takes its errors.
func hasErrorRoutes(r *http.Request) bool {
	server, _ := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	return server == nil || server.Errors != nil && len(server.Errors.Routes) > 0
}

// logRefusal writes down what Caddy would, had it been given the error.
func (h *Handler) logRefusal(r *http.Request, status int, why error) {
	if h.logger == nil {
		return
	}
	level := zap.DebugLevel
	if status >= http.StatusInternalServerError {
		level = zap.ErrorLevel
	}
	if e := h.logger.Check(level, "refused a request: "+why.Error()); e != nil {
		e.Write(zap.Int("status", status), zap.String("host", fmt.Sprintf("%.260q", r.Host)), zap.String("remote_ip", r.RemoteAddr))
	}
}

// refuseFor answers in place of a target that could not: 503 of all but a Gateway, whose
// handlers are the operator's own. All other errors are Caddy's to answer.
func (h *Handler) refuseFor(host *hosts.Host, w http.ResponseWriter, r *http.Request, err error) error {
	var he caddyhttp.HandlerError
	if host.Target().Kind == v1alpha3.KindGateway || !errors.As(err, &he) || he.StatusCode != http.StatusServiceUnavailable {
		return err
	}
	return h.refuse(w, r, he.StatusCode, refusedBackend, err)
}
