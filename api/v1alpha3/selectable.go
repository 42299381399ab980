package v1alpha3

import "strings"

// The fields that a field selector may name, beside those of conditions.
const (
	FieldName       = "metadata.name"
	FieldHostname   = "spec.name"
	FieldTargetKind = "spec.target.ref.kind"
	FieldTargetName = "spec.target.ref.name"
	// FieldPhase is Pending where a record has no phase yet.
	FieldPhase = "status.phase"
)

// ConditionField is a field of a condition that a field selector may name, such as
// status.conditions.TLSReady.reason. It is empty where a record does not have the condition.
type ConditionField struct {
	// Type is one of ConditionTypes.
	Type string
	// Reason: it is the condition's reason, otherwise its status.
	Reason bool
}

const conditionFields = "status.conditions."

// ParseConditionField reads a field's name; ok is false if it is none of a condition.
func ParseConditionField(name string) (f ConditionField, ok bool) {
	rest, ok := strings.CutPrefix(name, conditionFields)
	if !ok {
		return f, false
	}
	t, member, _ := strings.Cut(rest, ".")
	if !IsConditionType(t) || member != "reason" && member != "status" {
		return f, false
	}
	return ConditionField{Type: t, Reason: member == "reason"}, true
}

// String is the field's name.
func (f ConditionField) String() string {
	if f.Reason {
		return conditionFields + f.Type + ".reason"
	}
	return conditionFields + f.Type + ".status"
}

// Selectable reports whether a field selector may name a field.
func Selectable(name string) bool {
	switch name {
	case FieldName, FieldHostname, FieldTargetKind, FieldTargetName, FieldPhase:
		return true
	}
	_, ok := ParseConditionField(name)
	return ok
}
