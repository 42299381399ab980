package apiserver

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// nullSpecs are the specs with null where presence decides, by the field that is
// named and a part of the mend.
var nullSpecs = []struct{ is, spec, yaml, field, mend string }{
	{"tls", `{"name":"a.example.com","tls":null,"target":{"ref":{"kind":"Gateway","name":"default"}}}`,
		"  tls:\n  target: {ref: {kind: Gateway, name: default}}\n", "spec.tls", "tls: {}"},
	{"tls with a tilde", `{"name":"a.example.com","tls": null ,"target":{"ref":{"kind":"Gateway","name":"default"}}}`,
		"  tls: ~\n  target: {ref: {kind: Gateway, name: default}}\n", "spec.tls", "leave tls out"},
	{"target", `{"name":"a.example.com","tls":{},"target":null}`,
		"  tls: {}\n  target:\n", "spec.target", "target: {ref:"},
	{"target.ref", `{"name":"a.example.com","tls":{},"target":{"ref":null}}`,
		"  tls: {}\n  target: {ref: null}\n", "spec.target.ref", "ref: {kind: Gateway"},
}

func TestNullIsRefusedWherePresenceDecides(t *testing.T) {
	for _, tc := range nullSpecs {
		t.Run(tc.is, func(t *testing.T) {
			w := newWorld(t)
			w.t = t
			const path = base + "/a.example.com"
			inJSON := func(metadata string) string {
				return `{"apiVersion":"core.apoxy.dev/v1alpha3","kind":"DomainRecord","metadata":{` + metadata + `},"spec":` + tc.spec + `}`
			}
			inYAML := func(metadata string) string {
				return "apiVersion: core.apoxy.dev/v1alpha3\nkind: DomainRecord\nmetadata: {" + metadata + "}\nspec:\n  name: a.example.com\n" + tc.yaml
			}
			refused := func(how string, a *answer) {
				t.Helper()
				st := a.status(422, metav1.StatusReasonInvalid)
				if causes(st) != tc.field || !strings.Contains(st.Message, tc.mend) {
					t.Errorf("%s: the answer names %q and says %s", how, causes(st), st.Message)
				}
			}
			yaml := []string{"Content-Type", typeYAML}
			refused("POST", w.call("POST", base, inJSON("")))
			refused("POST of YAML", w.call("POST", base, inYAML(""), yaml...))
			refused("POST without validation", w.call("POST", base+"?fieldValidation=Ignore", inJSON("")))
			refused("apply of a new one", w.apply("a.example.com", inJSON(""), "fieldManager=a&force=true"))
			refused("apply of a new one in YAML", w.apply("a.example.com", inYAML(""), "fieldManager=a"))
			w.call("GET", path, "").want(404)

			live := w.create("a.example.com")
			rv := `"resourceVersion":"` + live.ResourceVersion + `"`
			refused("PUT", w.call("PUT", path, inJSON(rv)))
			refused("PUT of YAML", w.call("PUT", path, inYAML(strings.Replace(strings.ReplaceAll(rv, `"`, ``), ":", `: "`, 1)+`"`), yaml...))
			refused("a dry run", w.call("PUT", path+"?dryRun=All", inJSON(rv)))
			refused("apply", w.apply("a.example.com", inJSON(""), "fieldManager=a"))
			refused("apply in YAML", w.apply("a.example.com", inYAML(""), "fieldManager=a"))
			pointer := "/" + strings.ReplaceAll(tc.field, ".", "/")
			for _, ops := range []string{
				`{"op":"add","path":"` + pointer + `","value":null}`,
				`{"op":"replace","path":"` + pointer + `","value":null}`,
				`{"op":"replace","path":"` + pointer + `"}`,
				`{"op":"replace","path":"/spec","value":` + tc.spec + `}`,
				`{"op":"add","path":"/spec/target/x","value":null},{"op":"copy","from":"/spec/target/x","path":"` + pointer + `"}`,
			} {
				refused(ops, w.call("PATCH", path, "["+ops+"]", "Content-Type", jsonHeader))
			}
			manifest, err := json.Marshal(inJSON(""))
			if err != nil {
				t.Fatal(err)
			}
			applied := `"annotations":{"` + lastApplied + `":` + string(manifest) + `}`
			refused("client-side apply", w.merge("a.example.com", `{"metadata":{`+applied+`},"spec":{"tls":null}}`))
			refused("client-side apply that changes nothing else", w.merge("a.example.com", `{"metadata":{`+applied+`}}`))
			// kubectl leaves null out of what it creates.
			refused("client-side apply of a new one", w.call("POST", base, strings.Replace(
				`{"metadata":{`+applied+`},"spec":{"name":"b.example.com","target":{"ref":{"kind":"Gateway","name":"default"}}}}`, "a.example.com", "b.example.com", 1)))
			if after := w.get("a.example.com"); after.ResourceVersion != live.ResourceVersion || after.Spec.TLS == nil {
				t.Errorf("the record is %+v", after.Spec)
			}
		})
	}
}

