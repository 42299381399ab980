package apiserver

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/util/csaupgrade"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// step is one write of a sequence.
type step struct {
	by  string // "apply MANAGER", "force MANAGER", "merge MANAGER", "put MANAGER", "json MANAGER" or "migrate"
	tls string // JSON of spec.tls, "-": left out; for json the whole patch
}

// switchConfig is a configuration of a.example.com with spec.tls.
func switchConfig(tls string) string {
	if tls != "-" {
		tls = `"tls":` + tls + `,`
	} else {
		tls = ""
	}
	return `{"apiVersion":"core.apoxy.dev/v1alpha3","kind":"DomainRecord","metadata":{"name":"a.example.com"},
		"spec":{` + tls + `"name":"a.example.com","target":{"ref":{"kind":"Gateway","name":"default"}}}}`
}

// take does a step.
func (w *world) take(s step) *answer {
	w.t.Helper()
	const path = base + "/a.example.com"
	how, manager, _ := strings.Cut(s.by, " ")
	query := "?fieldManager=" + manager
	switch how {
	case "post":
		return w.call("POST", base+query, switchConfig(s.tls))
	case "apply":
		return w.call("PATCH", path+query, switchConfig(s.tls), "Content-Type", applyHeader)
	case "force":
		return w.call("PATCH", path+query+"&force=true", switchConfig(s.tls), "Content-Type", applyHeader)
	case "merge":
		return w.call("PATCH", path+query, `{"spec":{"tls":`+s.tls+`}}`, "Content-Type", mergeHeader)
	case "json":
		return w.call("PATCH", path+query, s.tls, "Content-Type", jsonHeader)
	case "put":
		body := strings.Replace(switchConfig(s.tls), `"metadata":{`, `"metadata":{"resourceVersion":"`+w.get("a.example.com").ResourceVersion+`",`, 1)
		return w.call("PUT", path+query, body)
	case "migrate": // as kubectl apply --server-side does it
		patch, err := csaupgrade.UpgradeManagedFieldsPatch(w.get("a.example.com"), sets.New("kubectl-client-side-apply"), "kubectl")
		if err != nil {
			w.t.Fatal(err)
		}
		return w.call("PATCH", path, string(patch), "Content-Type", jsonHeader)
	}
	w.t.Fatalf("no such step: %s", how)
	return nil
}

