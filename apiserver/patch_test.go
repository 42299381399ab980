package apiserver

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestPatch(t *testing.T) {
	w := newWorld(t)
	w.create("a.example.com", `"labels":{"a":"b"}`)
	path := base + "/a.example.com"
	for _, tc := range []struct {
		name, typ, path, body string
		code                  int
		reason                metav1.StatusReason
		says                  string
	}{
		{name: "a merge patch changes what it names", typ: mergeHeader, path: path, body: `{"metadata":{"labels":{"c":"d"}}}`, code: 200, says: `"labels":{"a":"b","c":"d"}`},
		{name: "a merge patch removes what is null", typ: mergeHeader, path: path, body: `{"metadata":{"labels":{"a":null}}}`, code: 200, says: `"labels":{"c":"d"}`},
		{name: "a JSON patch", typ: jsonHeader, path: path, body: `[{"op":"test","path":"/spec/name","value":"a.example.com"},{"op":"replace","path":"/spec/target/ref/name","value":"x"}]`, code: 200, says: `"name":"x"`},
		{name: "a status patch", typ: mergeHeader, path: path + "/status", body: `{"status":{"phase":"Active"}}`, code: 200, says: `"phase":"Active"`},
		{name: "the status is not changed through the record", typ: mergeHeader, path: path, body: `{"status":{"phase":"Detached"}}`, code: 200, says: `"phase":"Active"`},
		{name: "a test that fails", typ: jsonHeader, path: path, body: `[{"op":"test","path":"/spec/name","value":"b"}]`, code: 422, reason: metav1.StatusReasonInvalid},
		{name: "a path that is not there", typ: jsonHeader, path: path, body: `[{"op":"remove","path":"/spec/ttl"}]`, code: 422, reason: metav1.StatusReasonInvalid},
		{name: "an operation that is none", typ: jsonHeader, path: path, body: `[null,{"op":"burn"}]`, code: 422, reason: metav1.StatusReasonInvalid},
		{name: "a JSON patch that is no list", typ: jsonHeader, path: path, body: `{}`, code: 400, reason: metav1.StatusReasonBadRequest},
		{name: "a merge patch that is no object", typ: mergeHeader, path: path, body: `[]`, code: 400, reason: metav1.StatusReasonBadRequest},
		{name: "a merge patch that is null", typ: mergeHeader, path: path, body: `null`, code: 400, reason: metav1.StatusReasonBadRequest},
		{name: "a strategic merge patch", typ: "application/strategic-merge-patch+json", path: path, body: `{}`, code: 415, reason: metav1.StatusReasonUnsupportedMediaType},
		{name: "force without apply", typ: mergeHeader, path: path + "?force=true", body: `{}`, code: 422, reason: metav1.StatusReasonInvalid},
		{name: "a stale revision", typ: mergeHeader, path: path, body: `{"metadata":{"resourceVersion":"1"}}`, code: 409, reason: metav1.StatusReasonConflict},
		{name: "another name", typ: mergeHeader, path: path, body: `{"metadata":{"name":"b"}}`, code: 400, reason: metav1.StatusReasonBadRequest},
		{name: "another hostname", typ: mergeHeader, path: path, body: `{"spec":{"name":"b.example.com"}}`, code: 422, reason: metav1.StatusReasonInvalid, says: "spec.name"},
		{name: "an unknown field under Strict", typ: mergeHeader, path: path + "?fieldValidation=Strict", body: `{"spec":{"x":1}}`, code: 400, reason: metav1.StatusReasonBadRequest, says: `unknown field \"spec.x\"`},
		{name: "a duplicate field under Strict", typ: mergeHeader, path: path + "?fieldValidation=Strict", body: `{"spec":{"ttl":1,"ttl":2}}`, code: 400, reason: metav1.StatusReasonBadRequest, says: `duplicate field \"spec.ttl\"`},
		{name: "a value of the wrong type", typ: mergeHeader, path: path, body: `{"spec":{"ttl":"x"}}`, code: 422, reason: metav1.StatusReasonInvalid, says: "spec.ttl"},
		{name: "a record that is not there", typ: mergeHeader, path: base + "/b", body: `{}`, code: 404, reason: metav1.StatusReasonNotFound},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := w.call("PATCH", tc.path, tc.body, "Content-Type", tc.typ)
			a.t = t
			if tc.reason != "" {
				a.status(tc.code, tc.reason)
			} else {
				a.want(tc.code)
			}
			if !strings.Contains(string(a.body), tc.says) {
				t.Errorf("the answer does not say %s: %s", tc.says, a.body)
			}
		})
	}
}

