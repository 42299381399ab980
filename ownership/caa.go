package ownership

import (
	"cmp"
	"slices"
	"strings"
)

// Issuer is a certificate authority as CAA records speak of it.
type Issuer struct {
	// Names are what spec.tls.certificateAuthority may call it, lower case.
	Names []string
	// Identities are the CAA issuer domain names that it answers to, such as
	// letsencrypt.org. Empty: it does not tell, so it is left to check itself.
	Identities []string
	// Account is the URL of the account that is used with it. Empty: not known.
	Account string
	// Methods are the validation methods that can be used, such as dns-01.
	Methods []string
}

// Compare orders properties.
func (r CAARecord) Compare(s CAARecord) int {
	return cmp.Or(cmp.Compare(r.Tag, s.Tag), cmp.Compare(r.Value, s.Value), cmp.Compare(r.Flag, s.Flag))
}

// CAAVerdict is what a CAA record set says about one Issuer.
type CAAVerdict struct {
	// Allowed: it may issue, by at least one of its Methods.
	Allowed bool
	// Methods are those of the Issuer's Methods that are permitted, in its order.
	Methods []string
	// NeedsAccount: a property binds the Issuer to an account, and which one is
	// ours is not known; with it, more could be allowed.
	NeedsAccount bool
	// Found says what forbids it, after the words "the CAA records", without a
	// final full stop: at "example.com" allow only "other.test". Empty if Allowed.
	Found string
	// Line is the exact record to add, in presentation form. Empty if Allowed, and
	// where a record has to be removed instead.
	Line string
	// Mend says in a sentence without a final full stop who adds or removes what.
	Mend string
}

// JudgeCAA says whether the relevant CAA record set of a hostname (RFC 8659
// section 3) lets an authority issue, and by which methods: issue, or for a
// wildcard issuewild where there is any (sections 4.2 and 4.3), critical
// properties of unknown kinds (section 4.1), accounturi and validationmethods (RFC
// 8657). Values are judged at full length as they stand; one that breaks the
// grammar names no authority. It is the one judge of CAA: status, orders and the
// doctor ask it. A set that is not Seen allows everything.
func JudgeCAA(hostname string, o CAAObservation, by Issuer) CAAVerdict {
	everything := CAAVerdict{Allowed: true, Methods: by.Methods}
	if o.Outcome != Seen || len(o.Records) == 0 || len(by.Identities) == 0 {
		return everything
	}
	j := caaCase{hostname: hostname, set: o, by: by, tag: caaTag(hostname, o.Records)}
	for _, r := range o.Records {
		if critical(r) {
			return j.forbidCritical(r)
		}
	}
	var permitted, withAccount []string
	for _, r := range o.Records {
		if !strings.EqualFold(r.Tag, j.tag) {
			continue
		}
		j.bound = true
		v, err := parseIssue(r.Value)
		if err != nil || !by.is(v.domain) {
			continue
		}
		methods := v.permitted(by.Methods)
		switch {
		case v.bindsAccount && by.Account == "" && len(v.accounts) == 1:
			withAccount = append(withAccount, methods...)
		case v.bindsAccount && !slices.Equal(v.accounts, []string{by.Account}):
		default:
			permitted = append(permitted, methods...)
		}
		j.ours = append(j.ours, v)
	}
	if !j.bound {
		return everything // no property of the kind restricts nothing (section 4.2)
	}
	out := CAAVerdict{NeedsAccount: slices.ContainsFunc(withAccount, func(m string) bool { return !slices.Contains(permitted, m) })}
	for _, m := range by.Methods {
		if slices.Contains(permitted, m) {
			out.Methods = append(out.Methods, m)
		}
	}
	if out.Allowed = len(out.Methods) > 0; !out.Allowed {
		out.Found, out.Line = j.found(), j.line()
		out.Mend = j.who() + " has to add: " + out.Line
		if j.set.Own {
			out.Mend += " (a `caa` line of `zone`)"
		}
	}
	return out
}

// caaTag is the tag that binds a hostname: for a wildcard issuewild replaces issue
// where there is one (RFC 8659 section 4.3).
func caaTag(hostname string, records []CAARecord) string {
	if strings.HasPrefix(hostname, "*.") && slices.ContainsFunc(records, func(r CAARecord) bool { return strings.EqualFold(r.Tag, "issuewild") }) {
		return "issuewild"
	}
	return "issue"
}

// critical reports whether a property must be understood and is not (RFC 8659
// section 4.1). Authorities take the lowest bit of the flags for the critical one,
// too, because many a record has it there.
func critical(r CAARecord) bool { return r.Flag&(0x80|0x01) != 0 && !knownTag(r.Tag) }

// knownTag reports whether authorities know a kind of property: those of RFC 8659,
// RFC 9495 (issuemail) and of the CA/Browser Forum. They bind no certificate of a
// web server but issue and issuewild.
func knownTag(tag string) bool {
	switch strings.ToLower(tag) {
	case "issue", "issuewild", "issuemail", "issuevmc", "iodef", "contactemail", "contactphone":
		return true
	}
	return false
}

// is reports whether a CAA issuer domain name is one of the authority's.
func (i Issuer) is(domain string) bool {
	return slices.ContainsFunc(i.Identities, func(id string) bool { return strings.EqualFold(strings.TrimSuffix(id, "."), domain) })
}

// issueValue is the value of an issue or issuewild property.
type issueValue struct {
	domain string // empty: nobody may issue
	// What accounturi says (RFC 8657 section 3), if it is there. One that is there
	// twice cannot be satisfied.
	bindsAccount bool
	accounts     []string
	// What validationmethods says (RFC 8657 section 4), likewise.
	bindsMethods bool
	methods      []string
}

// permitted are those of some methods that the property permits.
func (v issueValue) permitted(methods []string) []string {
	if !v.bindsMethods {
		return methods
	}
	return slices.DeleteFunc(slices.Clone(methods), func(m string) bool { return !slices.Contains(v.methods, m) })
}

// caaSyntaxError says in which way a value breaks the grammar of RFC 8659 section 4.2.
type caaSyntaxError string

func (e caaSyntaxError) Error() string { return string(e) }

const (
	caaNoParameter = caaSyntaxError("what follows the semicolon is not of the form tag=value")
	caaBlank       = caaSyntaxError("a parameter holds a space or another character that may not stand there")
)

// parseIssue reads the value of an issue or issuewild property (RFC 8659 section
// 4.2): white space around names and parameters is no part of them.
func parseIssue(value string) (issueValue, error) {
	parts := strings.Split(value, ";")
	v := issueValue{domain: trimWSP(parts[0])}
	if len(parts) == 2 && trimWSP(parts[1]) == "" {
		return v, nil
	}
	for _, p := range parts[1:] {
		tag, val, ok := strings.Cut(p, "=")
		tag, val = trimWSP(tag), trimWSP(val)
		switch {
		case !ok || tag == "":
			return v, caaNoParameter
		case strings.ContainsFunc(tag, notLabel), strings.ContainsFunc(val, func(r rune) bool { return r < 0x21 || r > 0x7e }):
			return v, caaBlank
		}
		switch strings.ToLower(tag) {
		case "accounturi":
			v.bindsAccount, v.accounts = true, append(v.accounts, val)
		case "validationmethods":
			if v.bindsMethods { // twice: no method is in both as one list
				v.methods = nil
				continue
			}
			v.bindsMethods = true
			for m := range strings.SplitSeq(val, ",") {
				v.methods = append(v.methods, strings.ToLower(m))
			}
		}
	}
	return v, nil
}

func trimWSP(s string) string { return strings.Trim(s, " \t") }

func notLabel(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-')
}
