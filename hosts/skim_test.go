package hosts

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// skims holds that a skimmer makes the Host of a value that FromRecord makes of its
// record, from a value that is gone afterwards, or refuses it as decode does.
func skims(t *testing.T, key string, value []byte, r *v1alpha3.DomainRecord, refused error) {
	t.Helper()
	s := skimmer{table: New()}
	// What stood there before leaves nothing behind.
	for _, before := range []string{`{"metadata":{"labels":{"left":"over"},"annotations":{"left":"over"}},"spec":{"ttl":5,"tls":{}},` +
		`"status":{"phase":"Active","ownership":{"verified":true},"conditions":[{"type":"Ready","status":"True","reason":"R"}]}}`, ""} {
		if before != "" {
			_, _ = s.host(key, []byte(before), 1)
		}
		borrowed := bytes.Clone(value)
		got, err := s.host(key, borrowed, 7)
		for i := range borrowed {
			borrowed[i] = '!'
		}
		if (err == nil) != (refused == nil) || err != nil && err.Error() != refused.Error() {
			t.Fatalf("%q at %q: %v, but decode says %v", value, key, err, refused)
		}
		if err != nil {
			continue
		}
		if d := cmp.Diff(valuesOf(FromRecord(r, 7)), valuesOf(got)); d != "" {
			t.Fatalf("%q (-decoded +skimmed):\n%s", value, d)
		}
	}
}

func TestSkimmingIsDecoding(t *testing.T) {
	values := []string{
		`{"metadata":{"name":"a","labels":{"b":"1","a":"2","b":"3"}},"spec":{"name":"a"}}`,
		`{"metadata":{"name":"a","labels":{"\u0062":"\ud800"}},"spec":{"name":"a"}}`,
		`{"metadata":{"name":"a","creationTimestamp":"2026-02-30T00:00:00Z"},"spec":{"name":"a"}}`,
		`{"metadata":{"name":"a","creationTimestamp":"2026-02-28T00:00:00+01:00"},"spec":{"name":"a"}}`,
		`{"metadata":{"name":"a"},"spec":{"name":"a"},"status":{"dnsRecords":[{"required":1}]}}`,
		`{"metadata":{"name":"a"},"spec":{"name":"a"},"status":{"dnsRecords":[{"name":"a","name":"b"}]}}`,
		`{"metadata":{"name":"a"},"spec":{"name":"a"},"status":{"conditions":[{"message":7}]}}`,
		`{"metadata":{"name":"a"},"spec":{"name":"a"},"status":{"conditions":[{"message":"\ud800\n"}]}}`,
	}
	for value := range samples(t) {
		values = append(values, value)
		values = append(values, strings.Replace(value, `"metadata":{`, `"metadata":{"name":"a",`, 1), strings.Replace(value, `"spec":{`, `"spec":{"name":"a",`, 1))
	}
	taken := 0
	for _, value := range values {
		for _, name := range []string{"a", "api.example.com"} {
			r, err := decode(Prefix+name, []byte(value))
			skims(t, Prefix+name, []byte(value), r, err)
			if err == nil {
				taken++
			}
		}
	}
	if taken < 5 {
		t.Fatalf("only %d of the values are records", taken)
	}
}

// usual is full without what few records have.
func usual() *v1alpha3.DomainRecord {
	r := full()
	r.UID, r.Annotations = "5f0c1f66-6d3c-4f0e-9d5e-0123456789ab", nil
	r.Spec.TTL, r.Spec.TLS, r.Spec.Target.Redirect = nil, &v1alpha3.DomainRecordTLS{}, nil
	return r
}

// A usual record is skimmed, and not decoded as a whole: that would allocate.
func TestSkimmingAllocatesLittle(t *testing.T) {
	r := usual()
	value, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	s := skimmer{table: New()}
	skim := func() {
		h, err := s.host(Prefix+r.Name, value, 1)
		if err != nil {
			t.Fatal(err)
		}
		s.table.Set(h)
	}
	skim()
	// The Host; and of the record tls, ref, its group and ownership.
	if n := testing.AllocsPerRun(100, skim); n > 7 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkSkim(b *testing.B) {
	r := usual()
	value, err := json.Marshal(r)
	if err != nil {
		b.Fatal(err)
	}
	s := skimmer{table: New()}
	h, err := s.host(Prefix+r.Name, value, 1)
	if err != nil {
		b.Fatal(err)
	}
	s.table.Set(h)
	b.ReportAllocs()
	b.SetBytes(int64(len(value)))
	for b.Loop() {
		if _, err := s.host(Prefix+r.Name, value, 1); err != nil {
			b.Fatal(err)
		}
	}
}
