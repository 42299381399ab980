package hosts

import (
	"unique"
	"unsafe"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// FromRecord returns what the hot paths need of a record that the store holds
// at revision. Strings that many records share, of targets, owners, labels and
// annotations, are kept once in memory.
func FromRecord(r *v1alpha3.DomainRecord, revision int64) *Host {
	conditions := conditionsOf(r.Status.Conditions)
	h := &Host{
		Owner:           intern(r.Owner()),
		Revision:        revision,
		TTL:             r.EffectiveTTL(),
		Phase:           phase(r.Status.Phase),
		TLS:             r.WantsTLS(),
		Verified:        r.Verified(),
		TLSReady:        conditions.isTrue(v1alpha3.ConditionTLSReady),
		CNAMEConfigured: conditions.isTrue(v1alpha3.ConditionCNAMEConfigured),
		Ready:           conditions.isTrue(v1alpha3.ConditionReady),
		Conditions:      conditions,
		CAAForbids:      caaForbids(r),
		Labels:          internMap(r.Labels),
		Annotations:     internMap(r.Annotations),
	}
	h.Hostname = inline(h.name[:], r.Spec.Name)
	h.UID = inline(h.uid[:], string(r.UID))
	h.Name = r.Name
	if h.Name == h.Hostname {
		h.Name = h.Hostname // one copy in memory
	}
	ref := r.Spec.Target.Key()
	h.Redirect = r.Spec.Target.Redirect.DeepCopy()
	h.Target = v1alpha3.TargetKey{Group: intern(ref.Group), Kind: intern(ref.Kind), Name: intern(ref.Name)}
	return h
}

func caaForbids(r *v1alpha3.DomainRecord) bool {
	c := r.Status.Condition(v1alpha3.ConditionTLSReady)
	return c != nil && c.Reason == v1alpha3.ReasonCAAForbidden
}

// inline returns text, out of room if it fits there. The room is never written
// again.
func inline(room []byte, text string) string {
	if text == "" || len(text) > len(room) {
		return text
	}
	return unsafe.String(&room[0], copy(room, text))
}

// phase returns the constant in place of the decoded string.
func phase(p v1alpha3.Phase) v1alpha3.Phase {
	switch p {
	case "", v1alpha3.PhasePending:
		return v1alpha3.PhasePending
	case v1alpha3.PhaseIssuing:
		return v1alpha3.PhaseIssuing
	case v1alpha3.PhaseActive:
		return v1alpha3.PhaseActive
	case v1alpha3.PhaseDetached:
		return v1alpha3.PhaseDetached
	}
	return v1alpha3.Phase(intern(string(p)))
}

// internMost is the length up to which strings are shared: longer ones are
// hardly ever equal.
const internMost = 128

func intern(s string) string {
	if s == "" || len(s) > internMost {
		return s
	}
	return unique.Make(s).Value()
}

func internMap(m map[string]string) map[string]string {
	if len(m) == 0 {
		return nil
	}
	c := make(map[string]string, len(m))
	for k, v := range m {
		c[intern(k)] = intern(v)
	}
	return c
}
