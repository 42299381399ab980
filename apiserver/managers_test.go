package apiserver

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/managedfields"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// entry is a managed fields entry in JSON with some of its members changed.
func entry(change ...string) string {
	m := map[string]string{
		"manager": `"m"`, "operation": `"Update"`, "apiVersion": `"core.apoxy.dev/v1alpha3"`,
		"fieldsType": `"FieldsV1"`, "fieldsV1": `{"f:spec":{"f:ttl":{}}}`, "time": `"2026-01-01T00:00:00Z"`,
	}
	for i := 0; i < len(change); i += 2 {
		m[change[i]] = change[i+1]
	}
	var members []string
	for k, v := range m {
		members = append(members, fmt.Sprintf("%q:%s", k, v))
	}
	return "{" + strings.Join(members, ",") + "}"
}

// hasManager tells whether a record names a manager.
func hasManager(r *v1alpha3.DomainRecord, name string) bool {
	for _, m := range r.ManagedFields {
		if m.Manager == name {
			return true
		}
	}
	return false
}

// Managed fields from clients: what decodes counts, what does not is passed over
// in favour of the live record's, as kube-apiserver has it, and what breaks a
// limit is named. Whatever was answered, every later write works.
func TestManagedFieldsFromClients(t *testing.T) {
	many := func(n int, item string) string {
		return strings.TrimSuffix(strings.Repeat(item+",", n), ",")
	}
	wide := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `"f:%07d":{},`, n-i)
		}
		return "{" + strings.TrimSuffix(b.String(), ",") + "}"
	}
	for _, tc := range []struct {
		is, fields string
		code       int
		field      string
		kept       bool
	}{
		{"whole", entry(), 200, "", true},
		{"without a time", entry("time", `null`), 200, "", true},
		{"of another subresource", entry("subresource", `"status"`), 200, "", true},
		{"without fields", entry("fieldsV1", `null`), 200, "", false},
		{"of kinds of paths to come", entry("fieldsV1", `{"z:x":{}}`), 200, "", false},
		{"without an operation", entry("operation", `""`), 200, "", false},
		{"of an unknown operation", entry("operation", `"Burn"`), 200, "", false},
		{"without an apiVersion", entry("apiVersion", `""`), 200, "", false},
		{"without a fieldsType", entry("fieldsType", `""`), 200, "", false},
		{"of an unknown fieldsType", entry("fieldsType", `"FieldsV2"`), 200, "", false},
		{"with fields that are a list", entry("fieldsV1", `[]`), 200, "", false},
		{"with fields that are a text", entry("fieldsV1", `"x"`), 200, "", false},
		{"with a path that is none", entry("fieldsV1", `{"x":{}}`), 200, "", false},
		{"with a key that is no JSON", entry("fieldsV1", `{"k:{":{}}`), 200, "", false},
		{"with a value of many levels", entry("fieldsV1", `{"v:`+strings.Repeat("[", 4000)+strings.Repeat("]", 4000)+`":{}}`), 200, "", true},
		{"with an index that is none", entry("fieldsV1", `{"i:x":{}}`), 200, "", false},
		{"with a number for a manager", entry("manager", `1`), 422, "metadata.managedFields.manager", false},
		{"with a time that is none", entry("time", `"yesterday"`), 400, "", false},
		{"of a manager of 129 bytes", entry("manager", `"`+strings.Repeat("m", 129)+`"`), 422, "metadata.managedFields[0].manager", false},
		{"of a manager that cannot be printed", entry("manager", `"a\u0000b"`), 422, "metadata.managedFields[0].manager", false},
		{"of a subresource of 257 bytes", entry("subresource", `"`+strings.Repeat("s", 257)+`"`), 422, "metadata.managedFields[0].subresource", false},
		{"of 65 levels", entry("fieldsV1", strings.Repeat(`{"f:a":`, 65)+`{}`+strings.Repeat("}", 65)), 400, "", false},
		{"of 101 entries", many(101, entry()), 422, "metadata.managedFields", false},
		{"of 4097 fields of one", entry("fieldsV1", wide(4097)), 422, "metadata.managedFields[0].fieldsV1", false},
		{"of 12288 fields in all", many(3, entry("fieldsV1", wide(4096))), 422, "metadata.managedFields[fieldsV1]", false},
		{"of 4000 fields, backwards", entry("fieldsV1", wide(4000)), 200, "", true},
	} {
		t.Run(tc.is, func(t *testing.T) {
			w := newWorld(t)
			w.create("a.example.com")
			live := func() string { return w.get("a.example.com").ResourceVersion }
			for _, send := range []func() *answer{
				func() *answer {
					return w.call("PUT", base+"/a.example.com", manifest("a.example.com",
						`"resourceVersion":"`+live()+`","annotations":{"by":"put"},"managedFields":[`+tc.fields+`]`))
				},
				func() *answer {
					return w.merge("a.example.com", `{"metadata":{"annotations":{"by":"merge"},"managedFields":[`+tc.fields+`]}}`)
				},
				func() *answer {
					return w.call("PATCH", base+"/a.example.com", `[{"op":"add","path":"/metadata/annotations","value":{"by":"patch"}},{"op":"add","path":"/metadata/managedFields","value":[`+tc.fields+`]}]`, "Content-Type", jsonHeader)
				},
			} {
				w.held(t, send(), tc.code, tc.field, tc.kept)
			}
			created := w.call("POST", base, manifest("b.example.com", `"managedFields":[`+tc.fields+`]`))
			if code := tc.code; code == 200 {
				created.want(201)
				w.usable(t, "b.example.com")
			} else {
				created.want(code)
			}
			// Through status nobody sets managed fields; their bounds hold all the same.
			w.call("PUT", base+"/a.example.com/status", manifest("a.example.com", `"resourceVersion":"`+live()+`","managedFields":[`+tc.fields+`]`))
			if hasManager(w.get("a.example.com"), "m") {
				t.Error("managed fields were set through status")
			}
			w.usable(t, "a.example.com")
		})
	}
}

