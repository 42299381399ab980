package apiserver

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestCreate(t *testing.T) {
	w := newWorld(t)
	r := w.call("POST", base, manifest("API.Example.com.", `"labels":{"a":"b"}`, `"uid":"mine"`, `"generation":7`),
		"User-Agent", "curl/8").want(201).record()
	if r.Name != "api.example.com" || r.Spec.Name != "api.example.com" {
		t.Errorf("name %q, spec.name %q: want both from the hostname, normalized", r.Name, r.Spec.Name)
	}
	if r.UID == "" || r.UID == "mine" || r.Generation != 1 || r.CreationTimestamp.IsZero() || r.ResourceVersion == "" {
		t.Errorf("metadata is not the server's: %+v", r.ObjectMeta)
	}
	if r.Status.Phase != "Pending" || len(r.Status.DNSRecords) == 0 {
		t.Errorf("status is not prepared: %+v", r.Status)
	}
	if len(r.ManagedFields) != 1 || r.ManagedFields[0].Manager != "curl" || strings.Contains(r.ManagedFields[0].FieldsV1.GetRawString(), "f:status") {
		t.Errorf("managed fields: %+v", r.ManagedFields)
	}
	if got := w.get("api.example.com"); got.ResourceVersion != r.ResourceVersion || got.UID != r.UID {
		t.Errorf("read back %+v, created %+v", got.ObjectMeta, r.ObjectMeta)
	}
}

func TestCreateRefusals(t *testing.T) {
	w := newWorld(t, func(c *Config) {
		c.Reserved = func(h string) (string, bool) { return "the site on :443", h == "www.operator.example" }
		c.NameServers = func() []string { return []string{"ns1.example.net", "ns1.operator.example"} }
		c.Limits.Body = 1 << 20
	})
	w.create("taken.example.com", `"name":"first"`)
	for _, tc := range []struct {
		name, body, contentType, query string
		code                           int
		reason                         metav1.StatusReason
		field, says                    string
	}{
		{name: "no hostname", body: manifest(""), code: 422, reason: metav1.StatusReasonInvalid, field: "spec.name"},
		{name: "an IP address", body: manifest("192.0.2.1"), code: 422, reason: metav1.StatusReasonInvalid, field: "spec.name"},
		{name: "a name inside the zone", body: manifest("a." + zone), code: 422, reason: metav1.StatusReasonInvalid, field: "spec.name"},
		{name: "an ancestor of the zone", body: manifest("example.net"), code: 422, reason: metav1.StatusReasonInvalid, field: "spec.name", says: "is an ancestor of the zone " + zone},
		{name: "a name server of the zone", body: manifest("NS1.Operator.example."), code: 422, reason: metav1.StatusReasonInvalid, field: "spec.name", says: "name server ns1.operator.example"},
		{name: "a wildcard that covers a name server", body: manifest("*.operator.example"), code: 422, reason: metav1.StatusReasonInvalid, field: "spec.name", says: "covers the zone's name server ns1.operator.example"},
		{name: "a name the configuration serves", body: manifest("www.operator.example"), code: 422, reason: metav1.StatusReasonInvalid, field: "spec.name", says: "the site on :443"},
		{name: "a second record for a hostname", body: manifest("taken.example.com"), code: 409, reason: metav1.StatusReasonAlreadyExists, field: "spec.name", says: `domainrecord "first"`},
		{name: "a name that is taken", body: manifest("other.example.com", `"name":"first"`), code: 409, reason: metav1.StatusReasonAlreadyExists},
		{name: "a name that is none", body: manifest("x.example.com", `"name":"A_b"`), code: 422, reason: metav1.StatusReasonInvalid, field: "metadata.name"},
		{name: "a label that is none", body: manifest("x.example.com", `"labels":{"-":"b"}`), code: 422, reason: metav1.StatusReasonInvalid, field: "metadata.labels"},
		{name: "annotations beyond 256 KiB", body: manifest("x.example.com", `"annotations":{"a":"`+strings.Repeat("x", 300<<10)+`"}`), code: 422, reason: metav1.StatusReasonInvalid, field: "metadata.annotations"},
		{name: "a missing ref", body: `{"spec":{"name":"x.example.com"}}`, code: 422, reason: metav1.StatusReasonInvalid, field: "spec.target.ref"},
		{name: "a value of the wrong type", body: `{"spec":{"name":"x.example.com","ttl":"long"}}`, code: 422, reason: metav1.StatusReasonInvalid, field: "spec.ttl"},
		{name: "another kind", body: `{"kind":"Pod","spec":{}}`, code: 400, reason: metav1.StatusReasonBadRequest},
		{name: "another version", body: `{"apiVersion":"v1"}`, code: 400, reason: metav1.StatusReasonBadRequest},
		{name: "no JSON", body: `{`, code: 400, reason: metav1.StatusReasonBadRequest},
		{name: "no body", body: ``, code: 400, reason: metav1.StatusReasonBadRequest},
		{name: "a resourceVersion", body: manifest("x.example.com", `"resourceVersion":"3"`), code: 400, reason: metav1.StatusReasonBadRequest},
		{name: "an unknown field under Strict", body: `{"spec":{"nome":"x"}}`, query: "fieldValidation=Strict", code: 400, reason: metav1.StatusReasonBadRequest, says: `strict decoding error: unknown field "spec.nome"`},
		{name: "a duplicate field under Strict", body: `{"spec":{"name":"x","name":"y"}}`, query: "fieldValidation=Strict", code: 400, reason: metav1.StatusReasonBadRequest, says: `duplicate field "spec.name"`},
		{name: "an unknown dryRun", body: manifest("x.example.com"), query: "dryRun=Some", code: 422, reason: metav1.StatusReasonInvalid, field: "dryRun"},
		{name: "Apoxy's zone under Strict", body: `{"spec":{"zone":"x"}}`, query: "fieldValidation=Strict", code: 400, reason: metav1.StatusReasonBadRequest, says: `strict decoding error: unknown field "spec.zone"; there is no spec.zone here: `},
		{name: "Apoxy's DNS data under Strict", body: `{"spec":{"target":{"dns":{"a":["192.0.2.1"]}}}}`, query: "fieldValidation=Strict", code: 400, reason: metav1.StatusReasonBadRequest, says: `there is no spec.target.dns here: `},
		{name: "an unknown fieldValidation", body: manifest("x.example.com"), query: "fieldValidation=Maybe", code: 422, reason: metav1.StatusReasonInvalid, field: "fieldValidation"},
		{name: "protobuf", body: "k8s\x00", contentType: "application/vnd.kubernetes.protobuf", code: 415, reason: metav1.StatusReasonUnsupportedMediaType},
		{name: "a body beyond the limit", body: strings.Repeat(" ", 1<<20+1), code: 413, reason: metav1.StatusReasonRequestEntityTooLarge},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.contentType == "" {
				tc.contentType = "application/json"
			}
			a := w.call("POST", base+"?"+tc.query, tc.body, "Content-Type", tc.contentType)
			a.t = t
			st := a.status(tc.code, tc.reason)
			if tc.field != "" && !strings.Contains(","+causes(st)+",", ","+tc.field+",") {
				t.Errorf("causes name %q, want %q: %s", causes(st), tc.field, a.body)
			}
			if tc.field == "spec.name" && strings.Contains(causes(st), "metadata.name") {
				t.Errorf("causes %q name metadata.name, too, which follows from spec.name", causes(st))
			}
			if !strings.Contains(st.Message, tc.says) {
				t.Errorf("message %q does not say %q", st.Message, tc.says)
			}
		})
	}
}

