package controller

import (
	"fmt"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// Names of the events that tell of transitions.
const (
	EventConditionChanged = "apoxy.condition_changed"
	EventPhaseChanged     = "apoxy.phase_changed"
	EventRecordDeleted    = "apoxy.record_deleted"
)

// Transition is one change of a record that others may want to hear of.
type Transition struct {
	// Event is the name of the event that tells of it: what it is a change of.
	Event string
	// Name and Hostname are those of the record.
	Name, Hostname string
	// Type is the condition's, Phase for a phase, empty for a deletion.
	Type string
	// From and To are the condition's status or the phase; empty where there
	// was or is none.
	From, To string
	// Reason and Message are the condition's; for a phase those of
	// OwnershipVerified.
	Reason, Message string
	// Record is the record after the change, or as it was before its deletion, and
	// Revision that of the store; nil and 0: not known. It must not be kept nor
	// modified: what it points to is the controller's.
	Record   *v1alpha3.DomainRecord
	Revision int64
	// Once, if not empty, is the same for all that tell of the same change, as nodes
	// of a cluster do.
	Once string
}

// errGone: the record was deleted.
var errGone = fmt.Errorf("the record was deleted: %w", store.ErrNotFound)

// tell reports what has changed from before to the record's status.
func (c *Controller) tell(v *version, before *v1alpha3.DomainRecordStatus) {
	for _, t := range transitions(v.record, before) {
		t.Record, t.Revision = v.record, v.written
		c.cfg.OnTransition(t)
	}
}

func transitions(r *v1alpha3.DomainRecord, before *v1alpha3.DomainRecordStatus) []Transition {
	now := &r.Status
	t := Transition{Event: EventConditionChanged, Name: r.Name, Hostname: r.Spec.Name}
	var out []Transition
	for _, n := range now.Conditions {
		from := ""
		if b := before.Condition(n.Type); b != nil {
			from = string(b.Status)
		}
		if from != string(n.Status) {
			t.Type, t.From, t.To, t.Reason, t.Message = n.Type, from, string(n.Status), n.Reason, n.Message
			out = append(out, t)
		}
	}
	for _, b := range before.Conditions {
		if now.Condition(b.Type) == nil {
			t.Type, t.From, t.To, t.Reason, t.Message = b.Type, string(b.Status), "", "", ""
			out = append(out, t)
		}
	}
	if before.Phase != now.Phase {
		t.Event, t.Type, t.From, t.To = EventPhaseChanged, "Phase", string(before.Phase), string(now.Phase)
		t.Reason, t.Message = "", ""
		if o := now.Condition(v1alpha3.ConditionOwnershipVerified); o != nil {
			t.Reason, t.Message = o.Reason, o.Message
		}
		out = append(out, t)
	}
	return out
}