func TestPatchesOfOneRecordAllGetThrough(t *testing.T) {
	w := newWorld(t)
	w.create("a.example.com")
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() {
			if a := w.merge("a.example.com", fmt.Sprintf(`{"metadata":{"labels":{"l%d":"x"}}}`, i)); a.code != 200 {
				t.Errorf("status %d: %s", a.code, a.body)
			}
		})
	}
	wg.Wait()
	if r := w.get("a.example.com"); len(r.Labels) != 30 {
		t.Errorf("%d labels arrived", len(r.Labels))
	}
}

func TestPatchCannotGrowByCopying(t *testing.T) {
	w := newWorld(t)
	w.create("a.example.com", `"annotations":{"a":"`+strings.Repeat("x", 100<<10)+`"}`)
	var ops []string
	for i := range 2000 {
		ops = append(ops, fmt.Sprintf(`{"op":"copy","from":"/metadata/annotations/a","path":"/metadata/annotations/b%d"}`, i))
	}
	w.call("PATCH", base+"/a.example.com", "["+strings.Join(ops, ",")+"]", "Content-Type", jsonHeader).
		status(422, metav1.StatusReasonInvalid)
}

func TestApply(t *testing.T) {
	w := newWorld(t)
	const path = "a.example.com"
	config := func(target string, more string) string {
		return `{"apiVersion":"core.apoxy.dev/v1alpha3","kind":"DomainRecord","metadata":{"name":"a.example.com"` + more + `},
			"spec":{"name":"A.example.com","target":{"ref":{"kind":"Gateway","name":"` + target + `"}}}}`
	}
	r := w.apply(path, config("one", `,"labels":{"a":"1"}`), "fieldManager=alice").want(201).record()
	if len(r.ManagedFields) != 1 || r.ManagedFields[0].Operation != metav1.ManagedFieldsOperationApply || r.Status.Phase != "Pending" {
		t.Fatalf("created %+v", r)
	}
	t.Run("the same again changes nothing", func(t *testing.T) {
		w.now.Add(60)
		if again := w.apply(path, config("one", `,"labels":{"a":"1"}`), "fieldManager=alice").want(200).record(); again.ResourceVersion != r.ResourceVersion {
			t.Errorf("revision moved from %s to %s", r.ResourceVersion, again.ResourceVersion)
		}
	})
	t.Run("another manager that wants another value meets a conflict", func(t *testing.T) {
		st := w.apply(path, config("two", ""), "fieldManager=bob").status(409, metav1.StatusReasonConflict)
		if len(st.Details.Causes) != 1 || st.Details.Causes[0].Type != metav1.CauseTypeFieldManagerConflict ||
			st.Details.Causes[0].Field != ".spec.target.ref.name" || !strings.Contains(st.Details.Causes[0].Message, `"alice"`) {
			t.Errorf("causes %+v", st.Details.Causes)
		}
	})
	t.Run("another manager may own the same value", func(t *testing.T) {
		if got := w.apply(path, config("one", ""), "fieldManager=carol").want(200).record(); len(got.ManagedFields) != 2 {
			t.Errorf("managers %+v", got.ManagedFields)
		}
	})
	t.Run("force takes over", func(t *testing.T) {
		got := w.apply(path, config("two", ""), "fieldManager=bob&force=true").want(200).record()
		if got.Spec.Target.Ref.Name != "two" || got.Generation != 2 || got.Labels["a"] != "1" {
			t.Errorf("applied to %+v", got)
		}
	})
	t.Run("what a manager no longer names goes", func(t *testing.T) {
		if got := w.apply(path, config("two", ""), "fieldManager=alice").want(200).record(); got.Labels["a"] != "" {
			t.Errorf("labels %v", got.Labels)
		}
	})
	t.Run("a dry run stores nothing", func(t *testing.T) {
		before := w.get(path).ResourceVersion
		w.apply(path, config("three", ""), "fieldManager=bob&force=true&dryRun=All").want(200)
		if after := w.get(path); after.ResourceVersion != before || after.Spec.Target.Ref.Name != "two" {
			t.Errorf("stored %+v", after)
		}
	})
	t.Run("conditions of two managers stand side by side", func(t *testing.T) {
		for i, typ := range []string{"Ready", "Extra"} {
			body := fmt.Sprintf(`{"metadata":{"name":"a.example.com"},"status":{"conditions":[{"type":%q,"status":"True","reason":"R","message":"","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}`, typ)
			a := w.call("PATCH", base+"/"+path+"/status?fieldManager=m"+fmt.Sprint(i), body, "Content-Type", applyHeader).want(200)
			if got := a.record(); len(got.Status.Conditions) != i+1 || got.Generation != 2 {
				t.Errorf("conditions %+v", got.Status.Conditions)
			}
		}
	})
	t.Run("unknown fields are dropped with a warning", func(t *testing.T) {
		body := `{"metadata":{"name":"a.example.com"},"spec":{"nome":"x","target":{"ref":{"kind":"Gateway","name":"two","extra":{"a":1}}}}}`
		a := w.apply(path, body, "fieldManager=dave").want(200)
		if len(a.header.Values("Warning")) == 0 || strings.Contains(string(a.body), "nome") {
			t.Errorf("warnings %q, body %s", a.header.Values("Warning"), a.body)
		}
		w.apply(path, body, "fieldManager=dave&fieldValidation=Strict").status(400, metav1.StatusReasonBadRequest)
	})
	t.Run("refused", func(t *testing.T) {
		if st := w.apply(path, config("one", ""), "").status(422, metav1.StatusReasonInvalid); causes(st) != "fieldManager" {
			t.Errorf("causes %q", causes(st))
		}
		w.apply(path, config("one", `,"managedFields":[]`), "fieldManager=x").status(400, metav1.StatusReasonBadRequest)
		w.apply(path, `{"spec":{"ttl":"x"}}`, "fieldManager=x").status(422, metav1.StatusReasonInvalid)
		w.apply(path, `[]`, "fieldManager=x").want(400)
		w.apply(path, `{"kind":"Pod"}`, "fieldManager=x").status(400, metav1.StatusReasonBadRequest)
		w.apply("b", config("one", ""), "fieldManager=x").status(400, metav1.StatusReasonBadRequest)
		w.apply("b", `{"metadata":{"name":"b","uid":"x"},"spec":{}}`, "fieldManager=x").status(409, metav1.StatusReasonConflict)
		w.apply("b", `{"metadata":{"name":"b"},"spec":{"name":"a.example.com","target":{"ref":{"kind":"Proxy","name":"p"}}}}`, "fieldManager=x").
			status(409, metav1.StatusReasonAlreadyExists)
		w.call("PATCH", base+"/b/status?fieldManager=x", `{}`, "Content-Type", applyHeader).status(404, metav1.StatusReasonNotFound)
	})
	t.Run("YAML is taken", func(t *testing.T) {
		w.apply("c", "spec:\n  name: c.example.com\n  target:\n    ref: {kind: Proxy, name: p}\n", "fieldManager=x").want(201)
	})
	t.Run("managed fields are reset by an empty entry", func(t *testing.T) {
		if got := w.merge("c", `{"metadata":{"managedFields":[{}]}}`).want(200).record(); len(got.ManagedFields) != 0 {
			t.Errorf("managers %+v", got.ManagedFields)
		}
	})
}

func TestRacingAppliesOfANewRecordAllSucceed(t *testing.T) {
	w := newWorld(t)
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			a := w.apply("a.example.com", manifest("a.example.com"), fmt.Sprintf("fieldManager=m%d", i))
			if a.code != 200 && a.code != 201 {
				t.Errorf("status %d: %s", a.code, a.body)
			}
		})
	}
	wg.Wait()
	if r := w.get("a.example.com"); len(r.ManagedFields) != 10 {
		t.Errorf("%d managers", len(r.ManagedFields))
	}
}
