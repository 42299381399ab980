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
	reason, blamed := Awaited(r)
	who, what := Meaning(reason)
	if text := a.mendFor(blamed); text != "" {
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

// Awaited is the reason for which a record is not ready, and the condition that has it: that
// of Ready or, where the certificate that is being obtained will be the proof of ownership,
// of TLSReady. Both are empty where Ready is True or not there.
func Awaited(r *v1alpha3.DomainRecord) (reason, condition string) {
	ready := r.Status.Condition(v1alpha3.ConditionReady)
	if ready == nil || ready.Status == metav1.ConditionTrue {
		return "", ""
	}
	if ready.Reason == v1alpha3.ReasonOwnershipNotVerified {
		if c := r.Status.Condition(v1alpha3.ConditionTLSReady); c != nil && c.Status != metav1.ConditionTrue && c.Reason != "" && c.Reason != v1alpha3.ReasonWaitingForDNS {
			return c.Reason, c.Type
		}
	}
	for _, c := range r.Status.Conditions {
		if c.Type != v1alpha3.ConditionReady && c.Status != metav1.ConditionTrue && c.Reason == ready.Reason {
			return c.Reason, c.Type
		}
	}
	return ready.Reason, ""
}

// mendFor is what ends the fault of a condition: the advice that stands under it, or the
// DNS records that are required and not there.
func (a *Account) mendFor(blamed string) string {
	for _, p := range a.Advice {
		if p.Source == blamed {
			return p.Text
		}
	}
	if blamed == v1alpha3.ConditionTargetReady {
		return ""
	}
	var missing []string
	for _, d := range a.Create {
		if !d.Required {
			continue
		}
		if d.Problem != nil && d.Problem.Reason != notFound {
			if _, mend := partMessage(d.Problem.Message, strings.Contains(d.Problem.Message, lookupWords)); len(mend) > 0 {
				return strings.Join(mend, " ")
			}
		}
		missing = append(missing, RecordLine(d))
	}
	switch len(missing) {
	case 0:
		return ""
	case 1:
		return "The customer creates the DNS record " + missing[0]
	}
	return "The customer creates the DNS records " + strings.Join(missing, " and ")
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

// TLSWords says whether a record is served by TLS, and whose its certificate is.
func TLSWords(r *v1alpha3.DomainRecord) string {
	switch {
	case !r.WantsTLS():
		return "off: served over plain HTTP only"
	case r.Authority() != "":
		return "on, by " + r.Authority()
	}
	return "on, by the configured certificate authorities in their order"
}
