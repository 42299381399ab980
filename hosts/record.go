package hosts

import (
	"strings"
	"unique"
	"unsafe"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// Values are what a Host is made of; its fields and methods of the same names say
// what they mean.
type Values struct {
	// Hostname is spec.name, and Name metadata.name: the hostname if empty.
	Hostname, Name, UID              string
	TTL                              uint32
	TLS, Verified                    bool
	TLSReady, CNAMEConfigured, Ready bool
	CAAForbids                       bool
	Conditions                       Conditions
	Reasons                          Reasons
	Phase                            v1alpha3.Phase
	Revision                         int64
	Target                           v1alpha3.TargetKey
	Redirect                         *v1alpha3.TargetRedirect
	Labels, Annotations              map[string]string
}

// Make returns the Host of these values, which shares no memory with them but the
// redirect.
func Make(v Values) *Host { return assemble(&v, newMarks(v.Labels, v.Annotations)) }

// FromRecord returns what the hot paths need of a record that the store holds
// at revision.
func FromRecord(r *v1alpha3.DomainRecord, revision int64) *Host {
	return hostOf(r, newMarks(r.Labels, r.Annotations), revision)
}

// hostOf is FromRecord with the labels and annotations packed.
func hostOf(r *v1alpha3.DomainRecord, m *marks, revision int64) *Host {
	conditions := conditionsOf(r.Status.Conditions)
	return assemble(&Values{
		Hostname:        r.Spec.Name,
		Name:            r.Name,
		UID:             string(r.UID),
		Revision:        revision,
		TTL:             r.EffectiveTTL(),
		Phase:           r.Status.Phase,
		TLS:             r.WantsTLS(),
		Verified:        r.Verified(),
		TLSReady:        conditions.isTrue(v1alpha3.ConditionTLSReady),
		CNAMEConfigured: conditions.isTrue(v1alpha3.ConditionCNAMEConfigured),
		Ready:           conditions.isTrue(v1alpha3.ConditionReady),
		Conditions:      conditions,
		Reasons:         reasonsOf(r.Status.Conditions),
		CAAForbids:      caaForbids(r),
		Target:          r.Spec.Target.Key(),
		Redirect:        r.Spec.Target.Redirect.DeepCopy(),
	}, m)
}

// assemble makes a Host of values and the marks of their labels and annotations.
func assemble(v *Values, m *marks) *Host {
	h := &Host{
		Revision:        v.Revision,
		TTL:             v.TTL,
		TLS:             v.TLS,
		Verified:        v.Verified,
		TLSReady:        v.TLSReady,
		CNAMEConfigured: v.CNAMEConfigured,
		Ready:           v.Ready,
		CAAForbids:      v.CAAForbids,
		Conditions:      v.Conditions,
		reasons:         v.Reasons,
		phase:           packPhase(v.Phase),
		target:          unique.Make(v.Target),
		marks:           m,
	}
	h.Hostname = inline(h.name[:], v.Hostname)
	more := rare{redirect: v.Redirect}
	if v.Name != v.Hostname {
		more.name = strings.Clone(v.Name)
	}
	if h.phase == phaseRare {
		more.phase = v1alpha3.Phase(strings.Clone(string(v.Phase)))
	}
	if packed, ok := packUID(v.UID); ok {
		h.uid, h.uidForm = packed, uidCompact
	} else if v.UID != "" {
		more.uid, h.uidForm = strings.Clone(v.UID), uidRare
	}
	if more != (rare{}) {
		h.rare = &more
	}
	return h
}

func caaForbids(r *v1alpha3.DomainRecord) bool {
	c := r.Status.Condition(v1alpha3.ConditionTLSReady)
	return c != nil && c.Reason == v1alpha3.ReasonCAAForbidden
}

// inline returns a copy of text, in room if it fits there. The room is never
// written again.
func inline(room []byte, text string) string {
	if text == "" || len(text) > len(room) {
		return strings.Clone(text)
	}
	return unsafe.String(&room[0], copy(room, text))
}