func TestCreateUnknownFieldsWarnAndAreDropped(t *testing.T) {
	w := newWorld(t)
	body := strings.Replace(manifest("a.example.com"), `"tls":{}`, `"tls":{},"extra":1`, 1)
	a := w.call("POST", base, body).want(201)
	if got := a.header.Get("Warning"); !strings.Contains(got, `299 - "unknown field \"spec.extra\""`) {
		t.Errorf("warning %q", got)
	}
	if strings.Contains(string(a.body), "extra") {
		t.Errorf("the unknown field was kept: %s", a.body)
	}
	a = w.call("POST", base+"?fieldValidation=Ignore", strings.ReplaceAll(body, "a.example", "b.example")).want(201)
	if got := a.header.Get("Warning"); got != "" {
		t.Errorf("warning %q under Ignore", got)
	}
}

func TestCreateFromYAML(t *testing.T) {
	w := newWorld(t)
	r := w.call("POST", base, "spec:\n  name: bücher.example.com\n  target: {ref: {kind: Proxy, name: api}}\n",
		"Content-Type", "application/yaml").want(201).record()
	if r.Name != "xn--bcher-kva.example.com" || r.Spec.TLS != nil {
		t.Errorf("created %+v", r)
	}
}

func TestCreateGeneratesNames(t *testing.T) {
	w := newWorld(t)
	r := w.create("a.example.com", `"generateName":"tenant-"`)
	if !strings.HasPrefix(r.Name, "tenant-") || len(r.Name) != len("tenant-")+5 {
		t.Errorf("name %q", r.Name)
	}
}

func TestCreateDryRunStoresNothing(t *testing.T) {
	w := newWorld(t)
	w.create("taken.example.com")
	before := w.call("GET", base, "").list().ResourceVersion
	if r := w.call("POST", base+"?dryRun=All", manifest("a.example.com")).want(201).record(); r.ResourceVersion != "" || r.UID == "" {
		t.Errorf("dry run answered %+v", r.ObjectMeta)
	}
	w.call("POST", base+"?dryRun=All", manifest("taken.example.com", `"name":"b"`)).status(409, metav1.StatusReasonAlreadyExists)
	w.call("GET", base+"/a.example.com", "").status(404, metav1.StatusReasonNotFound)
	if after := w.call("GET", base, "").list().ResourceVersion; after != before {
		t.Errorf("revision moved from %s to %s", before, after)
	}
}

func TestRacingCreatesForOneHostnameHaveOneWinner(t *testing.T) {
	w := newWorld(t)
	var wg sync.WaitGroup
	codes := make([]int, 40)
	for i := range codes {
		wg.Go(func() {
			codes[i] = w.call("POST", base, manifest("race.example.com", fmt.Sprintf(`"name":"r%d"`, i))).code
		})
	}
	wg.Wait()
	won := 0
	for _, c := range codes {
		switch c {
		case 201:
			won++
		case 409:
		default:
			t.Errorf("status %d", c)
		}
	}
	if won != 1 {
		t.Errorf("%d creates won", won)
	}
	if l := w.call("GET", base, "").list(); len(l.Items) != 1 {
		t.Errorf("%d records are there", len(l.Items))
	}
}
