package domainconnect

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Fault is what is wrong with a template.
type Fault struct {
	// Error: providers refuse the template. Else they may ask about it.
	Error bool
	// Where is the property, such as records[0].pointsTo; empty: the whole.
	Where string
	// What is wrong, and how it is mended.
	What string
}

func (f Fault) String() string {
	level := "warning"
	if f.Error {
		level = "error"
	}
	if f.Where == "" {
		return level + ": " + f.What
	}
	return level + ": " + f.Where + ": " + f.What
}

// MaxTemplate is the most that is read of a template.
const MaxTemplate = 256 << 10

// Bounds of texts, in characters.
const (
	maxDisplayName = 255
	maxDescription = 2048
)

// linter goes through one template.
type linter struct{ faults []Fault }

func (l *linter) refuse(where, what string, args ...any) {
	l.faults = append(l.faults, Fault{true, where, fmt.Sprintf(what, args...)})
}

func (l *linter) warn(where, what string, args ...any) {
	l.faults = append(l.faults, Fault{false, where, fmt.Sprintf(what, args...)})
}

// Lint says what is wrong with a template, by the rules of the specification and what
// the public collection of templates asks for. It never fails: what is no template has a
// fault that says so.
func Lint(raw []byte) []Fault {
	l := new(linter)
	if len(raw) > MaxTemplate {
		l.refuse("", "it has more than %d octets", MaxTemplate)
		return l.faults
	}
	t, ok := l.object("", raw)
	if !ok {
		return l.faults
	}
	l.properties(t)
	for _, name := range []string{"providerId", "serviceId"} {
		if id, ok := l.text(t, "", name, true); ok {
			if err := CheckID(id); err != nil {
				l.refuse(name, "%v", err)
			}
		}
	}
	if id, _ := t["providerId"].(string); id != "" && !strings.Contains(id, ".") {
		l.warn("providerId", "%.80q is no domain name: others may have chosen the same", id)
	}
	for _, name := range []string{"providerName", "serviceName"} {
		if text, ok := l.text(t, "", name, true); ok && utf8.RuneCountInString(text) > maxDisplayName {
			l.refuse(name, "it has more than %d characters", maxDisplayName)
		}
	}
	for _, name := range []string{"description", "variableDescription"} {
		if text, _ := l.text(t, "", name, false); utf8.RuneCountInString(text) > maxDescription {
			l.refuse(name, "it has more than %d characters", maxDescription)
		}
	}
	l.wholes(t)
	l.records(t)
	return l.faults
}

// Errors reports whether there is a fault for which providers refuse the template.
func Errors(faults []Fault) bool {
	return slices.ContainsFunc(faults, func(f Fault) bool { return f.Error })
}

// object reads one JSON object and nothing after it.
func (l *linter) object(where string, raw []byte) (map[string]any, bool) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var t map[string]any
	if err := d.Decode(&t); err != nil || t == nil {
		l.refuse(where, "expected a JSON object")
		return nil, false
	}
	if _, err := d.Token(); err != io.EOF {
		l.refuse(where, "expected nothing after the JSON object")
		return nil, false
	}
	return t, true
}

// templateProperties are those of the specification.
var templateProperties = []string{
	"providerId", "providerName", "serviceId", "serviceName", "version", "templateSpecVersion", "logoUrl", "description",
	"variableDescription", "syncBlock", "shared", "sharedProviderName", "sharedServiceName", "syncPubKeyDomain",
	"syncRedirectDomain", "multiInstance", "warnPhishing", "hostRequired", "crit", "records",
}

func (l *linter) properties(t map[string]any) {
	for _, name := range sortedKeys(t) {
		if !slices.Contains(templateProperties, name) && !strings.HasPrefix(name, "vnd.") {
			l.warn(cutName(name), "no property of templates: providers pass over it; is it misspelt?")
		}
	}
	for _, name := range []string{"syncBlock", "shared", "sharedProviderName", "sharedServiceName", "multiInstance", "warnPhishing", "hostRequired"} {
		if v, there := t[name]; there {
			if _, ok := v.(bool); !ok {
				l.refuse(name, "expected true or false")
			}
		}
	}
	for _, name := range []string{"version", "templateSpecVersion"} {
		if v, there := t[name]; there {
			if n, ok := v.(json.Number); !ok || !positive(n.String()) {
				l.refuse(name, "expected a whole number from 1 on")
			}
		}
	}
}

// wholes looks at what concerns the template as a whole.
func (l *linter) wholes(t map[string]any) {
	if logo, ok := l.text(t, "", "logoUrl", false); ok {
		if u, err := url.Parse(logo); err != nil || u.Scheme != "https" || u.Host == "" {
			l.refuse("logoUrl", "%.80q: expected an https URL", logo)
		}
	}
	key, signed := l.text(t, "", "syncPubKeyDomain", false)
	switch {
	case signed && !isDomain(key):
		l.refuse("syncPubKeyDomain", "%.80q: expected a domain name", key)
	case !signed && t["syncBlock"] != true:
		l.refuse("syncPubKeyDomain", "missing: providers want links that are signed; give the zone, where the public key is published")
	}
	if t["warnPhishing"] != nil {
		l.warn("warnPhishing", "deprecated: take it out")
	}
	if domains, ok := l.text(t, "", "syncRedirectDomain", false); ok {
		for d := range strings.SplitSeq(domains, ",") {
			if !isDomain(strings.TrimSpace(d)) {
				l.refuse("syncRedirectDomain", "%.80q: expected domain names, divided by commas", d)
			}
		}
	}
}

// text is a property that is a string, not empty.
func (l *linter) text(t map[string]any, at, name string, required bool) (string, bool) {
	v, there := t[name]
	s, ok := v.(string)
	switch {
	case !there && required:
		l.refuse(at+name, "missing")
	case there && !ok:
		l.refuse(at+name, "expected a text")
	case there && s == "" && required:
		l.refuse(at+name, "empty")
	}
	return s, ok && s != ""
}

func positive(digits string) bool {
	return len(digits) <= 9 && digits != "" && digits[0] != '0' && strings.Trim(digits, "0123456789") == ""
}

func isDomain(s string) bool {
	s = strings.TrimSuffix(s, ".")
	if len(s) > 253 || !strings.Contains(s, ".") {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, func(c rune) bool {
			return c <= ' ' || c == '%' || c == '@' || c == '/' || c == ':' || c == 0x7f
		}) {
			return false
		}
	}
	return true
}

// cutName prepares a foreign name for a message.
func cutName(s string) string {
	const most = 60
	s = strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return '?'
		}
		return c
	}, s)
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
