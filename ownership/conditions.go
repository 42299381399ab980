package ownership

import (
	"strconv"

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

// delegationReady gives ACMEChallengeDelegationReady. HTTP-only records have none.
func (e *evaluation) delegationReady() said {
	if !e.tls {
		return said{}
	}
	f := &e.found.delegation
	reason := v1alpha3.ReasonACMEChallengeDelegationMismatch
	if f.ok() {
		reason = v1alpha3.ReasonACMEChallengeDelegationConfigured
	} else if nothing(f.obs) {
		reason = v1alpha3.ReasonACMEChallengeDelegationNotConfigured
	}
	return e.recordSays(v1alpha3.ConditionACMEChallengeDelegationReady, f, reason, v1alpha3.ReasonACMEChallengeDelegationNotConfigured)
}

// cnameConfigured gives CNAMEConfigured.
func (e *evaluation) cnameConfigured() said {
	f := &e.found.traffic
	reason := v1alpha3.ReasonCNAMEMismatch
	switch {
	case f.ok() && f.by != matchCNAME:
		reason = v1alpha3.ReasonAddressConfigured
	case f.ok():
		reason = v1alpha3.ReasonCNAMEConfigured
	case nothing(f.obs):
		reason = v1alpha3.ReasonCNAMENotConfigured
	}
	return e.recordSays(v1alpha3.ConditionCNAMEConfigured, f, reason, v1alpha3.ReasonCNAMENotConfigured)
}

// recordSays gives the condition that a DNS record stands for. Where nothing
// could be told it keeps status and reason; without earlier ones it is Unknown.
func (e *evaluation) recordSays(kind string, f *finding, reason, unknown string) said {
	told := e.told.of(f.record.Purpose)
	if !f.told {
		status, before := metav1.ConditionUnknown, unknown
		if p := e.prev.Condition(kind); p != nil {
			status, before = p.Status, p.Reason
		}
		return say(status, before, f.state(told))
	}
	status := metav1.ConditionFalse
	if f.ok() {
		status = metav1.ConditionTrue
	}
	if f.by != matchAddress {
		return say(status, reason, f.state(told))
	}
	message := f.record.Name + " has the edge's addresses, which serve as well as the record " + sentence(*f.record)
	if told != nil {
		message = join(message, told.Message)
	}
	return say(status, reason, message)
}

// targetReady gives TargetReady, which nothing but Ready depends on.
func (e *evaluation) targetReady() said {
	o := e.obs.Target
	if e.r.Spec.Target.Redirect != nil {
		return e.redirectReady()
	}
	name := "the target"
	if ref := e.r.Spec.Target.Ref; ref != nil {
		name = words(ref.Kind) + " " + quote(ref.Name)
	}
	said := after(": ", words(o.Message))
	switch {
	case o.Unknown:
		status, reason := metav1.ConditionUnknown, v1alpha3.ReasonTargetNotFound
		if p := e.prev.Condition(v1alpha3.ConditionTargetReady); p != nil {
			status, reason = p.Status, p.Reason
		}
		return say(status, reason, heldSentence(status), "The state of "+name+" is not known yet, and comes by itself.")
	case !o.Found:
		return say(metav1.ConditionFalse, v1alpha3.ReasonTargetNotFound,
			"The configuration has no "+name+said+". The operator defines it in the Caddy configuration or corrects spec.target.ref.")
	case !o.Healthy && o.OfRecord:
		return say(metav1.ConditionFalse, v1alpha3.ReasonTargetUnhealthy,
			capital(name)+" has no backend for this record"+said+". The operator corrects the record's metadata or what the configuration allows; the customer has nothing to do, and ownership and certificate are not affected.")
	case !o.Healthy:
		return say(metav1.ConditionFalse, v1alpha3.ReasonTargetUnhealthy,
			"The backend of "+name+" is unhealthy"+said+". The operator mends the backend; ownership and certificate are not affected.")
	case o.Unchecked:
		return say(metav1.ConditionTrue, v1alpha3.ReasonTargetHealthy, capital(name)+" is configured"+said+"; nothing checks it.")
	}
	return say(metav1.ConditionTrue, v1alpha3.ReasonTargetHealthy, "The backend of "+name+" is healthy"+said+".")
}

// redirectReady gives TargetReady of a redirect, which every site that serves records
// can answer.
func (e *evaluation) redirectReady() said {
	d := e.r.Spec.Target.Redirect
	to := "to " + quote(e.r.RedirectText()) + " with " + strconv.Itoa(d.Code())
	switch o := e.obs.Target; {
	case o.Unknown:
		status, reason := metav1.ConditionUnknown, v1alpha3.ReasonTargetNotFound
		if p := e.prev.Condition(v1alpha3.ConditionTargetReady); p != nil {
			status, reason = p.Status, p.Reason
		}
		return say(status, reason, heldSentence(status), "Whether a site redirects "+to+" is not known yet, and comes by itself.")
	case !o.Found:
		return say(metav1.ConditionFalse, v1alpha3.ReasonTargetNotFound,
			"No site of the configuration serves records, so none redirects "+to+". The operator adds the handler apoxy to a site in the Caddy configuration.")
	}
	return say(metav1.ConditionTrue, v1alpha3.ReasonTargetHealthy, "Every request is redirected "+to+".")
}

// ready gives Ready, which goes by the conditions before it.
func (e *evaluation) ready() said {
	needed := []string{v1alpha3.ConditionOwnershipVerified, v1alpha3.ConditionCNAMEConfigured, v1alpha3.ConditionTargetReady}
	if e.tls {
		needed = append(needed, v1alpha3.ConditionTLSReady)
	}
	for _, kind := range needed {
		if c := e.condition(kind); c.Status != metav1.ConditionTrue {
			return said{metav1.ConditionFalse, c.Reason, join(kind+" is "+string(c.Status)+":", c.Message)}
		}
	}
	return say(metav1.ConditionTrue, v1alpha3.ReasonReady, e.r.Spec.Name+" is served.")
}
