package ownership

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// One list says in which order everything is decided, and each condition and each
// field of decisions has exactly one step.
func TestEveryDecisionHasOneStep(t *testing.T) {
	var conditions, decides []string
	for i, s := range chain {
		switch {
		case (s.by != nil) != (s.decides != ""), (s.says != nil) != (s.condition != ""), (s.by != nil) == (s.says != nil):
			t.Errorf("step %d gives not exactly one decision: %+v", i, s)
		case s.condition != "":
			conditions = append(conditions, s.condition)
		default:
			decides = append(decides, s.decides)
		}
	}
	if want := v1alpha3.ConditionTypes(); !slices.Equal(conditions, want) {
		t.Errorf("the chain gives the conditions %v, want %v", conditions, want)
	}
	var fields []string
	for f := range reflect.TypeFor[decisions]().NumField() {
		if name := reflect.TypeFor[decisions]().Field(f).Name; name != "conditions" {
			fields = append(fields, name)
		}
	}
	if !slices.Equal(decides, fields) {
		t.Errorf("the chain decides %v, want the fields of decisions in their order, %v", decides, fields)
	}
}

// checkSteps takes the steps one by one and checks that each changes nothing but
// what it is named for. It is part of every look that these tests take.
func checkSteps(t *testing.T, in Input) {
	t.Helper()
	input := written(t, in)
	before := &evaluation{facts: factsOf(in)}
	for i, s := range chain {
		after := &evaluation{facts: factsOf(in)} // anew, so that they share nothing
		for _, s := range chain[:i+1] {
			after.run(s)
		}
		if !reflect.DeepEqual(after.facts, factsOf(in)) {
			t.Errorf("step %d, %s%s, changes facts", i, s.decides, s.condition)
		}
		for _, name := range changed(&before.decisions, &after.decisions) {
			if name != s.decides && (s.condition == "" || name != "conditions") {
				t.Errorf("step %d, %s%s, changes %s", i, s.decides, s.condition, name)
			}
		}
		n := len(before.conditions)
		if more := after.conditions[n:]; !reflect.DeepEqual(before.conditions, after.conditions[:n:n]) && n > 0 ||
			len(more) > 1 || len(more) == 1 && more[0].Type != s.condition {
			t.Errorf("step %d, %s%s, makes of the conditions %v these: %v", i, s.decides, s.condition, before.conditions, after.conditions)
		}
		before = after
	}
	if now := written(t, in); now != input {
		t.Errorf("the steps change their input from\n%s\nto\n%s", input, now)
	}
}

// changed names the fields that differ.
func changed(a, b *decisions) (names []string) {
	field := func(d *decisions, i int) any { // not exported, so read by its place
		f := reflect.ValueOf(d).Elem().Field(i)
		return reflect.NewAt(f.Type(), f.Addr().UnsafePointer()).Elem().Interface()
	}
	for i := range reflect.TypeFor[decisions]().NumField() {
		if !reflect.DeepEqual(field(a, i), field(b, i)) {
			names = append(names, reflect.TypeFor[decisions]().Field(i).Name)
		}
	}
	return names
}

// written is an input in full.
func written(t *testing.T, in Input) string {
	record, err := json.Marshal(in.Record)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s %+v %+v", record, in.Observations, in.Settings)
}
