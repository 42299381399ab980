package v1alpha3

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/typed"
	"sigs.k8s.io/yaml"
)

func TestEverySchemaAndFieldIsDescribed(t *testing.T) {
	for name, s := range OpenAPISchemas() {
		if s.Description == "" && !strings.HasPrefix(name, SchemaPrefixMeta) {
			t.Errorf("%s has no description", name)
		}
		for field, p := range s.Properties {
			if p.Description == "" {
				t.Errorf("%s.%s has no description", name, field)
			}
			if strings.Contains(p.Description, "+") && strings.HasPrefix(name, SchemaPrefix) {
				t.Errorf("%s.%s: a marker is left in the description %q", name, field, p.Description)
			}
		}
	}
}

func TestEveryReferenceHasItsSchema(t *testing.T) {
	for _, m := range []struct {
		prefix  string
		schemas map[string]*spec.Schema
	}{{"#/components/schemas/", OpenAPISchemas()}, {"#/definitions/", OpenAPIDefinitions()}} {
		raw, err := json.Marshal(m.schemas)
		if err != nil {
			t.Fatal(err)
		}
		for i, part := range strings.Split(string(raw), `"$ref":"`) {
			if i == 0 {
				continue
			}
			ref, _, _ := strings.Cut(part, `"`)
			name, ok := strings.CutPrefix(ref, m.prefix)
			if !ok || m.schemas[name] == nil {
				t.Errorf("the reference %q leads nowhere", ref)
			}
		}
	}
}

func TestSchemaRules(t *testing.T) {
	all := OpenAPISchemas()
	record := all[SchemaPrefix+"DomainRecord"]
	if got, want := record.Extensions[gvkExtension], []any{map[string]any{"group": Group, "version": Version, "kind": Kind}}; !cmp.Equal(got, any(want)) {
		t.Errorf("group, version, kind: %v", got)
	}
	status := all[SchemaPrefix+"DomainRecordStatus"].Properties
	for field, key := range map[string]string{"conditions": "type", "dnsRecords": "purpose"} {
		p := status[field]
		if p.Extensions["x-kubernetes-list-type"] != "map" || !cmp.Equal(p.Extensions["x-kubernetes-list-map-keys"], any([]any{key})) {
			t.Errorf("%s: %v", field, p.Extensions)
		}
	}
	ttl := all[SchemaPrefix+"DomainRecordSpec"].Properties["ttl"]
	if ttl.Format != "int32" || *ttl.Minimum != 0 || *ttl.Maximum != MaxTTL {
		t.Errorf("ttl: %+v", ttl.SchemaProps)
	}
	for _, c := range []struct {
		is   string
		got  []any
		want []any
	}{
		{"phase", status["phase"].Enum, []any{string(PhasePending), string(PhaseIssuing), string(PhaseActive), string(PhaseDetached)}},
		{"purpose", all[SchemaPrefix+"DNSRecord"].Properties["purpose"].Enum, []any{string(PurposeTraffic), string(PurposeACMEChallenge), string(PurposeOwnership)}},
		{"statusCode", all[SchemaPrefix+"TargetRedirect"].Properties["statusCode"].Enum, []any{301.0, 302.0, 303.0, 307.0, 308.0}},
		{"scheme", all[SchemaPrefix+"TargetRedirect"].Properties["scheme"].Enum, []any{SchemeHTTP, SchemeHTTPS}},
		{"kind", all[SchemaPrefix+"TargetRef"].Properties["kind"].Enum, []any{KindGateway, KindProxy, KindTunnel, KindEdgeFunction}},
	} {
		if !cmp.Equal(c.got, c.want) {
			t.Errorf("%s: %v, want %v", c.is, c.got, c.want)
		}
	}
	for name, want := range map[string][]string{
		SchemaPrefix + "DomainRecord":       {"spec"},
		SchemaPrefix + "DomainRecordSpec":   {"name", "target"},
		SchemaPrefix + "DomainRecordTarget": nil,
		SchemaPrefix + "RedirectPath":       {"type"},
		SchemaPrefix + "TargetRef":          {"kind", "name"},
		SchemaPrefixMeta + "Condition":      {"type", "status", "lastTransitionTime", "reason", "message"},
	} {
		if got := all[name].Required; !reflect.DeepEqual(got, want) {
			t.Errorf("%s requires %v, want %v", name, got, want)
		}
	}
}

// sample has every field of a record set, those too that exclude one another.
const sample = `
apiVersion: core.apoxy.dev/v1alpha3
kind: DomainRecord
metadata:
  name: api.example.com
  labels: {core.apoxy.dev/owner: acme}
  finalizers: [example.com/hold]
spec:
  name: api.example.com
  ttl: 60
  tls: {certificateAuthority: letsencrypt}
  target:
    ref: {group: gateway.apoxy.dev, kind: Gateway, name: default}
    redirect:
      {scheme: https, hostname: www.example.com, port: 443, statusCode: 308,
       path: {type: ReplaceFullPath, replaceFullPath: /, replacePrefixMatch: /}}
status:
  observedGeneration: 1
  type: Ref
  phase: Active
  resolvedValues: [api.example.com.cname.example.net.]
  dnsRecords:
  - {purpose: Traffic, type: CNAME, name: api.example.com., value: x., zone: example.com., host: api, observed: ["A 192.0.2.1"], configured: false, required: true,
     lastTransitionTime: "2026-01-02T03:04:05Z", problem: {reason: Mismatch, message: m}}
  dnsProvider: {name: p, controlPanel: "https://p.test/"}
  domainConnect: {url: "https://p.test/"}
  certificate: {issuer: ca, serialNumber: 0a, notBefore: "2026-01-02T03:04:05Z", notAfter: "2026-04-02T03:04:05Z", renewalTime: "2026-03-02T03:04:05Z", challenge: dns-01, source: ACME}
  ownership: {verified: true, proof: TLSCertificateIssued, token: true, owner: acme, verifiedTime: "2026-01-02T03:04:05Z", withdrawnTime: "2026-01-02T03:04:05Z", overwritten: true}
  conditions:
  - {type: Ready, status: "True", reason: Ready, message: m, lastTransitionTime: "2026-01-02T03:04:05Z", observedGeneration: 1}
`

