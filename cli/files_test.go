package cli

import (
	"encoding/binary"
	"strings"
	"testing"
	"unicode/utf16"
)

const head = "apiVersion: core.apoxy.dev/v1alpha3\nkind: DomainRecord\n"

const (
	record1 = `{"apiVersion":"core.apoxy.dev/v1alpha3","kind":"DomainRecord","spec":{"name":"a.example.com"}}`
	record2 = `{"apiVersion":"core.apoxy.dev/v1alpha3","kind":"DomainRecord","spec":{"name":"b.example.com"}}`
)

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
		{"an item that is no object", "apiVersion: v1\nkind: List\nitems: [1]", "", "it is no object"},
		{"text", "hello", "", "expected a DomainRecord"},
		{"a key given twice", head + "spec: {name: a.example.com, name: b.example.com}", "", `already set`},
		{"broken YAML in the second document", head + "spec: {name: a.example.com}\n---\n{", "a.example.com", "f.yaml, document 2"},
		{"broken YAML between two documents, at its line", head + "spec: {name: a.example.com}\n---\nx: 1\n  y: z: 2\n---\n" + head + "spec: {name: b.example.com}", "a.example.com b.example.com", "f.yaml, document 2: yaml: line "},
		{"a key given twice in the second document, at its line", "# none\n---\n" + head + "---\n# why\nkind: DomainRecord\nkind: DomainRecord\n", "?", "f.yaml, document 2: yaml: unmarshal errors:\n  line 8: key \"kind\" already set"},
		{"another kind between two documents", head + "spec: {name: a.example.com}\n---\n\n# why\nkind: Secret\napiVersion: v1\n---\n" + head + "spec: {name: b.example.com}", "a.example.com b.example.com", "f.yaml, document 2, line 7: the kind is"},
		{"a bad item between two", "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: core.apoxy.dev/v1alpha3, kind: DomainRecord, spec: {name: a.example.com}}\n- 1\n- {apiVersion: core.apoxy.dev/v1alpha3, kind: DomainRecord, spec: {name: b.example.com}}", "a.example.com b.example.com", "item 2: it is no object"},
		{"Windows' line ends", strings.ReplaceAll(head+"spec: {name: a.example.com}\n---\n"+head+"spec: {name: b.example.com}\n", "\n", "\r\n"), "a.example.com b.example.com", ""},
		{"a document behind its mark", "--- {apiVersion: core.apoxy.dev/v1alpha3, kind: DomainRecord, spec: {name: a.example.com}}\n--- # why\n" + head + "spec: {name: b.example.com}\n", "a.example.com b.example.com", ""},
		{"a byte order mark before every document", "\uFEFF" + head + "spec: {name: a.example.com}\n\uFEFF---\n" + head + "spec: {name: b.example.com}\n", "a.example.com b.example.com", ""},
		{"a document that is not in UTF-8", head + "spec: {name: a.example.com}\n---\n# caf\xe9\n" + head + "---\n" + head + "spec: {name: b.example.com}", "a.example.com b.example.com", "document 2: line 5: it is not in UTF-8"},
		{"JSON values in lines", record1 + "\n" + record2 + "\n", "a.example.com b.example.com", ""},
		{"JSON values without space", record1 + record2, "a.example.com b.example.com", ""},
		{"a broken JSON value between two", record1 + "\n{\"apiVersion\":\n" + record2 + "\n", "a.example.com b.example.com", "document 2"},
		{"a broken JSON value before others", "{\"apiVersion\":\n" + record1 + "\n" + record2 + "\n", "a.example.com b.example.com", "document 1"},
		{"JSON values between marks of YAML", record1 + "\n---\n" + record2 + "\n---\n{", "a.example.com b.example.com", "document 3"},
		{"JSON and a comment", record1 + "\n# done\n", "a.example.com", ""},
		{"Apoxy's zone", "apiVersion: core.apoxy.dev/v1alpha3\nkind: DomainZone", "", "the operator's zone is in Caddy's configuration"},
		{"broken JSON", `{"apiVersion":`, "", "f.yaml"},
	} {
		t.Run(c.is, func(t *testing.T) {
			ms, bad := parseManifests([]byte(c.in), "f.yaml")
			err := join(bad)
			if c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("the error %v does not say %q", err, c.says)
			}
			if c.says == "" && err != nil {
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
		ms, bad := parseManifests(raw, "f")
		for _, err := range bad {
			if err.Error() == "" {
				t.Fatal("an error that says nothing")
			}
		}
		for _, m := range ms {
			_, _ = m.name()
			if _, err := m.MarshalJSON(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestManifestsInOtherEncodings(t *testing.T) {
	const text = "# caf\u00e9 \U0001F600\n" + head + "spec: {name: api.example.com}\n"
	utf16In := func(order binary.AppendByteOrder, s string) (b []byte) {
		for _, u := range utf16.Encode([]rune(s)) {
			b = order.AppendUint16(b, u)
		}
		return b
	}
	for _, c := range []struct {
		is   string
		raw  []byte
		says string
	}{
		{"UTF-8 with a byte order mark", []byte("\uFEFF" + text), ""},
		{"UTF-16, little end first, with a mark", utf16In(binary.LittleEndian, "\uFEFF"+text), ""},
		{"UTF-16, big end first, with a mark", utf16In(binary.BigEndian, "\uFEFF"+text), ""},
		{"UTF-16, little end first", utf16In(binary.LittleEndian, text), ""},
		{"UTF-16, big end first", utf16In(binary.BigEndian, text), ""},
		{"UTF-16 that is cut off", utf16In(binary.LittleEndian, text)[:99], "cut off"},
		{"UTF-16 with half a character", append(utf16In(binary.LittleEndian, "\uFEFFa: 1\n"), 0x00, 0xD8), "line 2 has half a character"},
		{"UTF-32", []byte{0xFF, 0xFE, 0, 0, 'a', 0, 0, 0}, "save it as UTF-8"},
	} {
		ms, bad := parseManifests(c.raw, "f.yaml")
		if c.says != "" {
			if err := join(bad); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %v does not say %q", c.is, err, c.says)
			}
			continue
		}
		if len(bad) > 0 || len(ms) != 1 {
			t.Errorf("%s: %d records, %v", c.is, len(ms), bad)
		} else if name, err := ms[0].name(); name != "api.example.com" {
			t.Errorf("%s: %q, %v", c.is, name, err)
		}
	}
}
