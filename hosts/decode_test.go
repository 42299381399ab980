package hosts

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// full is a record with every field that records usually have.
func full() *v1alpha3.DomainRecord {
	at := metav1.NewTime(time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC))
	ttl := int32(60)
	r := record("api.example.com", "api.example.com", true)
	r.TypeMeta = metav1.TypeMeta{APIVersion: v1alpha3.GroupVersion.String(), Kind: v1alpha3.Kind}
	r.ResourceVersion, r.Generation, r.CreationTimestamp = "7", 3, at
	r.Annotations = map[string]string{"note": "<a> & \"b\"\n\u2028ü", "empty": ""}
	r.ManagedFields = []metav1.ManagedFieldsEntry{
		{Manager: "m", Operation: "Apply", APIVersion: "v", Time: &at, FieldsType: "FieldsV1", Subresource: "status",
			FieldsV1: &metav1.FieldsV1{}},
		{Manager: "n"},
	}
	r.ManagedFields[0].FieldsV1.SetRawBytes([]byte(`{"f:spec":{"f:name":{},"k:{\"type\":\"}{\"}":[1,-2.5e3,null]}}`))
	r.Spec.TTL, r.Spec.TLS.CertificateAuthority, r.Spec.TLS.Disabled = &ttl, new("letsencrypt"), new(false)
	r.Spec.Target.Redirect = &v1alpha3.TargetRedirect{Scheme: new("https"), Hostname: new("www.example.com"), Port: new(int32(443)), StatusCode: new(int32(301)),
		Path: &v1alpha3.RedirectPath{Type: "ReplaceFullPath", ReplaceFullPath: new("/"), ReplacePrefixMatch: new("")}}
	r.Spec.Target.Ref.Group = new("gateway.apoxy.dev")
	r.Status.ObservedGeneration, r.Status.Type = 3, "Ref"
	r.Status.ResolvedValues = []string{"x."}
	r.Status.DNSRecords = []v1alpha3.DNSRecord{
		{Purpose: "Traffic", Type: "CNAME", Name: "n.", Value: "v.", Zone: "z.", Host: "n", Observed: []string{"A 192.0.2.1"}, Required: true,
			LastTransitionTime: &at, Problem: &v1alpha3.DNSProblem{Reason: "Wrong", Message: "it is \\ wrong"}},
		{Configured: true, Observed: []string{}},
	}
	r.Status.DNSProvider = &v1alpha3.DNSProviderStatus{Name: "p", ControlPanel: "https://p.test/"}
	r.Status.DomainConnect = &v1alpha3.DomainConnectStatus{URL: "https://p.test/?a=b&c"}
	r.Status.Certificate = &v1alpha3.CertificateStatus{Issuer: "i", SerialNumber: "03", NotBefore: &at, NotAfter: &at, RenewalTime: &at, Challenge: "dns-01"}
	r.Status.Ownership = &v1alpha3.OwnershipStatus{Verified: true, Proof: "TLSCertificateIssued", Token: true, Owner: "o",
		VerifiedTime: &at, WithdrawnTime: &at, Overwritten: true}
	r.Status.Conditions[0].LastTransitionTime, r.Status.Conditions[0].ObservedGeneration = at, 3
	r.Status.Conditions[0].Reason, r.Status.Conditions[0].Message = "R", "message"
	return r
}

