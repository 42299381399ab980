package v1alpha3

import (
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"
)

const (
	// maxName and maxLabel are the limits of RFC 1035 section 2.3.4 for names
	// in presentation form without the final dot.
	maxName  = 253
	maxLabel = 63
	// maxInput bounds what is looked at at all: no name that fits 253 octets as
	// A-labels is longer as U-labels in UTF-8.
	maxInput = 4 * maxName
)

// wildcardNameSuffix ends the metadata.name of a wildcard's record. No hostname
// ends in it: NormalizeHostname refuses that.
const wildcardNameSuffix = "--wildcard"

// profile maps as a browser's address bar does (RFC 5891, UTS 46
// non-transitional) and then holds every label to the rules of RFC 5891
// section 4.2.3.
var profile = idna.New(
	idna.MapForLookup(),
	idna.Transitional(false),
	idna.BidiRule(),
	idna.CheckHyphens(true),
	idna.CheckJoiners(true),
	idna.StrictDomainName(true),
	idna.ValidateLabels(true),
)

// NormalizeHostname returns a customer's hostname as it is kept: A-labels
// (RFC 5890), lower case, without the final dot. A wildcard keeps one leading
// label "*" (RFC 4592). The error is a sentence about the value, without the
// value itself, that says how to mend it: the caller names field and value.
// Refused are empty names, IP addresses, single labels, public suffixes (ICANN
// and private ones), labels that are no hostname's, underscores, and anything
// over 63 octets a label or 253 in all.
func NormalizeHostname(s string) (string, error) {
	if len(s) > maxInput {
		return "", fmt.Errorf("is %d octets long: a hostname has at most %d", len(s), maxName)
	}
	if strings.TrimSpace(s) == "" {
		return "", fmt.Errorf("is empty: give the customer's hostname, such as api.example.com")
	}
	if err := checkIntruders(s); err != nil {
		return "", err
	}
	base, wildcard := strings.CutPrefix(s, "*.")
	if strings.Contains(base, "*") {
		return "", fmt.Errorf("has a * that is not its whole first label: a wildcard is *.example.com, with one * in front")
	}
	base, err := toASCII(base)
	if err != nil {
		return "", err
	}
	if err := checkAddress(base); err != nil {
		return "", err // the mapping can yield one, as from full-width digits
	}
	if err := checkLabels(base); err != nil {
		return "", err
	}
	if err := checkSuffix(base, wildcard); err != nil {
		return "", err
	}
	if wildcard {
		base = "*." + base
	}
	if len(base) > maxName {
		return "", fmt.Errorf("is %d octets long as A-labels: a hostname has at most %d", len(base), maxName)
	}
	return base, nil
}

// checkIntruders refuses what people paste in place of a hostname.
func checkIntruders(s string) error {
	if err := checkAddress(s); err != nil {
		return err
	}
	switch {
	case !utf8.ValidString(s):
		return fmt.Errorf("is not UTF-8: give the hostname in UTF-8 or as A-labels (xn--…)")
	case strings.Contains(s, "/"):
		return fmt.Errorf("is a URL or a path: give the hostname alone, such as api.example.com")
	case strings.Contains(s, ":"):
		return fmt.Errorf("has a port or a colon: give the hostname alone, such as api.example.com")
	case strings.Contains(s, "@"):
		return fmt.Errorf("is an e-mail address or has an @: give the hostname alone, such as api.example.com")
	case strings.ContainsAny(s, " \t\r\n\v\f"):
		return fmt.Errorf("contains white space: remove it")
	case strings.Contains(s, "_"):
		return fmt.Errorf("contains an underscore, which hostnames do not have and certificates cannot name: use a hyphen or another name")
	}
	return nil
}

func checkAddress(s string) error {
	bare := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSuffix(s, "."), "["), "]")
	if _, err := netip.ParseAddr(bare); err == nil {
		return fmt.Errorf("is an IP address: give a hostname, and point it here by DNS")
	}
	return nil
}

// toASCII maps a name to A-labels and cuts one final dot, of whichever script.
func toASCII(s string) (string, error) {
	ascii, err := profile.ToASCII(s)
	if err != nil {
		return "", fmt.Errorf("is no valid internationalized or plain hostname (%w): use letters, digits and hyphens, no label beginning or ending with a hyphen", err)
	}
	ascii = strings.TrimSuffix(ascii, ".")
	if ascii == "" {
		return "", fmt.Errorf("is the root of the DNS: give the customer's hostname, such as api.example.com")
	}
	return ascii, nil
}

// checkLabels holds every label to letters, digits and hyphens (RFC 952,
// RFC 1123 section 2.1) and its length.
func checkLabels(s string) error {
	last := ""
	for label := range strings.SplitSeq(s, ".") {
		last = label
		switch {
		case label == "":
			return fmt.Errorf("has an empty label: remove the doubled or leading dot")
		case len(label) > maxLabel:
			return fmt.Errorf("has the label %q of %d octets: a label has at most %d", cut(label), len(label), maxLabel)
		case label[0] == '-' || label[len(label)-1] == '-':
			return fmt.Errorf("has the label %q: a label may not begin or end with a hyphen", cut(label))
		}
		for i := range len(label) {
			if !isLDH(label[i]) {
				return fmt.Errorf("has the label %q: a label holds letters, digits and hyphens only", cut(label))
			}
		}
	}
	if strings.HasSuffix(last, wildcardNameSuffix) {
		return fmt.Errorf("ends in %q, which is kept for the records of wildcards: no such top-level domain exists", wildcardNameSuffix)
	}
	if !strings.ContainsFunc(last, func(r rune) bool { return r >= 'a' && r <= 'z' }) {
		return fmt.Errorf("ends in %q: a top-level domain is never all digits", cut(last))
	}
	return nil
}

func isLDH(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-'
}

// checkSuffix refuses names that belong to nobody or to a registry.
func checkSuffix(s string, wildcard bool) error {
	if !strings.Contains(s, ".") {
		if wildcard {
			return fmt.Errorf("is a wildcard over a single label: give one below a registered domain, such as *.example.com")
		}
		return fmt.Errorf("is a single label: give the full name, such as %s.example.com", cut(s))
	}
	if suffix, _ := publicsuffix.PublicSuffix(s); suffix == s {
		if wildcard {
			return fmt.Errorf("is a wildcard over the public suffix %s, under which names belong to different people: give one below a registered domain, such as *.example.%s", cut(s), cut(s))
		}
		return fmt.Errorf("is a public suffix, under which names belong to different people: give a name below it, such as example.%s", cut(s))
	}
	return nil
}

// IsWildcard reports whether a normalized hostname is a wildcard.
func IsWildcard(hostname string) bool { return strings.HasPrefix(hostname, "*.") }

// BaseName is the hostname without a wildcard's leading "*.".
func BaseName(hostname string) string { return strings.TrimPrefix(hostname, "*.") }

// cut bounds foreign text that a message repeats.
func cut(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
