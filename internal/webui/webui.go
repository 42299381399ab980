// Package webui is what all pages that people look at have in common: one style
// sheet, one small script for what moves, the headers that keep a page from being
// framed or made to run what is not ours, and how a page is sent. It knows no record.
//
// Pages work without the script. What it adds is asked for by attributes:
//
//	<time datetime="…">             becomes "3 minutes ago", exact in the reader's zone on hover
//	<button data-copy="…" hidden>   copies the value and says data-copied for a moment
//	<form data-search>              searches while one types, and keeps the URL as it would be sent
//	<body data-live="URL">          is told by server-sent events when the page has changed
//	<p data-say>                    is read out by screen readers, in #said, when it has changed
//	<section id="…" data-part>      is what is taken over of the page as it is then
package webui

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/klauspost/compress/gzhttp"
)

//go:embed style.css ui.js icon.svg
var files embed.FS

// Style, Script and Icon are the names of the files that Assets serves. They change with
// what is in them, so that a browser may keep each for good.
var (
	Style  = named("style", "css")
	Script = named("ui", "js")
	Icon   = named("icon", "svg")
)

func named(base, ext string) string {
	sum := sha256.Sum256(read(base + "." + ext))
	return base + "." + hex.EncodeToString(sum[:6]) + "." + ext
}

func read(name string) []byte {
	b, err := files.ReadFile(name)
	if err != nil {
		panic(err) // it is built in
	}
	return b
}

// Assets serves Style, Script and Icon by the last segment of the path, and 404 for all else.
func Assets() http.Handler {
	return gzhttp.GzipHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var content []byte
		switch path.Base(r.URL.Path) {
		case Style:
			content = read("style.css")
			w.Header().Set("Content-Type", "text/css; charset=utf-8")
		case Script:
			content = read("ui.js")
			w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
		case Icon:
			content = read("icon.svg")
			w.Header().Set("Content-Type", "image/svg+xml")
		default:
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	}))
}

// Policy is what a page may do beyond loading what its own origin serves.
type Policy struct {
	// FrameAncestors are the origins that may embed the page, as CSP sources
	// (https://app.example.net). None: nobody may.
	FrameAncestors []string
	// Images are further CSP sources of images, as that of an operator's logo.
	Images []string
}

// Guard sets the headers that every page has: no inline code, nothing from elsewhere, no
// referrer (a link may be a secret), no copy in caches.
func Guard(h http.Header, p Policy) {
	ancestors := "'none'"
	if len(p.FrameAncestors) > 0 {
		ancestors = strings.Join(p.FrameAncestors, " ")
	} else {
		h.Set("X-Frame-Options", "DENY")
	}
	images := strings.Join(append([]string{"'self'"}, p.Images...), " ")
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src "+images+
		"; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors "+ancestors)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
}

// Send executes a template and sends it, compressed where the client takes that. An
// error is the template's; nothing is sent then.
func Send(w http.ResponseWriter, r *http.Request, status int, t *template.Template, name string, data any) error {
	var page bytes.Buffer
	if err := t.ExecuteTemplate(&page, name, data); err != nil {
		return fmt.Errorf("making the page %s: %w", name, err)
	}
	gzhttp.GzipHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(status)
		_, _ = w.Write(harmless(page.Bytes())) // an error: the client is gone
	})).ServeHTTP(w, r)
	return nil
}

// Funcs are what templates may call.
var Funcs = template.FuncMap{
	"when": when,
}

// when is a moment, which the script says in the reader's words and zone.
func when(t time.Time) template.HTML {
	if t.IsZero() {
		return ""
	}
	t = t.UTC()
	return template.HTML(fmt.Sprintf(`<time datetime="%s">%s</time>`, t.Format(time.RFC3339), t.Format("2006-01-02 15:04 UTC")))
}