// samples of stored records, true where they are read in one pass.
func samples(t testing.TB) map[string]bool {
	out := map[string]bool{
		`{"metadata":{"name":"a"},"spec":{"name":"a"}}`:                                                  true,
		`{"metadata":{"name":"a","creationTimestamp":null},"spec":{"name":"a","target":{}},"status":{}}`: true,
		`{"metadata":null,"spec":{"name":"a","tls":null,"target":{"ref":null}},"status":null}`:           true,
		`{"status":{"conditions":null,"dnsRecords":[],"resolvedValues":null,"certificate":null}}`:        true,
		`{"status":{"dnsRecords":[{"observed":null,"problem":null,"lastTransitionTime":null}]}}`:         true,
		`{"status":{"ownership":null}}`:                                                                  true,
		`{"status":{"ownership":{"verified":false,"verifiedTime":null}}}`:                                true,
		`{"metadata":{"labels":{},"annotations":null,"managedFields":[]}}`:                               true,
		`{"spec":{"ttl":null}}`:                                                                          true,
		`{"spec":{"tls":{"certificateAuthority":null,"disabled":null},"target":{"ref":{"group":null}}}}`: true,
		`{"spec":{"tls":{"certificateAuthority":"","disabled":false},"target":{"ref":{"group":""}}}}`:    true,
		`{ "metadata" : {"name":"a"} ,"status":{}}
`: true,
		`{"metadata":{"finalizers":["x"],"deletionTimestamp":"2026-03-04T05:06:07Z","ownerReferences":[{"kind":"A","controller":true}]}}`: true,
		`{"spec":{"ttl":1,"ttl":null}}`: false, `{"metadata":{"labels":{"a":"b"},"labels":{"c":"d"}}}`: false,
		"{\"metadata\":{\"name\":\"a\tb\"}}": false, `{"Metadata":{"name":"a"}}`: false, `{"m\u0065tadata":{"name":"a"}}`: false,
		`{"future":1}`: false, `{"spec":{"ttl":99999999999}}`: false, `{"spec":{"ttl":1.5}}`: false, `{"spec":{"ttl":01}}`: false,
		`{"metadata":{"name":"a"}}x`: false, `{"metadata":{"name":"a"}`: false, `{"metadata":{"name":7}}`: false,
		`null`: true, `[]`: false, ``: false, `{"metadata":{"name":"a",}}`: false, `{"spec":{"tls":{"disabled":1}}}`: false,
		`{"metadata":{"managedFields":[{"fieldsV1":{]}}]}}`: false, `{"metadata":{"creationTimestamp":"today"}}`: false,
		`{"metadata":{"managedFields":[{"fieldsV1":` + strings.Repeat(`{"f:a":`, 100) + `1` + strings.Repeat("}", 100) + `}]}}`: true,
	}
	b, err := json.Marshal(full())
	if err != nil {
		t.Fatal(err)
	}
	out[string(b)] = true
	return out
}

func TestDecodeIsEncodingJSON(t *testing.T) {
	for value, fast := range samples(t) {
		r, ok := records.Decode([]byte(value))
		if ok != fast {
			t.Errorf("%s is read in one pass: %v, want %v", value, ok, fast)
		}
		same(t, []byte(value), r, ok)
	}
}

// A field of a kind that the decoder does not know would make every start slower.
func TestEveryFieldIsReadInOnePass(t *testing.T) {
	r := new(v1alpha3.DomainRecord)
	fill(reflect.ValueOf(r).Elem())
	value, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	got, ok := records.Decode(value)
	if !ok {
		t.Fatalf("encoding/json has to decode %s", value)
	}
	same(t, value, got, ok)
}

// fill gives every field a value that is not left out.
func fill(v reflect.Value) {
	switch at := v.Addr().Interface().(type) {
	case *metav1.Time:
		*at = metav1.Unix(1_790_000_000, 0)
		return
	case *metav1.FieldsV1:
		at.SetRawBytes([]byte(`{"f:spec":{}}`))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("text")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int32, reflect.Int64:
		v.SetInt(7)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0))
		fill(v.Index(1))
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{"key": "value"}))
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	}
}

// same holds that what was scanned is what encoding/json decodes.
func same(t *testing.T, value []byte, scanned *v1alpha3.DomainRecord, ok bool) {
	t.Helper()
	if !ok {
		return
	}
	want := new(v1alpha3.DomainRecord)
	if err := json.Unmarshal(value, want); err != nil {
		t.Fatalf("%q was scanned, but encoding/json refuses it: %v", value, err)
	}
	if d := cmp.Diff(want, scanned); d != "" {
		t.Fatalf("%q (-encoding/json +scanned):\n%s", value, d)
	}
}

// withoutManagers is a record of which encoding/json skips the managed fields, and
// whatever else is rare in the metadata.
type withoutManagers struct {
	Metadata struct {
		Name              string            `json:"name"`
		UID               types.UID         `json:"uid"`
		Generation        int64             `json:"generation"`
		CreationTimestamp metav1.Time       `json:"creationTimestamp"`
		Labels            map[string]string `json:"labels"`
		Annotations       map[string]string `json:"annotations"`
	} `json:"metadata"`
	Spec   v1alpha3.DomainRecordSpec   `json:"spec"`
	Status v1alpha3.DomainRecordStatus `json:"status"`
}

func BenchmarkDecode(b *testing.B) {
	small := record("api.example.com", "api.example.com", false)
	small.Status = v1alpha3.DomainRecordStatus{}
	for name, r := range map[string]*v1alpha3.DomainRecord{"full": full(), "small": small} {
		value, err := json.Marshal(r)
		if err != nil {
			b.Fatal(err)
		}
		for way, decode := range map[string]func() bool{
			"jsonscan":        func() bool { _, ok := records.Decode(value); return ok },
			"json":            func() bool { return json.Unmarshal(value, new(v1alpha3.DomainRecord)) == nil },
			"withoutManagers": func() bool { return json.Unmarshal(value, new(withoutManagers)) == nil },
		} {
			b.Run(name+"/"+way, func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(len(value)))
				for b.Loop() {
					if !decode() {
						b.Fatal("not decoded")
					}
				}
			})
		}
	}
}
