package ownership

import (
	"slices"
	"strconv"
	"strings"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// criticalFlag marks a CAA property that must be understood (RFC 8659 section 4.1).
const criticalFlag = 0x80

// DiagnoseCAA says whether the relevant CAA record set of a hostname forbids
// every one of the issuers, CAA issuer domain names, and gives the exact line to
// add. It returns nil where one is allowed and where nothing could be told.
// Parameters of RFC 8657 are left to issuance, which knows its account.
func DiagnoseCAA(hostname string, o CAAObservation, issuers []string) *v1alpha3.DNSProblem {
	return diagnoseCAA(hostname, o, issuers, customerActs)
}

// Who mends CAA records: those of names inside the zone and of the edge, which a
// customer's CNAME leads to, are the operator's.
const (
	customerActs = "The customer"
	operatorActs = "The operator of this server"
)

// whoMends is who runs the zone that has the CAA records of domain.
func whoMends(domain string, zone Zone) string {
	domain = strings.ToLower(strings.TrimSuffix(domain, "."))
	if domain != "" && (domain == zone.Name || domain == zone.EdgeHost) || zone.Name != "" && strings.HasSuffix(domain, "."+zone.Name) {
		return operatorActs
	}
	return customerActs
}

func diagnoseCAA(hostname string, o CAAObservation, issuers []string, who string) *v1alpha3.DNSProblem {
	if o.Outcome != Seen || len(issuers) == 0 {
		return nil
	}
	wildcard := strings.HasPrefix(hostname, "*.")
	domain := o.Domain
	if domain == "" {
		domain = strings.TrimPrefix(hostname, "*.")
	}
	for _, r := range o.Records {
		if r.Flag&criticalFlag != 0 && !knownTag(r.Tag) {
			return problem(ProblemCAAForbids, "A CAA record at %s is critical and of a kind that certificate authorities do not know (%s), "+
				"so none may issue. "+who+" removes it.", quote(domain), quote(r.Tag))
		}
	}
	values, tag := allowed(o.Records, "issue"), "issue"
	if wildcard {
		if wild := allowed(o.Records, "issuewild"); len(wild) > 0 {
			values, tag = wild, "issuewild"
		}
	}
	if len(values) == 0 {
		return nil
	}
	for _, issuer := range issuers {
		if slices.Contains(values, strings.ToLower(strings.TrimSuffix(issuer, "."))) {
			return nil
		}
	}
	named := slices.DeleteFunc(values, func(v string) bool { return v == "" })
	found := "forbid every certificate authority"
	if len(named) > 0 {
		found = "allow only " + quoteAll(named)
	}
	return problem(ProblemCAAForbids, "The CAA records at %s %s. %s", quote(domain), found, caaLine(domain, tag, issuers, who))
}

// allowed lists the issuer domain names that a tag's properties give.
func allowed(records []CAARecord, tag string) []string {
	var out []string
	for _, r := range records {
		if strings.EqualFold(r.Tag, tag) {
			issuer, _, _ := strings.Cut(r.Value, ";")
			out = append(out, strings.TrimSuffix(strings.ToLower(strings.TrimSpace(issuer)), "."))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func knownTag(tag string) bool {
	switch strings.ToLower(tag) {
	case "issue", "issuewild", "issuemail", "iodef", "contactemail", "contactphone":
		return true
	}
	return false
}

// caaLine is the line that who has the zone adds, one for each issuer.
func caaLine(domain, tag string, issuers []string, who string) string {
	if len(issuers) == 0 {
		return ""
	}
	if !plain(domain) {
		return who + " adds there a CAA " + tag + " record for " + quoteAll(issuers) + "."
	}
	lines := make([]string, 0, maxListed)
	for _, issuer := range issuers[:min(len(issuers), maxListed)] {
		lines = append(lines, absolute(domain)+" CAA 0 "+tag+" "+strconv.Quote(issuer))
	}
	if who == operatorActs {
		return who + " adds a line to `caa` in the zone's options, or takes the lines out: " + strings.Join(lines, " or ")
	}
	return who + " adds: " + strings.Join(lines, " or ")
}

// caaMend is the line for a refusal of which only the hostname is known.
func caaMend(hostname, domain string, issuers []string) string {
	tag := "issue"
	if strings.HasPrefix(hostname, "*.") {
		tag, domain = "issuewild", strings.TrimPrefix(domain, "*.")
	}
	return caaLine(domain, tag, issuers, customerActs)
}

// plain reports whether a name can stand in a message without quotes.
func plain(name string) bool {
	return name != "" && len(name) <= maxValue && !strings.ContainsFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.')
	})
}

// lookAtCAA notes a CAA record set that forbids our authorities, beside the
// record that it keeps from being of use, unless that has a fault of its own.
func (e *evaluation) lookAtCAA() {
	if !e.tls {
		return
	}
	e.caa = diagnoseCAA(e.r.Spec.Name, e.obs.CAA, e.settings.CAIssuers, whoMends(e.obs.CAA.Domain, e.settings.Zone))
	if e.obs.CAA.Outcome == CouldNotTell {
		e.caa = e.heldCAA()
	}
	if e.caa == nil {
		return
	}
	if d := e.delegation.record; d != nil && d.Problem == nil {
		d.Problem = e.caa
	}
	// No challenge can succeed, and issuance begins anew once the records allow
	// it, without waiting for the pause after its last refusal.
	e.verdict.DNS01, e.verdict.HTTP01 = false, false
}

// heldCAA is what was last found of the CAA records, as far as the status still
// says it.
func (e *evaluation) heldCAA() *v1alpha3.DNSProblem {
	d, before := e.delegation.record, e.prev.DNSRecord(v1alpha3.PurposeACMEChallenge)
	if before == nil || before.Problem == nil || before.Problem.Reason != ProblemCAAForbids {
		return nil
	}
	if d.Problem != nil && d.Problem.Reason != ProblemCAAForbids {
		return nil
	}
	return before.Problem
}
