package setup

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of what an operator configures.
const (
	// MaxLogo is the size of a logo's file, in octets.
	MaxLogo       = 256 << 10
	maxTitle      = 120
	maxAncestors  = 32
	maxConfigured = 500 // octets of a URL
)

// Options are how a site's page looks and where it is. Each is checked by New; the
// functions below check one alone.
type Options struct {
	// URL is where links lead to: the page of a token is one segment below it.
	URL string
	// Title stands on top of the page. Default: the message "title".
	Title string
	// LogoURL is an https URL of an image, or Logo the image itself; neither: no logo.
	LogoURL string
	Logo    []byte
	// Colours are the operator's.
	Colours Colours
	// Support is an e-mail address or a URL for questions; empty: none is shown.
	Support string
	// Languages are those offered, the first for whoever wants none of them. Default:
	// English and all that there are messages of.
	Languages []string
	// Messages is a file of messages, see Messages.With; nil: those that are delivered.
	Messages []byte
	// FrameAncestors are the origins that may embed the page. Default: none.
	FrameAncestors []string
}

// ParseURL reads the option url: https, or http where the site has no TLS, with a host,
// perhaps a path, and nothing else.
func ParseURL(text string) (*url.URL, error) {
	u, err := webURL(text, "https", "http")
	if err != nil {
		return nil, fmt.Errorf("url: %w, such as https://setup.example.net", err)
	}
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.RawFragment != "" {
		return nil, fmt.Errorf("url %.200q: expected no query and no fragment: a link's token follows as the last part of the path", text)
	}
	if u.RawPath != "" || strings.Contains(u.Path, "//") || strings.Contains(u.Path, "/.") {
		return nil, fmt.Errorf("url %.200q: expected a path of plain parts, such as https://app.example.net/setup", text)
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	return u, nil
}

// webURL is an absolute URL of one of some schemes, without a user.
func webURL(text string, schemes ...string) (*url.URL, error) {
	u, err := url.Parse(text)
	expected := "expected " + strings.Join(schemes, " or ") + " and a host"
	switch {
	case text == "":
		return nil, errors.New("it is missing: " + expected)
	case err != nil || len(text) > maxConfigured:
		return nil, fmt.Errorf("%.200q: %s", text, expected)
	case u.Host == "" || u.User != nil || u.Hostname() == "" || strings.ContainsFunc(text, unsafeInHeader):
		return nil, fmt.Errorf("%.200q: %s", text, expected)
	}
	for _, s := range schemes {
		if u.Scheme == s {
			return u, nil
		}
	}
	return nil, fmt.Errorf("%.200q: %s", text, expected)
}

// unsafeInHeader are those that would end a source in a Content-Security-Policy, and all
// beyond printable ASCII.
func unsafeInHeader(r rune) bool {
	return r <= ' ' || r > '~' || r == ';' || r == ',' || r == '\'' || r == '"' || r == '<' || r == '>'
}

// CheckTitle checks the option title.
func CheckTitle(text string) error {
	if len(text) > maxTitle || !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fmt.Errorf("title %.200q: expected one line of at most %d octets", text, maxTitle)
	}
	return nil
}

// IsURL reports whether the option logo is a URL, and not a file.
func IsURL(text string) bool { return strings.Contains(text, "://") }

// CheckLogoURL checks the option logo where it is a URL.
func CheckLogoURL(text string) error {
	if _, err := webURL(text, "https"); err != nil {
		return fmt.Errorf("logo: %w, such as https://www.example.net/logo.svg, or a file", err)
	}
	return nil
}

// logoType is the media type of an image, by its first octets; empty: it is none that
// browsers show.
func logoType(image []byte) string {
	begins := func(s string) bool { return bytes.HasPrefix(image, []byte(s)) }
	switch {
	case begins("\x89PNG\r\n\x1a\n"):
		return "image/png"
	case begins("\xff\xd8\xff"):
		return "image/jpeg"
	case begins("GIF87a"), begins("GIF89a"):
		return "image/gif"
	case begins("RIFF") && len(image) > 12 && string(image[8:12]) == "WEBP":
		return "image/webp"
	}
	head := strings.TrimSpace(string(image[:min(len(image), 1000)]))
	if strings.HasPrefix(head, "<svg") || (strings.HasPrefix(head, "<?xml") || strings.HasPrefix(head, "<!--")) && strings.Contains(head, "<svg") {
		return "image/svg+xml"
	}
	return ""
}

// CheckLogo checks a logo's file.
func CheckLogo(image []byte) error {
	switch {
	case len(image) > MaxLogo:
		return fmt.Errorf("logo: the file has %d octets: expected at most %d", len(image), MaxLogo)
	case logoType(image) == "":
		return errors.New("logo: the file is no image that browsers show: expected SVG, PNG, JPEG, WebP or GIF")
	}
	return nil
}

// ParseSupport reads the option support and returns what a link to it has.
func ParseSupport(text string) (href string, err error) {
	if strings.Contains(text, "://") {
		u, err := webURL(text, "https", "http")
		if err != nil {
			return "", fmt.Errorf("support: %w, or an e-mail address", err)
		}
		return u.String(), nil
	}
	address := strings.TrimPrefix(text, "mailto:")
	a, err := mail.ParseAddress(address)
	if err != nil || a.Address != address || len(address) > 254 || strings.ContainsFunc(address, unsafeInHeader) || strings.ContainsAny(address, "?&%#/") {
		return "", fmt.Errorf("support %.200q: expected an e-mail address or a URL, such as help@example.net or https://www.example.net/help", text)
	}
	return (&url.URL{Scheme: "mailto", Opaque: url.PathEscape(address)}).String(), nil
}

// CheckAncestor checks one value of the option frame_ancestors.
func CheckAncestor(text string) error {
	wrong := fmt.Errorf("frame_ancestors %.200q: expected an origin without a path, such as https://app.example.net, or self", text)
	if text == "self" {
		return nil
	}
	plain := strings.TrimSuffix(strings.Replace(text, "://*.", "://", 1), ":*") // CSP's wildcards: any label, any port
	u, err := webURL(plain, "https", "http")
	switch {
	case err != nil, strings.HasSuffix(plain, ":"), u.Path != "", u.RawQuery != "", u.Fragment != "", u.ForceQuery, strings.Contains(u.Host, "*"):
		return wrong
	case u.Scheme == "http" && u.Hostname() != "localhost" && !net.ParseIP(u.Hostname()).IsLoopback():
		return fmt.Errorf("frame_ancestors %.200q: expected https: whoever changes a page on the way could embed this one", text)
	}
	return nil
}

// ancestors are the sources of a Content-Security-Policy.
func ancestors(texts []string) ([]string, error) {
	if len(texts) > maxAncestors {
		return nil, fmt.Errorf("frame_ancestors: %d are configured: expected at most %d", len(texts), maxAncestors)
	}
	var out []string
	for _, t := range texts {
		if err := CheckAncestor(t); err != nil {
			return nil, err
		}
		if t == "self" {
			t = "'self'"
		}
		out = append(out, t)
	}
	return out, nil
}