// What removes goes on removing.
func TestNullThatRemoves(t *testing.T) {
	w := newWorld(t)
	const path = base + "/a.example.com"
	w.create("a.example.com")
	turnOn := func() { w.merge("a.example.com", `{"spec":{"tls":{}}}`).want(200) }
	without, err := json.Marshal(switchConfig("-"))
	if err != nil {
		t.Fatal(err)
	}
	for is, do := range map[string]func() *answer{
		"a merge patch": func() *answer { return w.merge("a.example.com", `{"spec":{"tls":null}}`) },
		"client-side apply of a manifest that leaves it out": func() *answer {
			return w.merge("a.example.com", `{"metadata":{"annotations":{"`+lastApplied+`":`+string(without)+`}},"spec":{"tls":null}}`)
		},
		"a JSON patch": func() *answer {
			return w.call("PATCH", path, `[{"op":"remove","path":"/spec/tls"}]`, "Content-Type", jsonHeader)
		},
		"a JSON patch by way of null": func() *answer {
			return w.call("PATCH", path, `[{"op":"replace","path":"/spec/tls","value":null},{"op":"remove","path":"/spec/tls"}]`, "Content-Type", jsonHeader)
		},
	} {
		turnOn()
		if a := do(); a.code != 200 || a.record().Spec.TLS != nil {
			t.Errorf("%s: %d %s", is, a.code, a.body)
		}
	}
	turnOn()
	st := w.merge("a.example.com", `{"spec":{"target":null}}`).status(422, metav1.StatusReasonInvalid)
	if causes(st) != "spec.target.ref" {
		t.Errorf("without a target: %s", st.Message)
	}
	// A status is no place for a spec, so that what stands there says nothing.
	w.call("PATCH", path+"/status", `[{"op":"add","path":"/spec/tls","value":null}]`, "Content-Type", jsonHeader).want(200)
	w.call("PATCH", path+"/status?fieldManager=s", `{"spec":{"tls":null},"status":{"phase":"Active"}}`, "Content-Type", applyHeader).want(200)
	if w.get("a.example.com").Spec.TLS == nil {
		t.Error("a write to the status turned TLS off")
	}
}

// A null of any other field names nothing: nobody owns what is not there.
func TestAppliedNullIsNotOwned(t *testing.T) {
	w := newWorld(t)
	r := w.apply("a.example.com", `{"metadata":{"labels":null,"finalizers":null},"spec":{"name":"a.example.com","ttl":null,
		"tls":{"certificateAuthority":null,"disabled":null},"target":{"ref":{"group":null,"kind":"Gateway","name":"default"}}},"status":null}`,
		"fieldManager=a").want(201).record()
	const owned = `{"f:spec":{"f:name":{},"f:target":{"f:ref":{"f:kind":{},"f:name":{}}},"f:tls":{}}}`
	if got := r.ManagedFields[0].FieldsV1.GetRawString(); got != owned {
		t.Errorf("owned is %s, want %s", got, owned)
	}
	w.servesTLS(t, `{}`)
	// An applied null is what is not applied any more.
	w.apply("a.example.com", `{"spec":{"name":"a.example.com","ttl":60,"tls":{},"target":{"ref":{"kind":"Gateway","name":"default"}}}}`, "fieldManager=a").want(200)
	if got := w.apply("a.example.com", `{"spec":{"name":"a.example.com","ttl":null,"tls":{},"target":{"ref":{"kind":"Gateway","name":"default"}}}}`, "fieldManager=a").
		want(200).record(); got.Spec.TTL != nil || got.ManagedFields[0].FieldsV1.GetRawString() != owned {
		t.Errorf("after null: %+v, owned %s", got.Spec.TTL, got.ManagedFields[0].FieldsV1.GetRawString())
	}
}