// owners are the managers with what each owns at spec.tls.
func owners(t *testing.T, r *v1alpha3.DomainRecord) string {
	t.Helper()
	var list []string
	for _, e := range r.ManagedFields {
		var fields struct {
			Spec map[string]json.RawMessage `json:"f:spec"`
		}
		if err := json.Unmarshal(e.FieldsV1.GetRawBytes(), &fields); err != nil {
			t.Fatal(err)
		}
		if tls, ok := fields.Spec["f:tls"]; ok {
			list = append(list, e.Manager+string(tls))
		}
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

// An object whose presence decides stays while anybody owns it, and goes with the
// last: whoever writes in whatever order.
func TestSwitchesStayWhileSomebodyOwnsThem(t *testing.T) {
	const (
		ca  = `{"certificateAuthority":"x"}`
		off = `{"disabled":true}`
	)
	for _, tc := range []struct {
		is     string
		steps  []step
		want   string // spec.tls as it is served, "-": not there
		owners string
	}{
		{"one manager, from an authority to empty", []step{{"apply a", ca}, {"apply a", `{}`}}, `{}`, `a{}`},
		{"one manager, from disabled to empty", []step{{"apply a", off}, {"apply a", `{}`}}, `{}`, `a{}`},
		{"one manager, forced", []step{{"force a", off}, {"force a", `{}`}}, `{}`, `a{}`},
		{"one manager, from empty to an authority and back", []step{{"apply a", `{}`}, {"apply a", ca}, {"apply a", `{}`}}, `{}`, `a{}`},
		{"one manager, the same again", []step{{"apply a", ca}, {"apply a", `{}`}, {"apply a", `{}`}, {"apply a", `{}`}}, `{}`, `a{}`},
		{"one manager leaves", []step{{"apply a", ca}, {"apply a", `{}`}, {"apply a", `-`}}, `-`, ``},
		{"one manager leaves with what is in it", []step{{"apply a", ca}, {"apply a", `-`}}, `-`, ``},
		{"one manager leaves and comes back", []step{{"apply a", ca}, {"apply a", `-`}, {"apply a", `{}`}}, `{}`, `a{}`},

		{"two: the one with an authority leaves", []step{{"apply a", ca}, {"apply b", `{}`}, {"apply a", `-`}}, `{}`, `b{}`},
		{"two: the one with an authority empties it", []step{{"apply a", ca}, {"apply b", `{}`}, {"apply a", `{}`}}, `{}`, `a{} b{}`},
		{"two: the empty one leaves", []step{{"apply a", ca}, {"apply b", `{}`}, {"apply b", `-`}}, ca, `a{"f:certificateAuthority":{}}`},
		{"two: the empty one was first", []step{{"apply a", `{}`}, {"apply b", ca}, {"apply b", `-`}}, `{}`, `a{}`},
		{"two: the empty one was first and leaves", []step{{"apply a", `{}`}, {"apply b", ca}, {"apply a", `-`}}, ca, `b{"f:certificateAuthority":{}}`},
		{"two: each with a field of its own, one empties", []step{{"apply a", ca}, {"apply b", `{"disabled":false}`}, {"apply a", `{}`}}, `{"disabled":false}`, `a{} b{"f:disabled":{}}`},
		{"two: each with a field of its own, one leaves, one empties", []step{{"apply a", ca}, {"apply b", `{"disabled":false}`}, {"apply a", `-`}, {"apply b", `{}`}}, `{}`, `b{}`},
		{"two: both empty, one leaves", []step{{"apply a", `{}`}, {"apply b", `{}`}, {"apply a", `-`}}, `{}`, `b{}`},
		{"two: both leave", []step{{"apply a", ca}, {"apply b", `{}`}, {"apply a", `-`}, {"apply b", `-`}}, `-`, ``},
		{"two: the same authority, one empties", []step{{"apply a", ca}, {"apply b", ca}, {"apply a", `{}`}}, ca, `a{} b{"f:certificateAuthority":{}}`},
		{"two: the same authority, both empty", []step{{"apply a", ca}, {"apply b", ca}, {"apply a", `{}`}, {"apply b", `{}`}}, `{}`, `a{} b{}`},
		{"two: forced to another value, which then leaves", []step{{"apply a", ca}, {"force b", `{"certificateAuthority":"y"}`}, {"apply b", `-`}}, `{}`, `a{}`},
		{"two: forced to another value, which empties", []step{{"apply a", ca}, {"force b", `{"certificateAuthority":"y"}`}, {"force b", `{}`}}, `{}`, `a{} b{}`},
		{"three: two leave", []step{{"apply a", ca}, {"apply b", off}, {"apply c", `{}`}, {"apply a", `-`}, {"apply b", `-`}}, `{}`, `c{}`},

		{"created by POST, applied empty", []step{{"post u", ca}, {"apply a", `{}`}}, ca, `a{} u{".":{},"f:certificateAuthority":{}}`},
		{"created by POST, an applier of the same leaves", []step{{"post u", ca}, {"apply a", ca}, {"apply a", `-`}}, ca, `u{".":{},"f:certificateAuthority":{}}`},
		{"created empty by POST, an applier with an authority leaves", []step{{"post u", `{}`}, {"apply a", ca}, {"apply a", `-`}}, `{}`, `u{}`},
		{"created empty by POST, an applier with an authority empties", []step{{"post u", `{}`}, {"apply a", ca}, {"apply a", `{}`}}, `{}`, `a{} u{}`},
		{"PUT over an applied one", []step{{"apply a", `{}`}, {"put u", ca}, {"apply a", `{}`}}, ca, `a{} u{"f:certificateAuthority":{}}`},
		{"PUT takes the value of an applier, who empties", []step{{"apply a", ca}, {"put u", `{"certificateAuthority":"y"}`}, {"apply a", `{}`}}, `{"certificateAuthority":"y"}`, `a{} u{"f:certificateAuthority":{}}`},
		{"PUT empties what is applied", []step{{"apply a", ca}, {"put u", `{}`}}, `{}`, `a{}`},
		{"PUT takes an applied one away", []step{{"apply a", `{}`}, {"put u", `-`}}, `-`, ``},
		{"a merge patch of null takes it away", []step{{"apply a", ca}, {"apply b", `{}`}, {"merge u", `null`}}, `-`, ``},
		{"a merge patch of null takes an empty one away", []step{{"apply a", `{}`}, {"merge u", `null`}}, `-`, ``},
		{"a merge patch takes what is in it away", []step{{"apply a", ca}, {"merge u", `{"certificateAuthority":null}`}}, `{}`, `a{}`},
		{"a JSON patch removes it", []step{{"apply a", `{}`}, {"json u", `[{"op":"remove","path":"/spec/tls"}]`}}, `-`, ``},
		{"a JSON patch empties it", []step{{"apply a", ca}, {"json u", `[{"op":"replace","path":"/spec/tls","value":{}}]`}}, `{}`, `a{}`},
		{"removed and applied again", []step{{"apply a", ca}, {"merge u", `null`}, {"apply a", `{}`}}, `{}`, `a{}`},
		{"a merge patch adds an authority, the applier leaves", []step{{"apply a", `{}`}, {"merge u", ca}, {"apply a", `-`}}, ca, `u{"f:certificateAuthority":{}}`},

		{"client-side to server-side apply, migrated before", []step{{"post kubectl-client-side-apply", ca}, {"migrate", ""}, {"apply kubectl", `{}`}}, `{}`, `kubectl{}`},
		{"client-side to server-side apply, migrated after", []step{{"post kubectl-client-side-apply", ca}, {"apply kubectl", `{}`}, {"migrate", ""}, {"apply kubectl", `{}`}}, `{}`, `kubectl{}`},
		{"client-side to server-side apply, disabled before", []step{{"post kubectl-client-side-apply", off}, {"apply kubectl", `{}`}, {"migrate", ""}, {"apply kubectl", `{}`}}, `{}`, `kubectl{}`},
		{"client-side to server-side apply of an empty one", []step{{"post kubectl-client-side-apply", `{}`}, {"apply kubectl", `{}`}, {"migrate", ""}, {"apply kubectl", `{}`}}, `{}`, `kubectl{}`},
		{"client-side to server-side apply that leaves it out", []step{{"post kubectl-client-side-apply", ca}, {"apply kubectl", `-`}, {"migrate", ""}, {"apply kubectl", `-`}}, `-`, ``},
		{"client-side to server-side apply beside another manager", []step{{"post kubectl-client-side-apply", ca}, {"apply b", `{}`}, {"apply kubectl", `-`}, {"migrate", ""}, {"apply kubectl", `-`}}, `{}`, `b{}`},
	} {
		t.Run(tc.is, func(t *testing.T) {
			w := newWorld(t)
			w.t = t
			for i, s := range tc.steps {
				if a := w.take(s); a.code != 200 && a.code != 201 {
					t.Fatalf("step %d: status %d: %s", i+1, a.code, a.body)
				} else if strings.Contains(string(a.body), mark) {
					t.Fatalf("step %d shows the mark: %s", i+1, a.body)
				}
			}
			w.servesTLS(t, tc.want)
			if got := owners(t, w.get("a.example.com")); got != tc.owners {
				t.Errorf("owned by %s, want %s", got, tc.owners)
			}
			last := tc.steps[len(tc.steps)-1]
			before := w.get("a.example.com").ResourceVersion
			if how, _, _ := strings.Cut(last.by, " "); how == "apply" || how == "force" {
				w.take(last).want(200)
				if after := w.get("a.example.com").ResourceVersion; after != before {
					t.Error("the last step again is a change")
				}
			}
			w.usable(t, "a.example.com")
		})
	}
}

// servesTLS holds the spec.tls that is served against JSON.
func (w *world) servesTLS(t *testing.T, want string) {
	t.Helper()
	var served struct{ Spec map[string]json.RawMessage }
	w.call("GET", base+"/a.example.com", "").want(200).into(&served)
	got, ok := served.Spec["tls"]
	if !ok {
		got = json.RawMessage(`-`)
	}
	if string(got) != want {
		t.Errorf("spec.tls is %s, want %s", got, want)
	}
}

func TestSwitchesInConflict(t *testing.T) {
	w := newWorld(t)
	w.take(step{"apply a", `{"certificateAuthority":"x"}`}).want(201)
	st := w.take(step{"apply b", `{"certificateAuthority":"y"}`}).status(409, metav1.StatusReasonConflict)
	if got := causes(st); got != ".spec.tls.certificateAuthority" {
		t.Errorf("the conflict is over %s", got)
	}
	// Managed fields from a client may claim what is not there.
	w.take(step{"apply a", `-`}).want(200)
	w.merge("a.example.com", `{"metadata":{"managedFields":[`+entry("manager", `"liar"`, "operation", `"Apply"`,
		"fieldsV1", `{"f:spec":{"f:tls":{"f:`+mark+`":{},"f:certificateAuthority":{}}}}`)+`]}}`).want(200)
	if a := w.take(step{"force a", `{}`}).want(200); strings.Contains(string(a.body), mark) {
		t.Errorf("the mark is shown: %s", a.body)
	}
	w.servesTLS(t, `{}`)
}

// kubectl's annotation, which the merge writes, holds what was applied and no mark.
func TestServerSideApplyKeepsTheAnnotationOfKubectl(t *testing.T) {
	w := newWorld(t)
	w.create("a.example.com", `"annotations":{"`+lastApplied+`":"{}"}`)
	r := w.take(step{"apply kubectl", `{}`}).want(200).record()
	if text := r.Annotations[lastApplied]; strings.Contains(text, mark) || !strings.Contains(text, `"tls":{}`) {
		t.Errorf("the annotation is %s", text)
	}
}

// Every optional object of the spec is a Switch, and every Switch is in the types.
func TestEverySwitchIsListed(t *testing.T) {
	var found []string
	var walk func(typ reflect.Type, path string)
	walk = func(typ reflect.Type, path string) {
		for f := range typ.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			at, elem := path+"."+name, f.Type
			if elem.Kind() == reflect.Pointer {
				elem = elem.Elem()
			}
			if elem.Kind() == reflect.Struct {
				found = append(found, at)
				walk(elem, at)
			}
		}
	}
	walk(reflect.TypeFor[v1alpha3.DomainRecordSpec](), "spec")
	var listed []string
	for _, s := range v1alpha3.Switches() {
		listed = append(listed, strings.Join(s.Path, "."))
	}
	slices.Sort(found)
	slices.Sort(listed)
	if fmt.Sprint(found) != fmt.Sprint(listed) {
		t.Errorf("the spec has the objects %v, and the switches are %v", found, listed)
	}
}
