package setup

import (
	"context"
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/internal/webui"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// Serves reports whether a path is below the site's URL.
func (s *Site) Serves(path string) bool { return strings.HasPrefix(path, s.base) || path+"/" == s.base }

// ServeHTTP answers for all that is below the site's URL.
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	webui.Guard(w.Header(), s.policy)
	w.Header().Set("X-Robots-Tag", "noindex")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "this page takes GET and HEAD", http.StatusMethodNotAllowed)
		return
	}
	first, rest, more := strings.Cut(strings.TrimPrefix(r.URL.Path, s.base), "/")
	switch {
	case first == "assets" && more:
		s.asset(w, r, rest)
	case first == "favicon.ico" && !more: // which some browsers ask for, whatever the page names
		w.WriteHeader(http.StatusNoContent)
	case first != "" && !more:
		s.page(w, r, first)
	case first != "" && rest == "live":
		s.live(w, r, first)
	default:
		s.refuse(w, r, http.StatusNotFound, "missing")
	}
}

// asset serves what pages are made of.
func (s *Site) asset(w http.ResponseWriter, r *http.Request, name string) {
	var content []byte
	switch {
	case name == s.brand:
		content = s.css
		w.Header().Set("Content-Type", "text/css; charset=utf-8")
	case name == s.logoName && name != "":
		content = s.options.Logo
		w.Header().Set("Content-Type", logoType(content))
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; sandbox") // an SVG is a document, too
	default:
		s.assets.ServeHTTP(w, r)
		return
	}
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	w.Header().Set("Content-Length", strconv.Itoa(len(content)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(content) // the client is gone
	}
}

// refusals are why a link opens no page, as the messages call it, with the statuses.
var refusals = map[string]int{
	"forged": http.StatusForbidden, "expired": http.StatusGone, "gone": http.StatusNotFound,
	"unavailable": http.StatusServiceUnavailable,
}

// find returns the record of a token, or why there is none: a key of refusals. Whether a
// record exists is told to nobody who does not hold a link to it.
func (s *Site) find(ctx context.Context, token string) (sub subject, l Link, why string) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	key, err := s.cfg.Key(ctx)
	if err != nil {
		s.cfg.Logger.Warn("a set-up page cannot be shown", zap.Error(err))
		return sub, l, "unavailable"
	}
	l, err = Verify(key, token, s.cfg.Now())
	switch {
	case errors.Is(err, ErrExpired):
		return sub, l, "expired"
	case err != nil:
		return sub, l, "forged"
	}
	record, old, err := s.cfg.Records.Record(ctx, l.Name)
	switch {
	case errors.Is(err, store.ErrNotFound), err == nil && string(record.UID) != l.UID:
		return sub, l, "gone"
	case err != nil:
		s.cfg.Logger.Warn("a set-up page cannot be shown", zap.String("name", l.Name), zap.Error(err))
		return sub, l, "unavailable"
	}
	return subject{record: record, until: l.Expires, old: old}, l, ""
}

// page shows the record of a token.
func (s *Site) page(w http.ResponseWriter, r *http.Request, token string) {
	sub, _, why := s.find(r.Context(), token)
	if why != "" {
		s.refuse(w, r, refusals[why], why)
		return
	}
	s.cfg.Records.Look(r, sub.record.Spec.Name)
	sub.addresses = addressesOf(s.cfg.Records.Addresses())
	sub.url = LinkURL(s.url, token)
	sub.live = s.base + token + "/live?at=" + url.QueryEscape(sub.record.ResourceVersion)
	s.send(w, r, http.StatusOK, "page", viewOf(s.frame(r), sub))
}

// refuse says in the page's language that there is nothing to see.
func (s *Site) refuse(w http.ResponseWriter, r *http.Request, status int, why string) {
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "30")
	}
	s.send(w, r, status, "refusal", &refusal{frame: s.frame(r), Kind: why})
}

func (s *Site) send(w http.ResponseWriter, r *http.Request, status int, name string, data any) {
	if err := webui.Send(w, r, status, pages, name, data); err != nil {
		s.cfg.Logger.Error("a set-up page could not be made", zap.Error(err))
		http.Error(w, "this page is not available right now", http.StatusInternalServerError)
	}
}

// frame is what all pages have, for a request.
func (s *Site) frame(r *http.Request) frame {
	words := s.tongues.of(r)
	f := frame{
		words: words, Title: s.options.Title, Logo: s.logo, Base: s.base, Brand: s.brand, Style: webui.Style, Script: webui.Script, Icon: webui.Icon,
		Support: template.URL(s.support),
	}
	if f.Title == "" {
		f.Title = words.Plain("title")
	}
	if f.SupportText = strings.TrimPrefix(s.options.Support, "mailto:"); strings.Contains(f.SupportText, "://") {
		f.SupportText, f.SupportSite = words.Plain("supportLink"), true
	}
	for _, l := range s.tongues.all {
		f.Languages = append(f.Languages, languageLink{Tag: l.Lang, Name: l.name(), Href: withLang(r.URL.Path, l.Lang), Current: l == words})
	}
	return f
}