// held checks what became of managed fields that were sent.
func (w *world) held(t *testing.T, a *answer, code int, field string, kept bool) {
	t.Helper()
	a.t = t
	if a.code == 413 && code == 422 { // a JSON patch's own members are no fields
		code, field = 413, ""
	}
	a.want(code)
	if field != "" && !strings.Contains(string(a.body), `"field":"`+field+`"`) {
		t.Errorf("the answer does not name %s: %s", field, a.body)
	}
	if code == 200 {
		if r := a.record(); hasManager(r, "m") != kept || managedfields.ValidateManagedFields(r.ManagedFields) != nil {
			t.Errorf("kept %v: %s", kept, a.body)
		}
	}
	w.usable(t, "a.example.com")
	// The next has its own chance: managed fields that were kept are reset.
	w.merge("a.example.com", `{"metadata":{"managedFields":[{}]}}`).want(200)
}

// usable fails the test unless a record takes every kind of write.
func (w *world) usable(t *testing.T, name string) {
	t.Helper()
	for _, a := range []*answer{
		w.merge(name, `{"metadata":{"labels":{"merge":"`+fmt.Sprint(w.now.Add(1))+`"}}}`),
		w.call("PATCH", base+"/"+name, `[{"op":"add","path":"/spec/ttl","value":`+fmt.Sprint(w.now.Add(1)%86400)+`}]`, "Content-Type", jsonHeader),
		w.apply(name, `{"metadata":{"labels":{"apply":"`+fmt.Sprint(w.now.Add(1))+`"}}}`, "fieldManager=usable&force=true"),
		w.call("PATCH", base+"/"+name+"/status?fieldManager=s&force=true", `{"status":{"phase":"Active"}}`, "Content-Type", applyHeader),
		w.merge(name+"/status", `{"status":{"phase":"Pending"}}`),
	} {
		if a.code != 200 {
			t.Fatalf("%s is not writable any more: %d %.500s", name, a.code, a.body)
		}
	}
}

