package cli

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
)

// FuzzManifestsGoOutAsTheyCameIn holds what is sent of a file of manifests
// against what is read of it again: the same records of the same names.
func FuzzManifestsGoOutAsTheyCameIn(f *testing.F) {
	for _, s := range []string{head + "spec: {name: a.example.com}", head + "spec: {name: '*.example.com', ttl: 60}\n---\n" + head + "metadata: {name: x}",
		"kind: List\napiVersion: v1\nitems: [{apiVersion: core.apoxy.dev/v1alpha3, kind: DomainRecord, spec: {ttl: 1e3, n: 1.0, o: 0x10, y: ~, z: 9223372036854775808}}]",
		head + "metadata: {labels: {a: \"\\u0000\\xff\", yes: no}}", head + "spec: {name: 7}\nstatus: {conditions: [{}]}",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		ms, _ := parseManifests(raw, "f")
		for _, m := range ms {
			sent, err := m.MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			again, bad := parseManifests(sent, "g")
			if len(bad) > 0 || len(again) != 1 {
				t.Fatalf("%q is sent as %s, which is %d records (%v)", raw, sent, len(again), bad)
			}
			back, err := again[0].MarshalJSON()
			if d := cmp.Diff(string(sent), string(back)); d != "" || err != nil {
				t.Fatalf("%q (-sent +sent again): %s %v", raw, d, err)
			}
			a, errA := m.name()
			b, errB := again[0].name()
			if a != b || (errA == nil) != (errB == nil) {
				t.Fatalf("%q means %q and then %q (%v, %v)", raw, a, b, errA, errB)
			}
		}
	})
}

// FuzzRefusal reads anything as the server's refusal of a request, and as its
// warnings: an error that explains itself, and no control character reaches the
// terminal.
func FuzzRefusal(f *testing.F) {
	f.Add(404, []byte(`{"kind":"Status","message":"gone","reason":"NotFound","details":{"causes":[{"field":"f","message":"m"}]}}`), `299 - "it \"is\" so"`)
	f.Add(500, []byte(`{"error":"\u001b[2J"}`), `299 - "\x1b[2J\u009b"`)
	f.Add(502, []byte("<html>\x1b"), `"`)
	f.Add(409, []byte(`{"kind":"Status","code":-1,"details":{"causes":[{"reason":"FieldManagerConflict"}]},"reason":"Conflict"}`), `""`)
	f.Fuzz(func(t *testing.T, status int, body []byte, warning string) {
		var warned bytes.Buffer
		c := &client{base: "http://localhost:2019", warn: &warned}
		err := c.refusal(&http.Response{StatusCode: status, Status: "500 x", Body: io.NopCloser(bytes.NewReader(body))})
		if err == nil || explain(err) == "" {
			t.Fatalf("%d %q: no explanation of %v", status, body, err)
		}
		c.warnings(http.Header{"Warning": {warning}})
		if i := strings.IndexFunc(warned.String(), func(r rune) bool { return r != '\n' && r != '\t' && unicode.IsControl(r) }); i >= 0 {
			t.Fatalf("the warning %q prints %q", warning, warned.String())
		}
		if n := strings.Count(warned.String(), "warning: "); n == 0 && warned.Len() > 0 {
			t.Fatalf("the warning %q prints %q", warning, warned.String())
		}
	})
}

// FuzzWatchEvents reads anything as an event of a watch: what the server means
// as an error is one that explains itself, and a revision is taken from nothing
// but JSON.
func FuzzWatchEvents(f *testing.F) {
	for _, s := range []string{`{"kind":"Status","code":410}`, `null`, `{"kind":7}`, `{`, ``, `{"metadata":{"resourceVersion":"7"}}`,
		`{"rows":[{"object":{"metadata":{"resourceVersion":"8"}}},{"object":null}]}`, `{"code":429,"details":{"retryAfterSeconds":-1}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if err := watchError(raw); err == nil || explain(err) == "" {
			t.Fatalf("%q is no error, or one without words: %v", raw, err)
		}
		if at := revisionOf(raw); at != "" && !json.Valid(raw) {
			t.Fatalf("%q stands at %q", raw, at)
		}
	})
}
