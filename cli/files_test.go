package cli

import (
	"strings"
	"testing"
)

const head = "apiVersion: core.apoxy.dev/v1alpha3\nkind: DomainRecord\n"

func TestParseManifests(t *testing.T) {
	for _, c := range []struct {
		is, in string
		want   string // the names, "?" where none follows
		says   string // or what the error says
	}{
		{"one document", head + "spec: {name: api.example.com}", "api.example.com", ""},
		{"a name of its own", head + "metadata: {name: x}\nspec: {name: api.example.com}", "x", ""},
		{"several documents with empty ones", "---\n" + head + "spec: {name: a.example.com}\n---\n---\n# none\n---\n" + head + "spec: {name: b.example.com}\n", "a.example.com b.example.com", ""},
		{"a wildcard", head + "spec: {name: '*.example.com'}", "example.com--wildcard", ""},
		{"a wrong hostname", head + "spec: {name: 192.0.2.1}", "?", ""},
		{"no spec", head, "?", ""},
		{"a hostname that is no text", head + "spec: {name: 1}", "?", ""},
		{"JSON", `{"apiVersion":"core.apoxy.dev/v1alpha3","kind":"DomainRecord","spec":{"name":"api.example.com"}}`, "api.example.com", ""},
		{"YAML that begins like JSON", "{apiVersion: core.apoxy.dev/v1alpha3, kind: DomainRecord, spec: {name: api.example.com}}", "api.example.com", ""},
		{"a list", "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: core.apoxy.dev/v1alpha3, kind: DomainRecord, spec: {name: a.example.com}}", "a.example.com", ""},
		{"a list of its own kind, whose items leave the kind out", "apiVersion: core.apoxy.dev/v1alpha3\nkind: DomainRecordList\nitems:\n- {spec: {name: a.example.com}}", "a.example.com", ""},
		{"nothing", "", "", ""},

		{"no kind", "spec: {}", "", "there is no kind"},
		{"another kind", "apiVersion: v1\nkind: Secret", "", `the kind is "Secret"`},
		{"another kind in a list", "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Secret}", "", "item 1"},
		{"a list in a list", "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: List, items: []}", "", "is itself a list"},
		{"a list without items", "apiVersion: v1\nkind: List", "", "has no items"},
		{"an item that is no object", "apiVersion: v1\nkind: List\nitems: [1]", "", "is no object"},
		{"text", "hello", "", "expected a DomainRecord"},
		{"a key given twice", head + "spec: {name: a.example.com, name: b.example.com}", "", `already set`},
		{"broken YAML in the second document", head + "spec: {name: a.example.com}\n---\n{", "", "f.yaml, document 2"},
		{"broken JSON", `{"apiVersion":`, "", "f.yaml"},
	} {
		t.Run(c.is, func(t *testing.T) {
			ms, err := parseManifests([]byte(c.in), "f.yaml")
			if c.says != "" {
				if err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("the error %v does not say %q", err, c.says)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, m := range ms {
				name, err := m.name()
				if err != nil {
					name = "?"
				}
				names = append(names, name)
			}
			if got := strings.Join(names, " "); got != c.want {
				t.Errorf("names %q, want %q", got, c.want)
			}
		})
	}
}

func FuzzParseManifests(f *testing.F) {
	for _, s := range []string{head + "spec: {name: a.example.com}", "{}", "[]", "--- ---", `{"a":1}{"b":2}`, "a: &a [*a]", "\x00", "kind: List\napiVersion: v1\nitems: [{}]"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		ms, err := parseManifests(raw, "f")
		if err != nil {
			return
		}
		for _, m := range ms {
			_, _ = m.name()
			if _, err := m.MarshalJSON(); err != nil {
				t.Fatal(err)
			}
		}
	})
}
