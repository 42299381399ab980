package cli

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/advice"
	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// todo prints what is to be done and by whom: the DNS records that are not in place
// as a table for pasting, then each further piece of advice.
func (p *page) todo(r *v1alpha3.DomainRecord, a advice.Account) {
	p.line("")
	p.line("To do:")
	switch {
	case len(a.Create) > 0:
		p.wanted(r, a)
	case len(a.Advice) > 0:
	case len(r.Status.Conditions) == 0:
		p.line("  nothing yet: the record was not looked at")
	case ready(r):
		p.line("  nothing")
	default:
		p.line("  nothing at present: Conditions say what is awaited")
	}
	if c := r.Status.DomainConnect; c != nil {
		p.line("")
		p.line("  Or with one click at the DNS provider: %s", c.URL)
	}
	for i, d := range a.Advice {
		if i > 0 || len(a.Create) > 0 {
			p.line("")
		}
		p.text(d.Source+": "+d.Text, "  ")
	}
}

func ready(r *v1alpha3.DomainRecord) bool {
	c := r.Status.Condition(v1alpha3.ConditionReady)
	return c != nil && c.Status == metav1.ConditionTrue
}

// wanted prints the DNS records to create.
func (p *page) wanted(r *v1alpha3.DomainRecord, a advice.Account) {
	title, required, noted := "The customer creates these DNS records:", false, false
	for _, d := range a.Create {
		required = required || d.Required
		noted = noted || d.Purpose == v1alpha3.PurposeTraffic && d.Problem != nil // which has advice for the top of a zone
	}
	if r.Status.Phase == v1alpha3.PhaseActive || r.Status.Phase == v1alpha3.PhaseIssuing && !required {
		title = "DNS records that the customer may still create:"
	}
	p.line("  %s", title)
	if p.err == nil {
		p.err = printWanted(p.w, a.Create, "    ", !noted)
	}
}

// dns prints what was seen of each DNS record.
func (p *page) dns(r *v1alpha3.DomainRecord, a advice.Account) {
	p.line("")
	p.line("DNS records, as last seen:")
	if len(r.Status.DNSRecords) == 0 {
		p.line("  %s", none)
	}
	for i, d := range r.Status.DNSRecords {
		p.seen(d)
		if problem := a.Problems[i]; problem.Source != "" { // also of a right record: still cached, bogus, CAA
			p.text(problem.Source+": "+a.ProblemWords(problem), "    ")
		}
	}
}

func (p *page) seen(d v1alpha3.DNSRecord) {
	state := "right"
	switch {
	case !d.Configured && len(d.Observed) == 0:
		state = "nothing seen"
	case !d.Configured:
		state = "wrong"
	}
	if d.LastTransitionTime != nil {
		state += " since " + p.when(d.LastTransitionTime)
	}
	if !d.Required && !d.Configured {
		state += "; optional"
	}
	p.line("  %s %s", d.Name, state)
	if d.Zone != "" {
		p.line("    host %s in the zone %s", d.Host, d.Zone)
	}
	for _, o := range d.Observed {
		p.line("    %s", o)
	}
}
