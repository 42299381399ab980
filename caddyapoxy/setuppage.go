package caddyapoxy

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/apoxy-dev/caddy-apoxy/setup"
)

func init() {
	caddy.RegisterModule(new(SetupPage))
}

// SetupPage shows customers what to do so that their hostname is served: which DNS
// records to create, in the form of their DNS provider, and what was seen of each so
// far. The API's subresource setuplink makes the links to it; each opens the page of one
// record and ends. Nothing on it names this product.
type SetupPage struct {
	// Where the page is for the public, such as https://setup.example.net, or
	// https://app.example.net/setup: links lead there. Required, and the same wherever
	// this handler stands.
	URL string `json:"url,omitempty"`

	// What stands on top of the page. Default: "Connect your domain", in the page's
	// language.
	Title string `json:"title,omitempty"`

	// An image beside the title: a file of this machine (SVG, PNG, JPEG, WebP or GIF, at
	// most 256 KiB) or an https URL. Default: none.
	Logo string `json:"logo,omitempty"`

	// Colours as #rrggbb: accent, background and text, and for dark surroundings
	// dark_accent, dark_background and dark_text. Text that would be hard to read is
	// refused; the text of buttons follows the accent. Default: calm ones.
	Colors map[string]string `json:"colors,omitempty"`

	// Where customers ask: an e-mail address or a URL. Default: none is shown.
	Support string `json:"support,omitempty"`

	// The languages that are offered, as tags such as en or pt-BR; the first is for whoever
	// wants none of them. Default: English, German, Spanish and those of messages.
	Languages []string `json:"languages,omitempty"`

	// A file with messages of further languages, or in place of ours: JSON, by language,
	// then by key. What it lacks is said in English. Default: none.
	Messages string `json:"messages,omitempty"`

	// The origins that may embed the page in a frame, such as https://app.example.net, or
	// self. Default: none.
	FrameAncestors []string `json:"frame_ancestors,omitempty"`

	site *setup.Site
}

// CaddyModule returns the Caddy module information.
func (*SetupPage) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.apoxy_setup", New: func() caddy.Module { return new(SetupPage) }}
}

// Provision reads the files and makes the site.
func (s *SetupPage) Provision(ctx caddy.Context) error {
	app, err := appFrom(ctx, "http.handlers.apoxy_setup")
	if err != nil {
		return err
	}
	o, err := s.options(caddy.NewReplacer())
	if err != nil {
		return fmt.Errorf("apoxy_setup: %w", err)
	}
	records := setupRecords{app}
	s.site, err = setup.New(o, setup.Config{Records: records, Key: records.Key, Logger: ctx.Logger()})
	if err != nil {
		return fmt.Errorf("apoxy_setup: %w", err)
	}
	if err := app.setup.add(s.site.URL()); err != nil {
		return fmt.Errorf("apoxy_setup: %w", err)
	}
	if server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok {
		server.RegisterOnShutdown(s.site.Close) // which waits for open streams
	}
	return nil
}

// options are the configured ones without placeholders, with the files read.
func (s *SetupPage) options(repl *caddy.Replacer) (o setup.Options, err error) {
	texts := map[string]string{"url": s.URL, "title": s.Title, "logo": s.Logo, "support": s.Support, "messages": s.Messages}
	for option := range texts {
		if texts[option], err = expand(repl, option, texts[option]); err != nil {
			return o, err
		}
	}
	o = setup.Options{
		URL: texts["url"], Title: texts["title"], Colours: s.Colors, Support: texts["support"],
		Languages: s.Languages, FrameAncestors: slices.Clone(s.FrameAncestors),
	}
	if err := expandAll(repl, "frame_ancestors", o.FrameAncestors); err != nil {
		return o, err
	}
	if logo := texts["logo"]; setup.IsURL(logo) {
		o.LogoURL = logo
	} else if logo != "" {
		if o.Logo, err = readBounded(logo, setup.MaxLogo); err != nil {
			return o, fmt.Errorf("logo: %w", err)
		}
	}
	if file := texts["messages"]; file != "" {
		if o.Messages, err = readBounded(file, setup.MaxMessagesFile); err != nil {
			return o, fmt.Errorf("messages: %w", err)
		}
	}
	return o, nil
}

// readBounded reads a file, and one octet more than most where it is longer.
func readBounded(name string, most int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, most+1))
}

// Cleanup ends what is open.
func (s *SetupPage) Cleanup() error {
	if s.site != nil {
		s.site.Close()
	}
	return nil
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (s *SetupPage) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if !s.site.Serves(r.URL.Path) {
		return next.ServeHTTP(w, r)
	}
	s.site.ServeHTTP(w, r)
	return nil
}

// Interface guards
var (
	_ caddyhttp.MiddlewareHandler = (*SetupPage)(nil)
	_ caddy.Provisioner           = (*SetupPage)(nil)
	_ caddy.CleanerUpper          = (*SetupPage)(nil)
)