// What a client wrote is stored and served as it was written, by every verb, and
// written again it is no change.
func TestExplicitValuesAreKept(t *testing.T) {
	const path = base + "/a.example.com"
	for _, spec := range []string{
		`{"name":"a.example.com","tls":{"disabled":false},"target":{"ref":{"group":"","kind":"Gateway","name":"default"}}}`,
		`{"name":"a.example.com","ttl":0,"tls":{"certificateAuthority":"","disabled":true},"target":{"ref":{"kind":"Gateway","name":"default"}}}`,
		`{"name":"a.example.com","tls":{"certificateAuthority":""},"target":{"ref":{"group":"x.dev","kind":"Gateway","name":"default"}}}`,
		`{"name":"a.example.com","tls":{},"target":{"ref":{"kind":"Gateway","name":"default"}}}`,
		`{"name":"a.example.com","target":{"ref":{"kind":"Gateway","name":"default"}}}`,
	} {
		whole := func(rv string) string {
			return `{"metadata":{"name":"a.example.com","resourceVersion":"` + rv + `"},"spec":` + spec + `}`
		}
		for how, write := range map[string][2]func(w *world) *answer{
			"POST, then PUT": {
				func(w *world) *answer { return w.call("POST", base, `{"spec":`+spec+`}`) },
				func(w *world) *answer { return w.call("PUT", path, whole(w.get("a.example.com").ResourceVersion)) }},
			"PUT": {
				func(w *world) *answer { return w.call("PUT", path, whole(w.create("a.example.com").ResourceVersion)) },
				func(w *world) *answer { return w.call("PUT", path, whole(w.get("a.example.com").ResourceVersion)) }},
			"a JSON patch": {
				func(w *world) *answer {
					w.create("a.example.com")
					return w.call("PATCH", path, `[{"op":"replace","path":"/spec","value":`+spec+`}]`, "Content-Type", jsonHeader)
				},
				func(w *world) *answer { return w.merge("a.example.com", `{"spec":`+spec+`}`) }},
			"server-side apply": {
				func(w *world) *answer { return w.apply("a.example.com", `{"spec":`+spec+`}`, "fieldManager=a") },
				func(w *world) *answer { return w.apply("a.example.com", `{"spec":`+spec+`}`, "fieldManager=a") }},
		} {
			t.Run(fmt.Sprint(how, " of ", spec), func(t *testing.T) {
				w := newWorld(t)
				w.t = t
				if a := write[0](w); a.code/100 != 2 {
					t.Fatalf("status %d: %s", a.code, a.body)
				}
				before := w.get("a.example.com")
				for _, at := range []string{path, base + "?fieldSelector=metadata.name=a.example.com"} {
					var served struct {
						Spec  json.RawMessage
						Items []struct{ Spec json.RawMessage }
					}
					w.call("GET", at, "").want(200).into(&served)
					if len(served.Items) == 1 {
						served.Spec = served.Items[0].Spec
					}
					if string(served.Spec) != spec {
						t.Errorf("served is %s", served.Spec)
					}
				}
				write[1](w).want(200)
				w.merge("a.example.com", `{"metadata":{"labels":{"x":"y"}}}`).want(200)
				if after := w.get("a.example.com"); after.Generation != before.Generation {
					t.Error("the same again is a change")
				}
			})
		}
	}
}

// A record that an earlier version took from such a manifest can be written, and
// the manifest be mended.
func TestManifestsWithNullFromBefore(t *testing.T) {
	w := newWorld(t)
	r := w.create("a.example.com")
	r.Annotations = map[string]string{lastApplied: switchConfig("null")}
	data, err := w.s.encodeKeyValue(r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.store.Write(t.Context(), store.Op{Key: recordKey(r.Name), Value: data, If: store.Any}); err != nil {
		t.Fatal(err)
	}
	w.usable(t, r.Name)
	w.put(w.get(r.Name), "", func(r *v1alpha3.DomainRecord) { r.Labels = map[string]string{"a": "b"} }).want(200)
	w.merge(r.Name, `{"metadata":{"annotations":{"`+lastApplied+`":"{}"}},"spec":{"tls":{}}}`).want(200)
}
