package apiserver

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// FuzzBodies sends anything to every verb that takes a body: the answer is a
// success or a Status, and what is stored can be read again.
func FuzzBodies(f *testing.F) {
	for i, seed := range []string{
		manifest("a.example.com"), `{"spec":{"ttl":1}}`, `[{"op":"copy","from":"/spec","path":"/metadata/labels"}]`,
		"spec: &a {name: x, target: *a}", `{"metadata":{"managedFields":[{}]}}`, `[null]`, `null`, "{\"spec\":\xff}",
		`{"metadata":{"managedFields":[{"manager":"m","operation":"Apply","apiVersion":"v9","fieldsType":"FieldsV1","fieldsV1":{"f:spec":{".":{},"v:1":{},"k:{\"a\":1}":{},"i:0":{}}}}]}}`,
		`[{"op":"add","path":"/metadata/managedFields","value":[{}]},{"op":"test","path":"/status/conditions","value":[null]},{"op":"replace","path":""}]`,
		"a: &a [x]\nb: [*a, *a]\n", "- - - - a\n? ? b\n",
		`{"metadata":{"finalizers":["a/b"],"resourceVersion":"1"},"status":{"conditions":[{}]}}`,
	} {
		f.Add(byte(i), []byte(seed))
	}
	w := newWorld(f)
	f.Fuzz(func(t *testing.T, verb byte, body []byte) {
		send := func(method, path, typ string, body []byte) *httptest.ResponseRecorder {
			rec := httptest.NewRecorder()
			req := httptest.NewRequest(method, path, bytes.NewReader(body))
			req.Header.Set("Content-Type", typ)
			w.s.ServeHTTP(rec, req)
			return rec
		}
		send("POST", base, typeJSON, []byte(manifest("a.example.com")))
		for _, c := range []struct{ method, path, typ string }{
			{"POST", base, typeJSON}, {"POST", base, typeYAML},
			{"PATCH", base + "/a.example.com", typeMerge}, {"PATCH", base + "/a.example.com", typeJSONP},
			{"PATCH", base + "/a.example.com?fieldManager=f&force=true", typeApply}, {"PATCH", base + "/b?fieldManager=f", typeApply},
			{"PATCH", base + "/a.example.com/status?fieldManager=f&force=true", typeApply},
			{"PUT", base + "/a.example.com", typeJSON}, {"DELETE", base + "/a.example.com", typeJSON},
		}[int(verb)%9:][:1] {
			rec := send(c.method, c.path, c.typ, body)
			var o struct{ Kind string }
			if err := json.Unmarshal(rec.Body.Bytes(), &o); err != nil {
				t.Fatalf("%s %s: %d, no JSON: %s", c.method, c.path, rec.Code, rec.Body)
			}
			if rec.Code >= 500 || (rec.Code/100 != 2 && o.Kind != "Status") {
				t.Fatalf("%s %s: %d %s", c.method, c.path, rec.Code, rec.Body)
			}
		}
		var l v1alpha3.DomainRecordList
		if rec := send("GET", base, "", nil); rec.Code != http.StatusOK || json.Unmarshal(rec.Body.Bytes(), &l) != nil {
			t.Fatalf("the list cannot be read any more: %d %s", rec.Code, rec.Body)
		}
	})
}

