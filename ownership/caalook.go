package ownership

import (
	"slices"
	"strings"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// DiagnoseCAA says whether the relevant CAA record set of a record's hostname
// forbids every one of the issuers that the record may use, by what JudgeCAA says
// of each, and gives the exact line to add. dns01 and http01: these ways can be
// gone now; neither: whichever will be. It returns nil where one is allowed or may
// be, and where nothing could be told.
func DiagnoseCAA(r *v1alpha3.DomainRecord, o CAAObservation, issuers []Issuer, dns01, http01 bool) *v1alpha3.DNSProblem {
	if o.Outcome != Seen {
		return nil
	}
	var found string
	var mends, lines []string
	for _, i := range usable(r, issuers, dns01, http01) {
		v := JudgeCAA(r.Spec.Name, o, i)
		if v.Allowed || v.NeedsAccount { // issuance finds out which account is ours
			return nil
		}
		if found == "" {
			found = v.Found
		}
		if len(mends) == 0 {
			mends = append(mends, v.Mend)
		} else if v.Line != "" && !slices.Contains(lines, v.Line) && len(lines) < maxListed {
			lines = append(lines, v.Line)
		}
	}
	if found == "" {
		return nil
	}
	return problem(ProblemCAAForbids, "The CAA records %s. %s", found, strings.Join(append(mends, lines...), " or "))
}

// usable are the issuers that a record may use, each with the methods that can be
// used for it now.
func usable(r *v1alpha3.DomainRecord, issuers []Issuer, dns01, http01 bool) []Issuer {
	if !dns01 && !http01 {
		dns01, http01 = true, true
	}
	if strings.HasPrefix(r.Spec.Name, "*.") {
		dns01, http01 = true, false
	}
	var out []Issuer
	for _, i := range issuers {
		if name := strings.ToLower(r.Authority()); name != "" && !slices.Contains(i.Names, name) {
			continue
		}
		i.Methods = slices.DeleteFunc(slices.Clone(i.Methods), func(m string) bool { return m == "dns-01" && !dns01 || m != "dns-01" && !http01 })
		if len(i.Methods) > 0 {
			out = append(out, i)
		}
	}
	return out
}

// judgeCAA finds a CAA record set that forbids our authorities. Then no challenge
// can succeed, and issuance begins anew once the records allow it, without waiting for
// the pause after its last refusal.
func (e *evaluation) judgeCAA() *v1alpha3.DNSProblem {
	switch {
	case !e.tls:
		return nil
	case e.obs.CAA.Outcome == CouldNotTell:
		return e.heldCAA()
	}
	set := e.obs.CAA
	set.Own = set.Own || strings.EqualFold(strings.TrimSuffix(set.Domain, "."), e.settings.Zone.EdgeHost) // the edge is the operator's, wherever it lies
	return DiagnoseCAA(e.r, set, e.settings.Issuers, e.routes.dns01, e.routes.http01)
}

// heldCAA is what was last found of the CAA records, as far as the status still
// says it.
func (e *evaluation) heldCAA() *v1alpha3.DNSProblem {
	p, before := e.found.delegation.problem, e.prev.DNSRecord(v1alpha3.PurposeACMEChallenge)
	if before == nil || before.Problem == nil || before.Problem.Reason != ProblemCAAForbids {
		return nil
	}
	if p != nil && p.Reason != ProblemCAAForbids {
		return nil
	}
	return before.Problem
}
