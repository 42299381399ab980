package apiserver

import (
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	kjson "sigs.k8s.io/json"
)

// The fields that a field selector may name.
const (
	fieldName       = "metadata.name"
	fieldHostname   = "spec.name"
	fieldTargetKind = "spec.target.ref.kind"
	fieldTargetName = "spec.target.ref.name"
)

var selectableFields = []string{fieldHostname, fieldTargetKind, fieldTargetName}

// selector narrows a list or watch to some records.
type selector struct {
	labels labels.Selector
	fields fields.Selector
}

func parseSelector(labelSelector, fieldSelector string) (selector, error) {
	l, err := labels.Parse(labelSelector)
	if err != nil {
		return selector{}, apierrors.NewBadRequest("parsing labelSelector: " + err.Error())
	}
	f, err := fields.ParseSelector(fieldSelector)
	if err != nil {
		return selector{}, apierrors.NewBadRequest("parsing fieldSelector: " + err.Error())
	}
	for _, r := range f.Requirements() {
		switch r.Field {
		case fieldName, fieldHostname, fieldTargetKind, fieldTargetName:
		default:
			return selector{}, apierrors.NewBadRequest(fmt.Sprintf("field label not supported: %.128s", r.Field))
		}
	}
	return selector{labels: l, fields: f}, nil
}

// everything reports whether nothing is left out.
func (s selector) everything() bool { return s.labels.Empty() && s.fields.Empty() }

// exact returns the value that the selector asks of a field.
func (s selector) exact(name string) (string, bool) { return s.fields.RequiresExactMatch(name) }

// selectable is the part of a record that selectors look at.
type selectable struct {
	Metadata struct {
		Name   string            `json:"name"`
		Labels map[string]string `json:"labels"`
	} `json:"metadata"`
	Spec struct {
		Name   string `json:"name"`
		Target struct {
			Ref struct {
				Kind string `json:"kind"`
				Name string `json:"name"`
			} `json:"ref"`
		} `json:"target"`
	} `json:"spec"`
}

// matches reports whether a stored record is selected; what is not there (nil)
// is not.
func (s selector) matches(raw []byte) (bool, error) {
	if raw == nil {
		return false, nil
	}
	if s.everything() {
		return true, nil
	}
	var r selectable
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &r); err != nil {
		return false, fmt.Errorf("decoding a stored record: %w", err)
	}
	return s.labels.Matches(labels.Set(r.Metadata.Labels)) && s.fields.Matches(fields.Set{
		fieldName:       r.Metadata.Name,
		fieldHostname:   r.Spec.Name,
		fieldTargetKind: r.Spec.Target.Ref.Kind,
		fieldTargetName: r.Spec.Target.Ref.Name,
	}), nil
}
