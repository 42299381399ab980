package apiserver

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// storedRecord is a record as the API stores it.
func storedRecord(t testing.TB) []byte {
	t.Helper()
	at := metav1.NewTime(time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC))
	r := &v1alpha3.DomainRecord{TypeMeta: typeMeta, ObjectMeta: metav1.ObjectMeta{
		Name: "a.example.com", UID: "u", Generation: 2, CreationTimestamp: at,
		Labels: map[string]string{v1alpha3.OwnerLabel: "x"}, Annotations: map[string]string{"n": "\u2028<&>\\\""},
		ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "m", Operation: "Apply", APIVersion: "v", Time: &at, FieldsType: "FieldsV1"}},
	}}
	r.Spec.Name = "a.example.com"
	r.Status.Certificate = &v1alpha3.CertificateStatus{NotBefore: &at, NotAfter: &at}
	raw, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// FuzzDecodeEntry reads anything as a stored record. What is read can be stored
// again and is read as the same then, with the revision that it is stored at;
// what the reader of stored records takes, encoding/json takes too, which the
// table of hostnames reads them with.
func FuzzDecodeEntry(f *testing.F) {
	f.Add(storedRecord(f), int64(7))
	for _, seed := range []string{
		`null`, `{}`, `[]`, `{"metadata":{"resourceVersion":"5"}}`, `{"Metadata":{"name":"a"}}`, `{"metadata":{"name":"a","name":"b"}}`,
		`{"spec":{"ttl":1.5}}`, `{"spec":{"ttl":99999999999}}`, "{\"spec\":{\"name\":\"\xff\"}}", `{"metadata":{"managedFields":[{"fieldsV1":null}]}}`,
		`{"status":{"certificate":{"notAfter":"9999-12-31T23:59:59-01:00"}}}`, `{"metadata":{"creationTimestamp":"0000-01-01T00:00:00+01:00"}}`,
	} {
		f.Add([]byte(seed), int64(1))
	}
	s := newWorld(f).s
	f.Fuzz(func(t *testing.T, raw []byte, revision int64) {
		r, err := decodeKeyValue(store.KeyValue{Key: "k", Value: raw, Revision: revision})
		if err != nil {
			return
		}
		if r.ResourceVersion != formatRevision(revision) || r.TypeMeta != typeMeta {
			t.Fatalf("%s: version %q, type %v", raw, r.ResourceVersion, r.TypeMeta)
		}
		if err := json.Unmarshal(raw, new(v1alpha3.DomainRecord)); err != nil {
			t.Fatalf("%s: the API reads what encoding/json refuses: %v", raw, err)
		}
		stored, err := s.encodeKeyValue(r)
		if err != nil {
			return // too large, or not to be stored: then it is refused, not kept
		}
		again, err := decodeKeyValue(store.KeyValue{Key: "k", Value: stored, Revision: revision})
		if err != nil {
			t.Fatalf("%s is stored as %s, which cannot be read: %v", raw, stored, err)
		}
		back, err := s.encodeKeyValue(again)
		if err != nil || !bytes.Equal(stored, back) {
			t.Fatalf("%s is stored as\n%s and then as\n%s (%v)", raw, stored, back, err)
		}
	})
}

// A record with a time that is none once it is in UTC could not be read again.
func TestATimeThatCannotBeStoredIsRefused(t *testing.T) {
	w := newWorld(t)
	w.create("a.example.com")
	for field, patch := range map[string]string{
		"status.certificate.notAfter":             `{"status":{"certificate":{"notAfter":"9999-12-31T23:59:59-01:00"}}}`,
		"status.conditions[0].lastTransitionTime": `{"status":{"conditions":[{"type":"Ready","status":"True","reason":"R","message":"","lastTransitionTime":"0000-01-01T00:00:00+01:00"}]}}`,
		"status.dnsRecords[0].lastTransitionTime": `{"status":{"dnsRecords":[{"purpose":"Traffic","type":"CNAME","name":"n.","value":"v.","configured":false,"required":true,"lastTransitionTime":"9999-12-31T23:59:59-01:00"}]}}`,
	} {
		if got := causes(w.merge("a.example.com/status", patch).status(422, metav1.StatusReasonInvalid)); got != field {
			t.Errorf("%s: refused for %s", field, got)
		}
	}
	w.get("a.example.com")
	w.merge("a.example.com/status", `{"status":{"certificate":{"notAfter":"9999-12-31T22:59:59-01:00"}}}`).want(200)
	w.get("a.example.com")
}

// FuzzReadMember holds what lists and selectors read of a stored record, without
// decoding it, against encoding/json.
func FuzzReadMember(f *testing.F) {
	f.Add(storedRecord(f))
	for _, seed := range []string{`{"metadata":{"name":"a","labels":{"a":"b"}}}`, `{"metadata":null}`, `{"metadata":[{"name":"a"}]}`, `{ "x" : [ {"metadata":{}} ] , "metadata" : { "name" : "b" } }`,
		`{"metadata":{"x":{"name":"c"},"name":7}}`, `{"metadata":{"name":"a"`, `{}`, `null`, `"metadata"`, `{"metadata":{"labels":{"a":null}}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var name json.RawMessage
		err := readMember(raw, &name, "metadata", "name")
		if !json.Valid(raw) || bytes.Count(raw, []byte(`"metadata"`)) > 1 || bytes.Count(raw, []byte(`"name"`)) > 1 || bytes.ContainsAny(raw, `\`) {
			return // not a record as the store has them
		}
		var want struct{ meta, name json.RawMessage }
		object := map[string]json.RawMessage{}
		if json.Unmarshal(raw, &object) == nil {
			want.meta = object["metadata"]
		}
		if inner := map[string]json.RawMessage{}; want.meta != nil && json.Unmarshal(want.meta, &inner) == nil {
			want.name = inner["name"]
		}
		if err != nil || !bytes.Equal(bytes.TrimSpace(name), bytes.TrimSpace(want.name)) {
			t.Fatalf("%s: %s (%v), want %s", raw, name, err, want.name)
		}
	})
}
