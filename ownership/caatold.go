package ownership

import (
	"slices"
	"strconv"
	"strings"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// caaCase is a CAA record set and whom it forbids, for the texts about it.
type caaCase struct {
	hostname string
	set      CAAObservation
	by       Issuer
	tag      string
	bound    bool         // there is a property of the tag
	ours     []issueValue // those that name the authority
}

func (j *caaCase) domain() string {
	if j.set.Domain != "" {
		return j.set.Domain
	}
	return strings.TrimPrefix(j.hostname, "*.")
}

// who is whoever may change the set: the operator inside the operator's own zone,
// the customer at the hostname and above it, somebody behind a CNAME elsewhere.
func (j *caaCase) who() string {
	base := absolute(strings.TrimPrefix(j.hostname, "*."))
	switch d := absolute(j.domain()); {
	case j.set.Own:
		return "The operator"
	case base == d || strings.HasSuffix(base, "."+d):
		return "The customer"
	}
	return "Whoever runs the zone of " + quote(j.domain())
}

func (j *caaCase) forbidCritical(r CAARecord) CAAVerdict {
	return CAAVerdict{
		Found: "at " + quote(j.domain()) + " hold one that is critical and of a kind that certificate authorities do not know (" + quote(r.Tag) + "), so none may issue",
		Mend:  j.who() + " removes it, or its critical flag",
	}
}

// found says what forbids the authority, after the words "the CAA records".
func (j *caaCase) found() string {
	at := "at " + quote(j.domain()) + " "
	if record, habit := j.habit(); habit != "" {
		return at + "seem to mean " + quote(j.by.Identities[0]) + ", but do not name it: in " + record + " " + habit
	}
	var accounts, methods []string
	for _, v := range j.ours {
		switch permitted := v.permitted(j.by.Methods); {
		case len(permitted) == 0:
			methods = append(methods, v.methods...)
		case len(v.accounts) > 0:
			accounts = append(accounts, v.accounts...)
		}
	}
	switch {
	case len(accounts) > 0 && j.by.Account == "":
		return at + "allow it only with the account " + quoteAll(accounts)
	case len(accounts) > 0:
		return at + "allow it only with another account than ours (" + quoteAll(accounts) + ")"
	case len(j.ours) > 0:
		return at + "permit only the validation methods " + or(words(cut(strings.Join(methods, ", "), maxForeign)), "of an empty list") +
			", and " + strings.Join(j.by.Methods, ", ") + " is what can be used here"
	}
	return at + j.others()
}

// others says whom the set allows where the authority is not meant at all.
func (j *caaCase) others() string {
	var named []string
	wild := ""
	for _, r := range j.set.Records {
		domain, _, _ := strings.Cut(r.Value, ";")
		domain = trimWSP(domain)
		switch {
		case strings.EqualFold(r.Tag, j.tag) && domain != "" && !slices.Contains(named, domain):
			named = append(named, domain)
		case j.tag == "issue" && strings.EqualFold(r.Tag, "issuewild") && j.by.is(domain):
			wild = "; what its issuewild says counts for wildcards alone"
		}
	}
	if len(named) == 0 {
		return "forbid every certificate authority" + wild
	}
	return "allow only " + quoteAll(named) + wild
}

// line is the record that would let the authority issue, beside those there are.
func (j *caaCase) line() string {
	value := j.by.Identities[0]
	if slices.ContainsFunc(j.ours, func(v issueValue) bool { return v.bindsAccount }) && j.by.Account != "" {
		value += "; accounturi=" + j.by.Account
	}
	if slices.ContainsFunc(j.ours, func(v issueValue) bool { return v.bindsMethods }) {
		value += "; validationmethods=" + strings.Join(j.by.Methods, ",")
	}
	return caaLine(j.domain(), j.tag, value)
}

// caaLine writes a CAA record in presentation form.
func caaLine(domain, tag, value string) string {
	name := quote(domain)
	if plain(domain) {
		name = absolute(domain)
	}
	return name + " CAA 0 " + tag + " " + strconv.QuoteToASCII(value)
}

// plain reports whether a name can stand in a message without quotes.
func plain(name string) bool {
	return name != "" && len(name) <= maxValue && !strings.ContainsFunc(name, func(r rune) bool { return notLabel(r) && r != '_' && r != '.' })
}

// caaMend is the line for a refusal of which only the hostname is known.
func caaMend(r *v1alpha3.DomainRecord, issuers []Issuer) string {
	var lines []string
	for _, i := range usable(r, issuers, true, true) {
		if len(i.Identities) > 0 && len(lines) < maxListed {
			tag, domain := "issue", r.Spec.Name
			if strings.HasPrefix(domain, "*.") {
				tag, domain = "issuewild", strings.TrimPrefix(domain, "*.")
			}
			lines = append(lines, caaLine(domain, tag, i.Identities[0]))
		}
	}
	return after("The customer has to add: ", strings.Join(lines, " or "))
}