// FuzzManagedFields sends anything as a record's managed fields: whatever is
// made of it, the record can be written in every way afterwards.
func FuzzManagedFields(f *testing.F) {
	for _, seed := range []string{
		entry(), entry("operation", `"Apply"`) + "," + entry("subresource", `"status"`), entry("fieldsV1", `{"f:a":{".":{},"f:b":{}},"v:[1]":{},"k:{\"x\":null}":{}}`),
		entry("fieldsV1", `{"v:1e999":{}}`), entry("fieldsV1", `{"f:\ud800":{}}`), entry("apiVersion", `"v9"`), `{}`, `null`,
	} {
		f.Add([]byte(seed))
	}
	w := newWorld(f)
	w.create("a.example.com")
	send := func(path, typ, body string) *httptest.ResponseRecorder {
		rec := httptest.NewRecorder()
		req := httptest.NewRequest("PATCH", base+"/a.example.com"+path, strings.NewReader(body))
		req.Header.Set("Content-Type", typ)
		w.s.ServeHTTP(rec, req)
		return rec
	}
	f.Fuzz(func(t *testing.T, fields []byte) {
		if rec := send("", typeMerge, `{"metadata":{"managedFields":[`+string(fields)+`]}}`); rec.Code >= 500 {
			t.Fatalf("%d %s", rec.Code, rec.Body)
		}
		at := strconv.FormatInt(w.now.Add(1), 10)
		for _, rec := range []*httptest.ResponseRecorder{
			send("", typeMerge, `{"metadata":{"labels":{"at":"`+at+`"}}}`),
			send("?fieldManager=f&force=true", typeApply, `{"metadata":{"labels":{"by":"`+at+`"}}}`),
			send("/status?fieldManager=f&force=true", typeApply, `{"status":{"resolvedValues":["`+at+`"]}}`),
			send("", typeMerge, `{"metadata":{"managedFields":[{}]}}`),
		} {
			if rec.Code != http.StatusOK {
				t.Fatalf("after %s: %d %s", fields, rec.Code, rec.Body)
			}
		}
	})
}

// FuzzYAML holds what is weighed as YAML to the bounds once it is JSON.
func FuzzYAML(f *testing.F) {
	f.Add([]byte("a: &a {b: [1, *c]}\n"))
	f.Add([]byte("a: &a [x, x]\nb: {<<: {c: *a}}\n--- |\n x\n"))
	b := bounds{content: 1 << 20, values: maxValues, members: maxMembers}
	f.Fuzz(func(t *testing.T, data []byte) {
		out, _, err := fromYAML(data, b)
		if err == nil && weigh(out, b) != nil {
			t.Errorf("%q became %s, which is out of bounds", data, out)
		}
	})
}

// FuzzQuery parses anything as the parameters of a list.
func FuzzQuery(f *testing.F) {
	for _, seed := range []string{
		"labelSelector=a+in+(b)&limit=-5", "fieldSelector=spec.name!=x", "continue=" + continueToken{Revision: 3, After: "a"}.String(),
		"resourceVersion=1&resourceVersionMatch=Exact", "watch=1&timeoutSeconds=9999999999999", "continue=e30",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		query, err := url.ParseQuery(raw)
		if err != nil {
			return
		}
		c := &call{r: httptest.NewRequest("GET", base, nil), query: query}
		o, err := c.listOptions()
		if err == nil && o.token != nil && (o.token.Revision == 0 || o.token.After == "") {
			t.Errorf("token %+v", o.token)
		}
	})
}

// FuzzAccept parses anything as an Accept header.
func FuzzAccept(f *testing.F) {
	f.Add("application/json;as=Table;v=v1;g=meta.k8s.io,*/*;q=0.1")
	f.Add(acceptAggregated)
	f.Fuzz(func(t *testing.T, header string) {
		r := &http.Request{Header: http.Header{"Accept": {header}}}
		if m, err := negotiate(r, listOffers, false); err == nil && m.as != "" && m.version == "" {
			t.Errorf("%q: %+v", header, m)
		}
	})
}

// FuzzWithRevision holds the splice against decoding and encoding.
func FuzzWithRevision(f *testing.F) {
	f.Add([]byte(`{"metadata":{"resourceVersion":"1","name":"\u0000\\"},"spec":{"name":"a"}}`))
	f.Add([]byte(`{ "kind" : [1,{"metadata":{}}] , "metadata" : { } }`))
	f.Add([]byte(`{"metadata"`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		out, err := withRevision(raw, 42)
		if !json.Valid(raw) || err != nil {
			return
		}
		var in, got v1alpha3.DomainRecord
		if json.Unmarshal(raw, &in) != nil || bytes.Count(raw, []byte("etadata")) > 1 || bytes.Contains(raw, []byte(`\u`)) ||
			bytes.Count(bytes.ToLower(raw), []byte("resourceversion")) > 1 {
			return // not a record as the store has them
		}
		if err := json.Unmarshal(out, &got); err != nil || got.ResourceVersion != "42" || got.Name != in.Name {
			t.Errorf("%s became %s (%v)", raw, out, err)
		}
	})
}