// What is stored with managed fields that nobody can work with can be updated,
// and loses them.
func TestStoredManagedFieldsThatCannotBeReadGo(t *testing.T) {
	for is, fields := range map[string]string{
		"an unknown operation": entry("operation", `"Burn"`),
		"fields of no type":    entry("fieldsType", `""`),
		"fields that are none": entry("fieldsV1", `["x"]`),
		"fields of 100 levels": entry("fieldsV1", strings.Repeat(`{"f:a":`, 100)+`{}`+strings.Repeat("}", 100)),
		"62 levels":            entry("fieldsV1", strings.Repeat(`{"f:a":`, 62)+`{}`+strings.Repeat("}", 62)),
		"a key without end":    entry("fieldsV1", `{"f:`+strings.Repeat("k", 100<<10)+`":{}}`),
		"too many entries":     strings.TrimSuffix(strings.Repeat(entry()+",", 200), ","),
	} {
		t.Run(is, func(t *testing.T) {
			for first := range 5 {
				w := newWorld(t)
				r := w.create("a.example.com")
				if err := json.Unmarshal([]byte("["+fields+"]"), &r.ManagedFields); err != nil {
					t.Fatal(err)
				}
				data, err := w.s.encodeKeyValue(r)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := w.store.Write(t.Context(), store.Op{Key: recordKey(r.Name), Value: data, If: store.Any}); err != nil {
					t.Fatal(err)
				}
				var a *answer
				switch first {
				case 0:
					a = w.merge(r.Name, `{"spec":{"ttl":7}}`)
				case 1:
					a = w.call("PATCH", base+"/"+r.Name, `[{"op":"add","path":"/spec/ttl","value":7}]`, "Content-Type", jsonHeader)
				case 2:
					a = w.apply(r.Name, `{"spec":{"ttl":7}}`, "fieldManager=x")
				case 3:
					a = w.merge(r.Name+"/status", `{"status":{"phase":"Active"}}`)
				case 4:
					live := w.get(r.Name)
					live.ManagedFields = nil
					a = w.put(live, "", func(r *v1alpha3.DomainRecord) { r.Labels = map[string]string{"a": "b"} })
				}
				a.t = t
				if got := a.want(200).record(); managedfields.ValidateManagedFields(got.ManagedFields) != nil {
					t.Errorf("stored %+v", got.ManagedFields)
				}
				w.usable(t, r.Name)
			}
		})
	}
}

func TestSizesOfMetadata(t *testing.T) {
	list := func(n int, format string) string {
		items := make([]string, n)
		for i := range items {
			items[i] = strings.ReplaceAll(format, "#", fmt.Sprint(i))
		}
		return strings.Join(items, ",")
	}
	w := newWorld(t)
	for _, tc := range []struct{ is, metadata, field string }{
		{"1001 labels", `"labels":{` + list(1001, `"l#":""`) + `}`, "metadata.labels"},
		{"64 KiB of labels", `"labels":{` + list(900, `"l#":"`+strings.Repeat("x", 80)+`"`) + `}`, "metadata.labels"},
		{"1001 annotations", `"annotations":{` + list(1001, `"a#":""`) + `}`, "metadata.annotations"},
		{"256 KiB of annotations", `"annotations":{` + list(900, `"a#":"`+strings.Repeat("x", 300)+`"`) + `}`, "metadata.annotations"},
		{"101 finalizers", `"finalizers":[` + list(101, `"a/f#"`) + `]`, "metadata.finalizers"},
		{"a long finalizer", `"finalizers":["a/` + strings.Repeat("f", 40<<10) + `"]`, "metadata.finalizers"},
		{"101 owners", `"ownerReferences":[` + list(101, `{"apiVersion":"v1","kind":"A","name":"a#","uid":"u"}`) + `]`, "metadata.ownerReferences"},
		{"a long owner", `"ownerReferences":[{"apiVersion":"v1","kind":"` + strings.Repeat("f", 40<<10) + `","name":"a","uid":"u"}]`, "metadata.ownerReferences"},
		{"a long name", `"name":"` + strings.Repeat("a", 254) + `"`, "metadata.name"},
		{"a long generateName", `"generateName":"` + strings.Repeat("a", 254) + `"`, "metadata.generateName"},
	} {
		t.Run(tc.is, func(t *testing.T) {
			a := w.call("POST", base, manifest("a.example.com", tc.metadata))
			a.t = t
			if got := causes(a.status(422, metav1.StatusReasonInvalid)); got != tc.field {
				t.Errorf("causes name %q, want %q", got, tc.field)
			}
		})
	}
	t.Run("what a record has already stays", func(t *testing.T) {
		r := w.create("b.example.com")
		r.Labels = map[string]string{}
		for i := range 1200 {
			r.Labels[fmt.Sprintf("l%d", i)] = ""
		}
		data, err := w.s.encodeKeyValue(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.store.Write(t.Context(), store.Op{Key: recordKey(r.Name), Value: data, If: store.Any}); err != nil {
			t.Fatal(err)
		}
		w.merge(r.Name, `{"spec":{"ttl":7}}`).want(200)
		w.merge(r.Name, `{"metadata":{"labels":{"l0":null}}}`).want(200)
		w.merge(r.Name, `{"metadata":{"labels":{"x":"","y":""}}}`).status(422, metav1.StatusReasonInvalid)
	})
}