func TestManagedFieldsAreComputedFromTheSchemas(t *testing.T) {
	for _, schemas := range []map[string]*spec.Schema{OpenAPISchemas(), OpenAPIDefinitions()} {
		converter, err := managedfields.NewTypeConverter(schemas, false)
		if err != nil {
			t.Fatal(err)
		}
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(sample), &u.Object); err != nil {
			t.Fatal(err)
		}
		value, err := converter.ObjectToTyped(u)
		if err != nil {
			t.Fatal(err)
		}
		set, err := value.ToFieldSet()
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []fieldpath.Path{
			fieldpath.MakePathOrDie("spec", "target", "ref", "name"),
			fieldpath.MakePathOrDie("status", "conditions", fieldpath.KeyByFields("type", "Ready"), "reason"),
			fieldpath.MakePathOrDie("status", "dnsRecords", fieldpath.KeyByFields("purpose", "Traffic"), "problem", "reason"),
		} {
			if !set.Has(want) {
				t.Errorf("the fields hold no %s", want)
			}
		}
		back, err := converter.TypedToObject(value)
		if err != nil || !cmp.Equal(back.(*unstructured.Unstructured).Object, u.Object) {
			t.Errorf("there and back: %v, %v", back, err)
		}
		u.Object["spec"].(map[string]any)["unknown"] = "x"
		if _, err := converter.ObjectToTyped(u, typed.AllowDuplicates); err == nil {
			t.Error("an unknown field is accepted")
		}
	}
}

// TestSampleFillsTheSchema keeps the sample complete, and with it the tests
// that use it: every property of our own types occurs in it.
func TestSampleFillsTheSchema(t *testing.T) {
	var r DomainRecord
	if err := yaml.UnmarshalStrict([]byte(sample), &r); err != nil {
		t.Fatal(err)
	}
	for _, part := range []any{r.Spec, *r.Spec.Target.Ref, *r.Spec.Target.Redirect, *r.Spec.Target.Redirect.Path, r.Status, r.Status.DNSRecords[0], *r.Status.DNSRecords[0].Problem, *r.Status.DNSProvider, *r.Status.DomainConnect, *r.Status.Certificate, *r.Status.Ownership} {
		v := reflect.ValueOf(part)
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			if v.Field(i).IsZero() && name != "Configured" {
				t.Errorf("the sample leaves out %T.%s", part, name)
			}
		}
	}
}

func TestCopiesShareNothing(t *testing.T) {
	var r DomainRecord
	if err := yaml.Unmarshal([]byte(sample), &r); err != nil {
		t.Fatal(err)
	}
	list := &DomainRecordList{Items: []DomainRecord{r}, ListMeta: metav1.ListMeta{RemainingItemCount: new(int64)}}
	c := list.DeepCopyObject().(*DomainRecordList)
	if diff := cmp.Diff(list, c); diff != "" {
		t.Fatalf("the copy differs: %s", diff)
	}
	seen := map[uintptr]bool{}
	pointers(reflect.ValueOf(list), func(p uintptr, _ string) { seen[p] = true })
	pointers(reflect.ValueOf(c), func(p uintptr, path string) {
		if seen[p] {
			t.Errorf("%s is shared", path)
		}
	})
	var none *DomainRecord
	if none.DeepCopy() != nil || none.DeepCopyObject() != nil {
		t.Error("the copy of nil is not nil")
	}
	empty := (&DNSRecord{Observed: []string{}})
	var out DNSRecord
	if empty.DeepCopyInto(&out); out.Observed == nil {
		t.Error("an empty list became nil")
	}
}

// pointers visits every pointer, slice and map below v, times aside, whose
// location is shared by design.
func pointers(v reflect.Value, visit func(uintptr, string)) { walk(v, v.Type().String(), visit) }

func walk(v reflect.Value, path string, visit func(uintptr, string)) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return
		}
		visit(v.Pointer(), path)
		walk(v.Elem(), path, visit)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[metav1.Time]() {
			return
		}
		for i := range v.NumField() {
			walk(v.Field(i), path+"."+v.Type().Field(i).Name, visit)
		}
	case reflect.Slice:
		if v.Len() > 0 {
			visit(v.Pointer(), path)
		}
		for i := range v.Len() {
			walk(v.Index(i), path+"[]", visit)
		}
	case reflect.Map:
		if !v.IsNil() {
			visit(v.Pointer(), path)
		}
	}
}

func TestSchemeKnowsTheKinds(t *testing.T) {
	s := runtime.NewScheme()
	if err := AddToScheme(s); err != nil {
		t.Fatal(err)
	}
	for _, o := range []runtime.Object{&DomainRecord{}, &DomainRecordList{}} {
		kinds, _, err := s.ObjectKinds(o)
		if err != nil || len(kinds) != 1 || kinds[0].GroupVersion() != GroupVersion {
			t.Errorf("%T: %v, %v", o, kinds, err)
		}
	}
	if o, err := s.New(GroupVersionKind); err != nil {
		t.Error(err)
	} else if _, ok := o.(*DomainRecord); !ok {
		t.Errorf("%T", o)
	}
}
