package ownership

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// heldSentence opens the message of a condition of which nothing could be told.
func heldSentence(status metav1.ConditionStatus) string {
	if status == metav1.ConditionTrue {
		return "The last look could not tell; what was known before holds."
	}
	return "The last look could not tell more."
}

// decideDelegation sets ACMEChallengeDelegationReady. HTTP-only records have none.
func (e *evaluation) decideDelegation() {
	if !e.tls {
		return
	}
	f := &e.delegation
	reason := v1alpha3.ReasonACMEChallengeDelegationMismatch
	if f.ok() {
		reason = v1alpha3.ReasonACMEChallengeDelegationConfigured
	} else if nothing(f.obs) {
		reason = v1alpha3.ReasonACMEChallengeDelegationNotConfigured
	}
	e.decideRecord(v1alpha3.ConditionACMEChallengeDelegationReady, f, reason, v1alpha3.ReasonACMEChallengeDelegationNotConfigured)
}

// decideCNAME sets CNAMEConfigured.
func (e *evaluation) decideCNAME() {
	f := &e.traffic
	reason := v1alpha3.ReasonCNAMEMismatch
	switch {
	case f.ok() && f.by != matchCNAME:
		reason = v1alpha3.ReasonAddressConfigured
	case f.ok():
		reason = v1alpha3.ReasonCNAMEConfigured
	case nothing(f.obs):
		reason = v1alpha3.ReasonCNAMENotConfigured
	}
	e.decideRecord(v1alpha3.ConditionCNAMEConfigured, f, reason, v1alpha3.ReasonCNAMENotConfigured)
}

// decideRecord sets the condition that a DNS record stands for. Where nothing
// could be told it keeps status and reason; without earlier ones it is Unknown.
func (e *evaluation) decideRecord(kind string, f *finding, reason, unknown string) {
	if !f.told {
		status, before := metav1.ConditionUnknown, unknown
		if p := e.prev.Condition(kind); p != nil {
			status, before = p.Status, p.Reason
		}
		e.set(kind, status, before, f.state())
		return
	}
	status := metav1.ConditionFalse
	if f.ok() {
		status = metav1.ConditionTrue
	}
	message := f.state()
	if f.ok() && f.by == matchAddress {
		message = join(f.record.Name+" has the edge's addresses, which serve as well as the record "+sentence(*f.record), problemMessage(f.record))
	}
	e.set(kind, status, reason, message)
}

func problemMessage(d *v1alpha3.DNSRecord) string {
	if d.Problem == nil {
		return ""
	}
	return d.Problem.Message
}

// decideTarget sets TargetReady, which nothing but Ready depends on.
func (e *evaluation) decideTarget() {
	kind, o := v1alpha3.ConditionTargetReady, e.obs.Target
	name := "the target"
	if ref := e.r.Spec.Target.Ref; ref != nil {
		name = words(ref.Kind) + " " + quote(ref.Name)
	}
	said := after(": ", words(o.Message))
	switch {
	case o.Unknown:
		status, reason := metav1.ConditionUnknown, v1alpha3.ReasonTargetNotFound
		if p := e.prev.Condition(kind); p != nil {
			status, reason = p.Status, p.Reason
		}
		e.set(kind, status, reason, heldSentence(status), "The state of "+name+" is not known yet, and comes by itself.")
	case !o.Found:
		e.set(kind, metav1.ConditionFalse, v1alpha3.ReasonTargetNotFound,
			"The configuration has no "+name+said+". The operator defines it in the Caddy configuration or corrects spec.target.ref.")
	case !o.Healthy:
		e.set(kind, metav1.ConditionFalse, v1alpha3.ReasonTargetUnhealthy,
			"The backend of "+name+" is unhealthy"+said+". The operator mends the backend; ownership and certificate are not affected.")
	case o.Unchecked:
		e.set(kind, metav1.ConditionTrue, v1alpha3.ReasonTargetHealthy, capital(name)+" is configured; nothing checks it.")
	default:
		e.set(kind, metav1.ConditionTrue, v1alpha3.ReasonTargetHealthy, "The backend of "+name+" is healthy"+said+".")
	}
}

// decideReady sets Ready, last of all.
func (e *evaluation) decideReady() {
	needed := []string{v1alpha3.ConditionOwnershipVerified, v1alpha3.ConditionCNAMEConfigured, v1alpha3.ConditionTargetReady}
	if e.tls {
		needed = append(needed, v1alpha3.ConditionTLSReady)
	}
	for _, kind := range needed {
		if c := e.out.Condition(kind); c.Status != metav1.ConditionTrue {
			e.set(v1alpha3.ConditionReady, metav1.ConditionFalse, c.Reason, kind+" is "+string(c.Status)+":", c.Message)
			return
		}
	}
	e.set(v1alpha3.ConditionReady, metav1.ConditionTrue, v1alpha3.ReasonReady, e.r.Spec.Name+" is served.")
}
