package apiserver

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/internal/jsonscan"
)

// selector narrows a list or watch to some records.
type selector struct {
	labels labels.Selector
	fields fields.Selector
	// values are label values without any of which no record is selected.
	values [][]byte
	// tests are what fields asks, as it is read of a stored record.
	tests []fieldTest
}

// fieldTest asks of a field that it have a value, or another one.
type fieldTest struct {
	path []string // of object members
	// condition is which one's status or reason it is; nil: the path leads to a text.
	condition *v1alpha3.ConditionField
	value     string
	equal     bool
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
	sel := selector{labels: l, fields: f}
	for _, r := range asked {
		if one := r.ValuesUnsorted(); len(one) == 1 && one[0] != "" && (r.Operator() == selection.Equals || r.Operator() == selection.DoubleEquals || r.Operator() == selection.In) {
			sel.values = append(sel.values, []byte(one[0]))
		}
	}
	for _, r := range f.Requirements() {
		if !v1alpha3.Selectable(r.Field) {
			return selector{}, apierrors.NewBadRequest(fmt.Sprintf("field label not supported: %.128s", r.Field))
		}
		test := fieldTest{path: strings.Split(r.Field, "."), value: r.Value, equal: r.Operator != selection.NotEquals}
		if c, ok := v1alpha3.ParseConditionField(r.Field); ok {
			test.path, test.condition = []string{"status", "conditions"}, &c
		}
		sel.tests = append(sel.tests, test)
	}
	return sel, nil
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
		at, err := jsonscan.Find(raw, "metadata", "labels")
		if err != nil {
			return false, fmt.Errorf("reading metadata.labels of a stored record: %w", err)
		}
		if ok, err := s.matchesLabels(raw[at.Begin:at.End]); !ok {
			return false, err
		}
	}
	for i := range s.tests {
		t := &s.tests[i]
		v, err := t.read(raw)
		if err != nil || (v == t.value) != t.equal {
			return false, err
		}
	}
	return true, nil
}

// matchesLabels is matches for the JSON of labels, which may be none. Most records are
// passed over without being decoded: a watch of one owner's sees everybody's.
func (s selector) matchesLabels(raw []byte) (bool, error) {
	if bytes.IndexByte(raw, '\\') < 0 {
		for _, value := range s.values {
			if !bytes.Contains(raw, value) {
				return false, nil
			}
		}
	}
	var l labels.Set
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &l); err != nil {
			return false, fmt.Errorf("reading metadata.labels of a stored record: %w", err)
		}
	}
	return s.labels.Matches(l), nil
}

// read returns the field's value in a stored record.
func (t *fieldTest) read(raw []byte) (v string, err error) {
	if t.condition == nil {
		err = readMember(raw, &v, t.path...)
		if v == "" && t.path[0] == "status" { // the phase
			v = string(v1alpha3.PhasePending)
		}
		return v, err
	}
	var conditions []struct{ Type, Status, Reason string }
	err = readMember(raw, &conditions, t.path...)
	for _, c := range conditions {
		if c.Type == t.condition.Type {
			if v = c.Status; t.condition.Reason {
				v = c.Reason
			}
		}
	}
	return v, err
}
