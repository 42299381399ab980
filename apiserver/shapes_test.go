package apiserver

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// someConfig is an apply configuration of one of many forms.
func someConfig(rnd *rand.Rand) map[string]any {
	maybe := func() bool { return rnd.IntN(2) == 0 }
	metadata := map[string]any{"name": "a.example.com"}
	for _, kind := range []string{"labels", "annotations"} {
		if maybe() {
			m := map[string]any{}
			for i := range rnd.IntN(3) {
				m[fmt.Sprintf("k%d", i)] = fmt.Sprint(rnd.IntN(3))
			}
			metadata[kind] = m
		}
	}
	if maybe() {
		metadata["finalizers"] = []any{fmt.Sprintf("example.com/f%d", rnd.IntN(3))}
	}
	spec := map[string]any{"name": "a.example.com"}
	switch rnd.IntN(3) {
	case 0:
		spec["tls"] = map[string]any{}
	case 1:
		spec["tls"] = map[string]any{"certificateAuthority": fmt.Sprint("ca", rnd.IntN(2))}
	}
	if maybe() {
		spec["ttl"] = int64(60 + rnd.IntN(2))
	}
	if maybe() {
		spec["target"] = map[string]any{"ref": map[string]any{"kind": "Gateway", "name": fmt.Sprint("g", rnd.IntN(2))}}
	} else {
		spec["target"] = map[string]any{"redirect": map[string]any{"hostname": "b.example.com", "statusCode": int64(302 - rnd.IntN(2))}}
	}
	config := map[string]any{"apiVersion": typeMeta.APIVersion, "kind": typeMeta.Kind, "metadata": metadata, "spec": spec}
	if rnd.IntN(5) == 0 {
		config["status"] = map[string]any{"phase": "Active"}
	}
	return config
}

// shown is a result without the times in it.
func shown(t *testing.T, r *v1alpha3.DomainRecord, err error) string {
	t.Helper()
	if err != nil {
		return err.Error()
	}
	out := *r
	out.ManagedFields = slices.Clone(r.ManagedFields)
	for i := range out.ManagedFields {
		out.ManagedFields[i].Time = nil
	}
	slices.SortFunc(out.ManagedFields, func(a, b metav1.ManagedFieldsEntry) int { // they stand in the order of their times
		return strings.Compare(string(a.Operation)+a.Manager, string(b.Operation)+b.Manager)
	})
	data, err := json.Marshal(&out)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestWhatIsRememberedOfFormsChangesNoResult holds creates and applies, by several
// managers one after the other, against the same without a memory.
func TestWhatIsRememberedOfFormsChangesNoResult(t *testing.T) {
	quick, err := newFieldManagers()
	if err != nil {
		t.Fatal(err)
	}
	plain := *quick
	plain.shapes = nil
	rnd := rand.New(rand.NewPCG(11, 12))
	unchanged := 0
	for range 400 {
		var live *v1alpha3.DomainRecord
		if rnd.IntN(3) == 0 {
			live = new(v1alpha3.DomainRecord)
			data, err := json.Marshal(someConfig(rnd))
			if err == nil {
				err = json.Unmarshal(data, live)
			}
			if err != nil {
				t.Fatal(err)
			}
			live.Status = v1alpha3.DomainRecordStatus{}
			other := live.DeepCopy()
			if err := quick.track(nil, live, "", "creator"); err != nil {
				t.Fatal(err)
			}
			if err := plain.track(nil, other, "", "creator"); err != nil {
				t.Fatal(err)
			}
			if live.ManagedFields[0].Time.IsZero() {
				t.Error("an entry has no time")
			}
			if got, want := shown(t, live, nil), shown(t, other, nil); got != want {
				t.Fatalf("created\n%s, want\n%s", got, want)
			}
		}
		var config map[string]any
		for range 4 {
			if config == nil || rnd.IntN(3) > 0 {
				config = someConfig(rnd)
			}
			manager := []string{"a", "b", "kubectl"}[rnd.IntN(3)]
			force := rnd.IntN(2) == 0
			a, errA := quick.apply(live.DeepCopy(), config, "", manager, force)
			b, errB := plain.apply(live.DeepCopy(), config, "", manager, force)
			if got, want := shown(t, a, errA), shown(t, b, errB); got != want {
				t.Fatalf("applied %v as %s\n%s, want\n%s", config, manager, got, want)
			}
			if errA == nil {
				if live != nil && same(live, a) {
					unchanged++
				}
				live = a
				live.Status.Phase = v1alpha3.PhaseIssuing
			}
		}
	}
	if unchanged < 20 || len(quick.shapes.of) < 20 {
		t.Errorf("%d times unchanged, %d forms: nothing was tried", unchanged, len(quick.shapes.of))
	}
}

func TestFormsAreBounded(t *testing.T) {
	var s shapes
	entry := []metav1.ManagedFieldsEntry{{Manager: "m", FieldsV1: metav1.NewFieldsV1("{}")}}
	for i := range maxShapes + 10 {
		s.put(fmt.Appendf(nil, "form %d", i), entry, "m")
	}
	if len(s.of) > maxShapes {
		t.Errorf("%d forms", len(s.of))
	}
	long := map[string]any{}
	for i := range maxShapeBytes {
		long[fmt.Sprint(i)] = "x"
	}
	if key := shapeOf(map[string]any{"metadata": long}, "m", metav1.ManagedFieldsOperationApply); key != nil {
		t.Errorf("a form of %d bytes", len(key))
	}
}
