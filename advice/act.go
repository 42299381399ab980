package advice

import (
	"regexp"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// Who must act for a record to get on.
const (
	Customer = "customer"
	Operator = "operator"
	CA       = "CA"
	Nobody   = "nobody"
)

// meanings are what each reason of Ready that is not True means in one sentence, and who
// must act as a rule: the message of a record may name another.
var meanings = map[string]struct{ who, what string }{
	v1alpha3.ReasonOwnershipNotVerified: {Customer, "There is no proof yet that the customer controls the hostname: their DNS records are missing or wrong."},
	v1alpha3.ReasonProofWithdrawn:       {Customer, "Every proof of control over the hostname is gone, and it is no longer served."},
	v1alpha3.ReasonWaitingForDNS:        {Customer, "A certificate can be obtained once the customer's DNS records are in place."},
	v1alpha3.ReasonIssuing:              {Nobody, "A certificate is being obtained. It goes on by itself."},
	v1alpha3.ReasonCertificateError:     {Operator, "The certificate authority has refused the certificate, or could not be reached; it is tried again."},
	v1alpha3.ReasonRateLimited:          {CA, "The certificate authority takes no further orders for now. They go on by themselves when its limit ends."},
	v1alpha3.ReasonCAAForbidden:         {Customer, "CAA records of the customer's domain forbid the configured certificate authorities."},
	v1alpha3.ReasonCertificateExpired:   {Operator, "The certificate has expired and could not be renewed."},
	v1alpha3.ReasonCNAMENotConfigured:   {Customer, "All is ready but traffic does not arrive here yet: the customer has not switched the main DNS record."},
	v1alpha3.ReasonCNAMEMismatch:        {Customer, "The main DNS record leads elsewhere."},
	v1alpha3.ReasonTargetNotFound:       {Operator, "The configuration has no target of the name that the record points at."},
	v1alpha3.ReasonTargetUnhealthy:      {Operator, "The backend that the record points at is not healthy."},
}

// Meaning is who must act, as a rule, where Ready is not True for a reason, and what that
// means; of a reason that is not known, the operator and nothing.
func Meaning(reason string) (who, what string) {
	if m, ok := meanings[reason]; ok {
		return m.who, m.what
	}
	return Operator, ""
}

// Act is who must act for a record to get on, and what they do, in one sentence or two.
type Act struct{ Who, Text string }

// ActFor says who must act for a record, of which a is the account.
func ActFor(r *v1alpha3.DomainRecord, a *Account) Act {
	ready := r.Status.Condition(v1alpha3.ConditionReady)
	switch {
	case r.DeletionTimestamp != nil:
		return Act{Operator, "The record is being deleted, and held by its finalizers: " + strings.Join(r.Finalizers, ", ") + "."}
	case ready == nil:
		return Act{Nobody, "Nobody needs to do anything yet: the record has not been looked at."}
	case ready.Status == metav1.ConditionTrue:
		if len(a.Advice) == 0 {
			return Act{Nobody, "Nobody needs to do anything: " + r.Spec.Name + " is served."}
		}
		return named(a.Advice[0].Text, Nobody)
	}
	who, what := Meaning(ready.Reason)
	blamed := blame(r, ready.Reason)
	if text := a.mendFor(r, blamed); text != "" {
		return named(text, who)
	}
	if who == Nobody {
		what = "Nobody needs to do anything. " + what
	}
	if what == "" {
		what = ready.Message
	}
	return Act{who, what}
}

// blame is the condition that Ready takes its reason of, empty if there is none.
func blame(r *v1alpha3.DomainRecord, reason string) string {
	for _, c := range r.Status.Conditions {
		if c.Type != v1alpha3.ConditionReady && c.Status != metav1.ConditionTrue && c.Reason == reason {
			return c.Type
		}
	}
	return ""
}

// mendFor is what ends the fault of a condition: DNS records that are wanted, or the
// advice that stands under it or under a DNS record.
func (a *Account) mendFor(r *v1alpha3.DomainRecord, blamed string) string {
	for _, p := range a.Advice {
		if p.Source == blamed {
			return p.Text
		}
	}
	if blamed == v1alpha3.ConditionTargetReady {
		return ""
	}
	var missing []string
	for _, d := range a.wanted() {
		if d.Problem != nil && d.Problem.Reason != notFound {
			if _, mend := partMessage(d.Problem.Message, strings.Contains(d.Problem.Message, lookupWords)); len(mend) > 0 {
				return strings.Join(mend, " ")
			}
		}
		missing = append(missing, RecordLine(d))
	}
	switch len(missing) {
	case 0:
	case 1:
		return "The customer creates the DNS record " + missing[0]
	default:
		return "The customer creates the DNS records " + strings.Join(missing, " and ")
	}
	for _, p := range a.Advice {
		if !known(r, p.Source) {
			return p.Text
		}
	}
	return ""
}

// known reports whether a source of advice is a condition of the record.
func known(r *v1alpha3.DomainRecord, source string) bool {
	return r.Status.Condition(source) != nil
}

// wanted are the DNS records to create without which the record gets no further: those
// that are required, or if none is, the first.
func (a *Account) wanted() (required []v1alpha3.DNSRecord) {
	for _, d := range a.Create {
		if d.Required {
			required = append(required, d)
		}
	}
	if len(required) == 0 && len(a.Create) > 0 {
		required = a.Create[:1]
	}
	return required
}

// actor matches who a sentence names first.
var actor = regexp.MustCompile(`\b[Tt]he (customer|operator)\b`)

// named is an Act by whom its text names, or else by who.
func named(text, who string) Act {
	if m := actor.FindStringSubmatch(text); m != nil {
		who = m[1]
	}
	return Act{who, text}
}
