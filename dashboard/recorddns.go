package dashboard

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/advice"
	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// maxObserved is how many of the records at one name are shown.
const maxObserved = 30

// dnsRecord is a DNS record that the customer creates, and what was seen of it.
type dnsRecord struct {
	v1alpha3.DNSRecord
	For   string
	State string // in place, wrong or not seen
	Since time.Time
	// Line is the record as a zone file has it.
	Line string
	// Problem is the name of the mistake, Found what was found, Mend who does what.
	Problem, Found, Mend string
	More                 int // records at the name that are not shown
	// Servers is what every name server answers, if that was asked for.
	Servers *NameAnswers
}

// dnsRecords are those of a record, with what its account says of each.
func dnsRecords(r *v1alpha3.DomainRecord, a *advice.Account) (all []dnsRecord) {
	for i, d := range r.Status.DNSRecords {
		one := dnsRecord{DNSRecord: d, For: purposeWords(d), State: stateWords(d)}
		if d.LastTransitionTime != nil {
			one.Since = d.LastTransitionTime.Time
		}
		one.Line = fmt.Sprintf("%s %d IN %s %s", d.Name, zoneFileTTL, d.Type, d.Value)
		one.Observed, one.More = nil, max(0, len(d.Observed)-maxObserved)
		for _, seen := range d.Observed[:min(len(d.Observed), maxObserved)] {
			one.Observed = append(one.Observed, cut(seen, maxText))
		}
		if problem := a.Problems[i]; problem.Source != "" {
			one.Problem = problem.Source
			one.Found = cut(problem.Text, maxText)
			for _, piece := range a.Advice {
				if piece.Source == d.Name {
					one.Mend = strings.TrimSpace(one.Mend + " " + piece.Text)
				}
			}
		}
		all = append(all, one)
	}
	return all
}

// asked are the names of DNS records that a hostname has in any case, with these records:
// what a client may have written into the status is asked of nobody.
func asked(hostname string, all []dnsRecord) (names []string, of []*dnsRecord) {
	has := []string{v1alpha3.OwnerTrafficName(hostname), v1alpha3.OwnerACMEChallengeName(hostname), v1alpha3.OwnerApoxyChallengeName(hostname)}
	for i := range all {
		if slices.Contains(has, all[i].Name) {
			names, of = append(names, all[i].Name), append(of, &all[i])
		}
	}
	return names, of
}

// answersOf puts what name servers answer to the records that it is about, each text and
// their number bounded.
func answersOf(said fact[[]NameAnswers], of []*dnsRecord) {
	for i := range of {
		of[i].Servers = &NameAnswers{Trouble: said.Trouble}
		if i >= len(said.Value) {
			if said.Trouble == "" {
				of[i].Servers.Trouble = "This could not be found out."
			}
			continue
		}
		*of[i].Servers = said.Value[i]
		for j := range of[i].Servers.Servers {
			s := &of[i].Servers.Servers[j]
			s.Trouble = cut(s.Trouble, maxText)
			var answers []string
			for _, a := range s.Answers[:min(len(s.Answers), maxObserved)] {
				answers = append(answers, cut(a, maxText))
			}
			s.Answers = answers
		}
	}
}

// zoneFileTTL is the TTL of the lines for zone files: short, while a domain moves.
const zoneFileTTL = 300

func stateWords(d v1alpha3.DNSRecord) string {
	switch {
	case d.Configured:
		return "in place"
	case len(d.Observed) > 0:
		return "wrong"
	}
	return "not seen"
}

func purposeWords(d v1alpha3.DNSRecord) string {
	switch d.Purpose {
	case v1alpha3.PurposeTraffic:
		return "Traffic"
	case v1alpha3.PurposeACMEChallenge:
		return "The certificate before the cutover"
	case v1alpha3.PurposeOwnership:
		return "Proof of ownership"
	}
	return string(d.Purpose)
}
