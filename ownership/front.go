package ownership

import (
	"strings"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// This file is about what a customer has put before us on purpose. A CDN, or a load
// balancer of the customer's, answers in place of the main record, and that is all
// right once ownership and certificates do without that record.

// front is what answers at a hostname in our place.
type front struct {
	// cdn is the name of a CDN that is known, "" if it is something else.
	cdn string
	// what describes it, as part of a sentence.
	what string
}

// inFront tells what was seen to answer in our place, nil if nothing does or what
// is there can only be a mistake.
func (f *finding) inFront(z Zone) *front {
	o := bounded(f.obs)
	if !f.told || f.ok() || f.problem == nil || o.Dangling {
		return nil
	}
	if _, foreign := split(o.Addresses, z); len(foreign) == 0 && len(o.Addresses) > 0 {
		return nil // it is us
	}
	switch f.problem.Reason {
	case ProblemProxiedByCDN, ProblemAddressInsteadOfCNAME, ProblemApexNeedsAddress, ProblemOldTarget:
	default:
		return nil
	}
	cdn := cdnOfName(o.Chain)
	if cdn == "" {
		cdn = cdnOfAddresses(o.Addresses)
	}
	switch {
	case len(o.Chain) > 0:
		return &front{cdn, "leads to " + quote(o.Chain[0])}
	case len(o.Addresses) > 0:
		return &front{cdn, "answers with " + quoteAll(addresses(o.Addresses))}
	}
	return nil
}

// without is the record by which a customer does without the main one: for a
// certificate the delegation, for ownership alone the challenge.
func (e *evaluation) without() *finding {
	if e.tls && (e.token == "" || e.found.challenge.ok() || e.is(v1alpha3.ConditionOwnershipVerified)) {
		return &e.found.delegation
	}
	return &e.found.challenge
}

// awaited is what to wait for behind a front, in place of Ready.
func (e *evaluation) awaited() string {
	if e.tls {
		return v1alpha3.ConditionOwnershipVerified + " and " + v1alpha3.ConditionTLSReady
	}
	return v1alpha3.ConditionOwnershipVerified
}

// judgeFront says of a main record in whose place something else answers what that
// comes to beside the other records. What the record's diagnosis alone says is right
// for those who want to leave it. It returns nil where there is nothing to say.
func (e *evaluation) judgeFront() *v1alpha3.DNSProblem {
	f := &e.found.traffic
	d, at := f.record, f.inFront(e.settings.Zone)
	if at == nil {
		return nil
	}
	way := e.without()
	origin := strings.TrimSuffix(d.Value, ".")
	if a := e.settings.Zone.EdgeAddresses; len(a) > 0 {
		origin += " (" + strings.Join(firstFew(addresses(a)), " ") + ")"
	}
	leave := ` the customer switches the proxy off for this name ("DNS only") and creates: `
	enough := "nothing is missing: ownership and certificate do without the main record. Wait for " + e.awaited() + ", not for Ready, which stays False."
	hint := apexHint(*d, f.obs, e.settings.Zone)
	in := way.ok() && (!e.tls || way == &e.found.delegation)
	var p *v1alpha3.DNSProblem
	switch {
	case at.cdn != "" && in:
		p = problem(f.problem.Reason, "%s %s: %s proxies the name. With %s in place, and as far as %s passes requests on to %s, %s To leave %s,%s%s%s",
			d.Name, at.what, at.cdn, sentence(*way.record), at.cdn, origin, enough, at.cdn, leave, sentence(*d), hint)
	case at.cdn != "":
		p = problem(f.problem.Reason, "%s %s: %s proxies the name. To stay behind it, the customer creates %s and has %s pass requests on to %s. To leave it,%s%s%s",
			d.Name, at.what, at.cdn, sentence(*way.record), at.cdn, origin, leave, sentence(*d), hint)
	case in && e.is(v1alpha3.ConditionOwnershipVerified):
		p = problem(f.problem.Reason, "%s %s. Where that is a proxy or load balancer of the customer's that passes requests on to %s, %s Where it is an earlier provider's, the customer creates: %s%s",
			d.Name, at.what, origin, enough, sentence(*d), hint)
	default:
		return nil
	}
	p.Message = join(cachedNote(f.obs), p.Message)
	return p
}

// behind says how a certificate is obtained behind what answers in our place, "" if
// nothing that is known does.
func (e *evaluation) behind() string {
	at := e.found.traffic.inFront(e.settings.Zone)
	if at == nil || at.cdn == "" {
		return ""
	}
	return e.r.Spec.Name + " is behind " + at.cdn + ". To stay behind it, the customer creates " + sentence(*e.found.delegation.record) +
		": the certificate is then obtained and renewed without the main record. To leave it, the customer switches the proxy off and creates " +
		sentence(*e.found.traffic.record)
}
