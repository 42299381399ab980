package apiserver

import (
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
)

// The fields that a field selector may name.
const (
	fieldName       = "metadata.name"
	fieldHostname   = "spec.name"
	fieldTargetKind = "spec.target.ref.kind"
	fieldTargetName = "spec.target.ref.name"
)

// selector narrows a list or watch to some records.
type selector struct {
	labels labels.Selector
	fields fields.Selector
}

func parseSelector(labelSelector, fieldSelector string) (selector, error) {
	for name, s := range map[string]string{"labelSelector": labelSelector, "fieldSelector": fieldSelector} {
		if len(s) > maxSelector {
			return selector{}, apierrors.NewBadRequest(fmt.Sprintf("%s has %d bytes: it may have %d", name, len(s), maxSelector))
		}
	}
	l, err := labels.Parse(labelSelector)
	if err != nil {
		return selector{}, apierrors.NewBadRequest("parsing labelSelector: " + err.Error())
	}
	f, err := fields.ParseSelector(fieldSelector)
	if err != nil {
		return selector{}, apierrors.NewBadRequest("parsing fieldSelector: " + err.Error())
	}
	asked, _ := l.Requirements()
	if n := max(len(asked), len(f.Requirements())); n > maxRequirements {
		return selector{}, apierrors.NewBadRequest(fmt.Sprintf("a selector of %d requirements: it may have %d", n, maxRequirements))
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

// The bounds on a selector: its length in bytes and its requirements, against
// each of which a list holds every record.
const (
	maxSelector     = 32 << 10
	maxRequirements = 100
)

// everything reports whether nothing is left out.
func (s selector) everything() bool { return s.labels.Empty() && s.fields.Empty() }

// exact returns the value that the selector asks of a field.
func (s selector) exact(name string) (string, bool) { return s.fields.RequiresExactMatch(name) }

// matches reports whether a stored record is selected; what is not there (nil)
// is not. Only what the selector asks for is looked at: a scan passes over
// every record there is.
func (s selector) matches(raw []byte) (bool, error) {
	if raw == nil {
		return false, nil
	}
	if !s.labels.Empty() {
		var l labels.Set
		if err := readMember(raw, &l, "metadata", "labels"); err != nil {
			return false, err
		}
		if !s.labels.Matches(l) {
			return false, nil
		}
	}
	for _, r := range s.fields.Requirements() {
		var v string
		if err := readMember(raw, &v, strings.Split(r.Field, ".")...); err != nil {
			return false, err
		}
		if (v == r.Value) == (r.Operator == selection.NotEquals) {
			return false, nil
		}
	}
	return true, nil
}
