package ownership

import (
	"slices"
	"strings"
	"unicode"
)

// caaNames are what people call authorities that do not bear the name of their
// CAA identity, in small letters and digits alone.
var caaNames = map[string][]string{
	"letsencrypt.org": {"isrg", "letsencryptca", "letsencryptcom", "acmev02apiletsencryptorg"},
	"pki.goog":        {"google", "googletrustservices", "googletrust", "gts", "googlecom", "pkigooglecom"},
	"sectigo.com":     {"zerossl", "zerosslcom", "comodo", "comodoca", "comodocacom", "usertrust"},
	"ssl.com":         {"sslcorp", "sslcomcorp"},
}

// caaHabit is a way in which panels, and people in front of them, spoil a value.
type caaHabit struct {
	mend func(value string) string // the value without it
	says string
}

var caaHabits = []caaHabit{
	{withoutQuotes, "quotation marks stand inside the value, where the DNS panel adds its own: enter it without"},
	{withoutFlags, "the flags and the tag stand inside the value: they have fields of their own"},
	{withoutAddress, "a web address stands in place of the authority's domain name"},
	{withoutDot, "the domain name ends in a dot, which it must not in a CAA value"},
	{withoutParameters, "what follows the semicolon is not of the form tag=value, or has a space within, so that the whole value counts for nothing"},
}

// habit finds a property that seems to mean the authority without naming it, and
// says how that came about. Empty: there is none.
func (j *caaCase) habit() (record, says string) {
	for _, r := range j.set.Records {
		if !strings.EqualFold(r.Tag, j.tag) {
			continue
		}
		if v, err := parseIssue(r.Value); err == nil && (v.domain == "" || j.by.is(v.domain)) {
			continue
		}
		if says := j.habitOf(r.Value); says != "" {
			return caaLine(j.domain(), j.tag, cut(r.Value, maxForeign)), says
		}
	}
	return "", ""
}

func (j *caaCase) habitOf(value string) string {
	if len(value) > 1000 {
		return "" // nobody typed that
	}
	var said []string
	for _, h := range caaHabits {
		mended := h.mend(value)
		if mended == value {
			continue
		}
		value, said = mended, append(said, h.says)
		if v, err := parseIssue(value); err == nil && j.by.is(v.domain) {
			return strings.Join(said, "; ")
		}
	}
	domain, _, _ := strings.Cut(value, ";")
	if several := strings.FieldsFunc(domain, func(r rune) bool { return r == ',' || r == '|' || unicode.IsSpace(r) }); len(several) > 1 &&
		slices.ContainsFunc(several, func(s string) bool { return j.by.is(strings.TrimSuffix(s, ".")) }) {
		return "several names stand in one value: each needs a record of its own"
	}
	name := skeleton(domain)
	for _, id := range j.by.Identities {
		id = strings.ToLower(strings.TrimSuffix(id, "."))
		brand, _, _ := strings.Cut(id, ".")
		if name != "" && (name == skeleton(id) || name == skeleton(brand) || slices.Contains(caaNames[id], name)) {
			return "a name that people know the authority by stands in place of its domain name " + quote(id)
		}
	}
	return ""
}

// skeleton is what is left of a name in small letters and digits.
func skeleton(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		}
		return -1
	}, s)
}

// withoutQuotes leaves the apostrophe of a display name where it is.
func withoutQuotes(value string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune("\"`\\“”„«»", r) {
			return -1
		}
		return r
	}, strings.Trim(value, " \t'‘’"))
}

func withoutFlags(value string) string {
	f := strings.Fields(value)
	if len(f) > 1 && (f[0] == "0" || f[0] == "128") {
		f = f[1:]
	}
	if len(f) > 1 && (strings.EqualFold(f[0], "issue") || strings.EqualFold(f[0], "issuewild")) {
		return strings.Join(f[1:], " ")
	}
	return value
}

func withoutAddress(value string) string {
	domain, params, more := strings.Cut(value, ";")
	d := strings.ToLower(trimWSP(domain))
	d = strings.TrimPrefix(strings.TrimPrefix(d, "https://"), "http://")
	d, _, _ = strings.Cut(strings.TrimPrefix(d, "www."), "/")
	if _, host, mail := strings.Cut(d, "@"); mail {
		d = host
	}
	if d == strings.ToLower(trimWSP(domain)) {
		return value
	}
	if more {
		return d + ";" + params
	}
	return d
}

func withoutDot(value string) string {
	domain, params, more := strings.Cut(value, ";")
	d := strings.TrimRight(domain, ". \t")
	switch {
	case !strings.HasSuffix(trimWSP(domain), "."):
		return value
	case more:
		return d + ";" + params
	}
	return d
}

func withoutParameters(value string) string {
	domain, _, _ := strings.Cut(value, ";")
	if _, err := parseIssue(value); err == nil {
		return value
	}
	return domain
}
