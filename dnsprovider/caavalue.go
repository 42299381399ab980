package dnsprovider

import (
	"errors"
	"fmt"
	"strings"
)

// checkCAAValue refuses values that no CA understands as they are meant: what
// breaks the grammar of RFC 8659 section 4.2 names no CA, and so forbids all. The
// values of other properties are taken as they are.
func checkCAAValue(tag, value string) error {
	switch strings.ToLower(tag) {
	case "issue", "issuewild", "issuemail":
		return checkIssueValue(value)
	case "iodef":
		for _, scheme := range []string{"mailto:", "http://", "https://"} {
			if strings.HasPrefix(strings.ToLower(value), scheme) {
				return nil
			}
		}
		return errors.New("want a URL of whom CAs report to, such as mailto:security@example.net")
	}
	return nil
}

// checkIssueValue takes a CA's domain name with or without parameters (RFC 8657),
// or none at all, which forbids every CA.
func checkIssueValue(value string) error {
	name, params, _ := strings.Cut(value, ";")
	name = strings.Trim(name, " \t")
	switch {
	case strings.HasSuffix(name, "."):
		return fmt.Errorf("want the CA's domain name without a final dot, such as %s", strings.TrimSuffix(name, "."))
	case name != "" && !isIssuerDomain(name):
		return errors.New(`want a CA's domain name such as letsencrypt.org, or ";" for none`)
	}
	for param := range strings.SplitSeq(params, ";") {
		key, _, ok := strings.Cut(param, "=")
		if strings.Trim(param, " \t") != "" && (!ok || !isCAATag(strings.Trim(key, " \t"))) {
			return fmt.Errorf("the parameter %.80q: want name=value, such as validationmethods=dns-01", param)
		}
	}
	return nil
}

// isIssuerDomain is the grammar of issuer-domain-name (RFC 8659 section 4.2).
func isIssuerDomain(name string) bool {
	for label := range strings.SplitSeq(name, ".") {
		if !isCAATag(strings.ReplaceAll(label, "-", "")) || strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-") || len(label) > 63 {
			return false
		}
	}
	return true
}
