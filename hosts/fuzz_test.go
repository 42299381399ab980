package hosts

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// FuzzDecode holds whatever the store may have at a key against encoding/json:
// the same record or a refusal by both, and a record that is taken is the one
// that its key names. What the table has of it can be made.
func FuzzDecode(f *testing.F) {
	for value := range samples(f) {
		f.Add("a", []byte(value))
		f.Add("api.example.com", []byte(value))
	}
	f.Add("a", []byte(`{"spec":{"NAME":"b","name":"a"},"metadata":{"name":"a"}}`))
	f.Add("a", []byte(`{"metadata":{"name":"a"},"spec":{"name":"a"},"status":{"conditions":[{"lastTransitionTime":"9999-12-31T23:59:59-01:00"}]}}`))
	f.Fuzz(func(t *testing.T, name string, value []byte) {
		got, err := decode(Prefix+name, value)
		skims(t, Prefix+name, value, got, err)
		want := new(v1alpha3.DomainRecord)
		refused := json.Unmarshal(value, want) != nil || want.Spec.Name == "" || want.Name != name
		if refused != (err != nil) {
			t.Fatalf("%q at %q: %v, but encoding/json refuses it: %v", value, name, err, refused)
		}
		if refused {
			return
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("%q (-encoding/json +decoded):\n%s", value, d)
		}
	})
}

// FuzzSearch holds that a text is found where a look at the host finds it, whatever stands
// there and whatever is typed.
func FuzzSearch(f *testing.F) {
	f.Add("api.example.com", "Acme GmbH", "api acme")
	f.Add("xn--mnchen-3ya.example", "gold", "m\u00fcnchen tier=go =d")
	f.Add("a", "\xff\x80", "\xff a=\x80 \u202e")
	f.Fuzz(func(t *testing.T, hostname, value, text string) {
		if hostname == "" || len(hostname)+len(value)+len(text) > 1000 {
			return
		}
		h := Make(Values{Hostname: hostname, Labels: map[string]string{"tier": value}})
		table := New()
		table.Set(h)
		q := Search{Text: text, Most: 1}
		found, err := table.Search(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if want := newSearching(table, &q).has(h); want != (len(found.Names) == 1) {
			t.Errorf("%q in %q with %q: found %v, want %v", text, hostname, value, found.Names, want)
		}
	})
}
