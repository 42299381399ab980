package issuance

import (
	"fmt"
	"slices"
	"strings"
)

// caaVerdict is what a CAA record set says about one CA.
type caaVerdict struct {
	allowed bool
	// methods are the challenge types that are permitted (RFC 8657 section 4);
	// nil: any.
	methods []string
	// message says what forbids it, mend who changes what.
	message, mend string
}

// permits reports whether a challenge type may be used.
func (v caaVerdict) permits(method string) bool {
	return v.methods == nil || slices.Contains(v.methods, method)
}

// evaluateCAA applies RFC 8659 section 4 and RFC 8657 to the relevant record
// set of a hostname, for a CA known by any of the identities and used with the
// account of that URL, which is needed only where a record names one. A CA that
// does not tell its identities cannot be checked and is let through: it checks
// itself.
func evaluateCAA(hostname string, set []CAA, identities []string, accountURI string) caaVerdict {
	if len(set) == 0 || len(identities) == 0 {
		return caaVerdict{allowed: true}
	}
	wildcard := strings.HasPrefix(hostname, "*.")
	tag := "issue"
	for _, c := range set {
		switch t := strings.ToLower(c.Tag); t {
		case "issue", "iodef", "issuemail", "issuevmc", "contactemail", "contactphone":
		case "issuewild":
			if wildcard {
				tag = t // issuewild replaces issue for wildcards (section 4.3)
			}
		default:
			if c.Flag&128 != 0 {
				return caaVerdict{message: fmt.Sprintf("the CAA record %s is critical and of a kind that CAs do not know", caaLine(c)),
					mend: "Whoever runs that zone removes it, or its critical flag"}
			}
		}
	}
	var present []string
	var verdict caaVerdict
	value := identities[0] // of the line to add
	for _, c := range set {
		if !strings.EqualFold(c.Tag, tag) {
			continue
		}
		present = append(present, caaLine(c))
		domain, params := parseIssue(c.Value)
		if domain == "" || !names(identities, domain) {
			continue
		}
		if uri, ok := params["accounturi"]; ok && uri != accountURI {
			value = identities[0] + "; accounturi=" + accountURI
			continue
		}
		methods, limited := params["validationmethods"]
		switch {
		case !limited:
			verdict.allowed, verdict.methods = true, nil
			return verdict
		default:
			verdict.allowed = true
			for m := range strings.SplitSeq(methods, ",") {
				verdict.methods = append(verdict.methods, strings.ToLower(strings.TrimSpace(m)))
			}
		}
	}
	if len(present) == 0 {
		return caaVerdict{allowed: true} // no issue property restricts nothing (section 4.2)
	}
	if !verdict.allowed {
		verdict.message = "found " + cut(strings.Join(present, ", "), 200)
		verdict.mend = "Whoever runs that zone has to add: " + caaLine(CAA{Domain: set[0].Domain, Tag: tag, Value: value})
	}
	return verdict
}

func names(identities []string, domain string) bool {
	return slices.ContainsFunc(identities, func(id string) bool { return strings.EqualFold(id, domain) })
}

// parseIssue splits the value of an issue or issuewild property (RFC 8659
// section 4.2). A value that breaks the grammar names no CA at all.
func parseIssue(value string) (domain string, params map[string]string) {
	parts := strings.Split(value, ";")
	domain = strings.ToLower(strings.Trim(parts[0], " \t"))
	if strings.ContainsAny(domain, " \t=") {
		return "", nil
	}
	for _, p := range parts[1:] {
		p = strings.Trim(p, " \t")
		if p == "" {
			continue
		}
		k, v, ok := strings.Cut(p, "=")
		if !ok {
			return "", nil
		}
		if params == nil {
			params = map[string]string{}
		}
		params[strings.ToLower(strings.TrimSpace(k))] = strings.TrimSpace(v)
	}
	return domain, params
}

// caaLine writes a record as it stands in a zone file.
func caaLine(c CAA) string {
	return fmt.Sprintf("%s CAA %d %s %q", dotted(c.Domain), c.Flag, strings.ToLower(c.Tag), cut(c.Value, 250))
}

func dotted(name string) string { return strings.TrimSuffix(name, ".") + "." }

// cut shortens foreign text.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
