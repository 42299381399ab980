package hosts

import (
	"unique"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// Host is what the hot paths know of one record, in 128 bytes. A Host in the table
// is never modified: a change replaces it. Its strings are made of its own bytes:
// who keeps one keeps the Host, so that what outlives a change takes the new one's.
type Host struct {
	// What a decision reads stands first: with the name itself it fills one
	// line of the processor's cache, so that a look-up costs one miss here.

	// Hostname is spec.name: A-labels, lower case, no final dot; a wildcard
	// begins with "*.".
	Hostname string
	// TTL is what the zone answers with, in seconds.
	TTL uint32
	// TLS: the record wants a certificate.
	TLS bool
	// Verified: the controller has established that the customer controls the
	// hostname. The only gate of serving; no client can write it.
	Verified bool
	// TLSReady, CNAMEConfigured and Ready: the conditions of those names are True.
	TLSReady, CNAMEConfigured, Ready bool
	// CAAForbids: TLSReady says that CAA records forbid every certificate.
	CAAForbids bool
	phase      phase
	uidForm    uidForm
	// Conditions holds the status of every condition, for counting.
	Conditions Conditions
	// name holds Hostname's bytes if they fit.
	name [42]byte

	// uid is the record's if uidForm says so.
	uid [16]byte
	// Revision is the store's revision of the record.
	Revision int64
	target   unique.Handle[v1alpha3.TargetKey]
	marks    *marks // labels and annotations; nil: there are none
	rare     *rare  // nil for almost every record
	// reasons holds the reason of every condition.
	reasons Reasons
	// Objects of 128 bytes begin at the beginning of a line.
	_ [4]byte
}

// rare is what few records have.
type rare struct {
	name     string // metadata.name, if it is not the hostname
	uid      string // if it is no UUID in its usual form
	phase    v1alpha3.Phase
	redirect *v1alpha3.TargetRedirect
}

// Name is metadata.name of the record, mostly its hostname.
func (h *Host) Name() string {
	if h.rare != nil && h.rare.name != "" {
		return h.rare.name
	}
	return h.Hostname
}

// UID is metadata.uid of the record. It allocates; see IsUID.
func (h *Host) UID() string {
	switch h.uidForm {
	case uidCompact:
		return uidText(h.uid)
	case uidRare:
		return h.rare.uid
	}
	return ""
}

// IsUID reports whether the record has this uid, without allocating.
func (h *Host) IsUID(uid string) bool {
	if h.uidForm == uidCompact {
		packed, ok := packUID(uid)
		return ok && packed == h.uid
	}
	return h.UID() == uid
}

// Owner is the tenant of the record, empty without the label.
func (h *Host) Owner() string {
	owner, _ := h.Label(v1alpha3.OwnerLabel)
	return owner
}

// Target is what the record points at.
func (h *Host) Target() v1alpha3.TargetKey {
	if h.target == (unique.Handle[v1alpha3.TargetKey]{}) {
		return v1alpha3.TargetKey{}
	}
	return h.target.Value()
}

// Redirect is where the record leads if it is a redirect; nil for all others. It
// must not be modified.
func (h *Host) Redirect() *v1alpha3.TargetRedirect {
	if h.rare == nil {
		return nil
	}
	return h.rare.redirect
}

// Phase of the record.
func (h *Host) Phase() v1alpha3.Phase {
	if h.phase == phaseRare {
		return h.rare.phase
	}
	return phases[h.phase]
}

// Label returns a label of the record, and whether it has it. It does not allocate.
func (h *Host) Label(key string) (string, bool) { return find(h.marks.labels(), key) }

// Annotation returns an annotation of the record, and whether it has it. It does
// not allocate.
func (h *Host) Annotation(key string) (string, bool) { return find(h.marks.annotations(), key) }

// Labels returns a copy of the record's labels, nil if it has none.
func (h *Host) Labels() map[string]string { return unpack(h.marks.labels()) }

// Annotations returns a copy of the record's annotations, nil if it has none.
func (h *Host) Annotations() map[string]string { return unpack(h.marks.annotations()) }

// Settled reports whether nothing is expected to change soon: a hint about a
// settled host is not worth a look.
func (h *Host) Settled() bool { return h.phase == phaseActive && h.Ready }

// phase is a v1alpha3.Phase in one byte.
type phase uint8

const (
	phasePending phase = iota // a record without one, too
	phaseIssuing
	phaseActive
	phaseDetached
	phaseRare // it stands in rare
)

// phases by their byte.
var phases = [...]v1alpha3.Phase{
	phasePending: v1alpha3.PhasePending, phaseIssuing: v1alpha3.PhaseIssuing,
	phaseActive: v1alpha3.PhaseActive, phaseDetached: v1alpha3.PhaseDetached,
}

func packPhase(p v1alpha3.Phase) phase {
	for i, known := range phases {
		if p == known {
			return phase(i)
		}
	}
	if p == "" {
		return phasePending
	}
	return phaseRare
}
