package apiserver

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

func names(l *v1alpha3.DomainRecordList) string {
	var list []string
	for _, r := range l.Items {
		list = append(list, strings.TrimSuffix(r.Name, ".example.com"))
	}
	return strings.Join(list, " ")
}

func TestListSelects(t *testing.T) {
	w := newWorld(t)
	if a := w.call("GET", base, "").want(200); !strings.Contains(string(a.body), `"items":[]`) {
		t.Errorf("no records: %s", a.body)
	}
	for i := range 6 {
		w.create(fmt.Sprintf("h%d.example.com", i), fmt.Sprintf(`"labels":{"parity":"%d"}`, i%2))
	}
	w.merge("h3.example.com", `{"spec":{"target":{"ref":{"kind":"Proxy","name":"api"}}}}`).want(200)
	w.create("other.example.com", `"name":"other--ref"`)
	for _, tc := range []struct{ labels, fields, want string }{
		{"", "", "h0 h1 h2 h3 h4 h5 other--ref"},
		{"parity=1", "", "h1 h3 h5"},
		{"parity notin (1)", "", "h0 h2 h4 other--ref"},
		{"!parity", "", "other--ref"},
		{"", "metadata.name=h2.example.com", "h2"},
		{"", "metadata.name!=h2.example.com", "h0 h1 h3 h4 h5 other--ref"},
		{"", "spec.name=other.example.com", "other--ref"},
		{"", "spec.name=nobody.example.com", ""},
		{"parity=0", "spec.name=h1.example.com", ""},
		{"", "spec.target.ref.kind=Proxy", "h3"},
		{"", "spec.target.ref.kind=Proxy,spec.target.ref.name=api", "h3"},
		{"", "spec.target.ref.name=api,metadata.name=h1.example.com", ""},
	} {
		for _, limit := range []string{"", "&limit=2"} {
			t.Run(tc.labels+"|"+tc.fields+limit, func(t *testing.T) {
				query := "?labelSelector=" + url.QueryEscape(tc.labels) + "&fieldSelector=" + url.QueryEscape(tc.fields) + limit
				var got []string
				for token := ""; ; {
					l := w.call("GET", base+query+"&continue="+token, "").want(200).list()
					if n := names(l); n != "" {
						got = append(got, n)
					}
					if token = l.Continue; token == "" {
						break
					}
				}
				if s := strings.Join(got, " "); s != tc.want {
					t.Errorf("got %q, want %q", s, tc.want)
				}
			})
		}
	}
}

func TestListRefusals(t *testing.T) {
	w := newWorld(t)
	w.create("a.example.com")
	for query, code := range map[string]int{
		"labelSelector=a+in+b":                         400,
		"fieldSelector=spec.ttl%3D1":                   400,
		"fieldSelector=x":                              400,
		"resourceVersion=abc":                          400,
		"resourceVersion=-1":                           400,
		"resourceVersion=999999":                       504,
		"resourceVersionMatch=Exact":                   422,
		"resourceVersion=1&resourceVersionMatch=No":    422,
		"resourceVersion=0&resourceVersionMatch=Exact": 422,
		"sendInitialEvents=true":                       422,
		"continue=abc":                                 400,
		"continue=!":                                   400,
		"limit=x":                                      400,
		"includeObject=All":                            400,
		"watch=true&sendInitialEvents=true":            422,
		"watch=true&resourceVersion=999999":            504,
		"watch=true&resourceVersionMatch=NotOlderThan": 422,
	} {
		t.Run(query, func(t *testing.T) {
			a := w.call("GET", base+"?"+query, "")
			if a.code != code {
				t.Errorf("status %d, want %d: %s", a.code, code, a.body)
			}
		})
	}
	st := w.call("GET", base+"?resourceVersion=999999", "").status(504, metav1.StatusReasonTimeout)
	if len(st.Details.Causes) != 1 || st.Details.Causes[0].Type != metav1.CauseTypeResourceVersionTooLarge {
		t.Errorf("causes %+v", st.Details.Causes)
	}
}

func TestListPagesAreOfOneRevision(t *testing.T) {
	w := newWorld(t)
	for i := range 10 {
		w.create(fmt.Sprintf("h%d.example.com", i))
	}
	first := w.call("GET", base+"?limit=3", "").want(200).list()
	if names(first) != "h0 h1 h2" || first.Continue == "" || first.RemainingItemCount == nil || *first.RemainingItemCount != 7 {
		t.Fatalf("first page %s, %+v", names(first), first.ListMeta)
	}
	w.call("DELETE", base+"/h4.example.com", "").want(200)
	w.merge("h5.example.com", `{"metadata":{"labels":{"late":"yes"}}}`).want(200)
	w.create("h31.example.com")
	second := w.call("GET", base+"?limit=3&continue="+first.Continue, "").want(200).list()
	if names(second) != "h3 h4 h5" || second.ResourceVersion != first.ResourceVersion || second.Items[2].Labels != nil {
		t.Errorf("second page %s at %s", names(second), second.ResourceVersion)
	}
	rest := w.call("GET", base+"?continue="+second.Continue, "").want(200).list()
	if names(rest) != "h6 h7 h8 h9" || rest.Continue != "" || rest.RemainingItemCount != nil {
		t.Errorf("last page %s, %+v", names(rest), rest.ListMeta)
	}
	exact := w.call("GET", base+"?resourceVersionMatch=Exact&resourceVersion="+first.ResourceVersion, "").want(200).list()
	if len(exact.Items) != 10 {
		t.Errorf("%d records at revision %s", len(exact.Items), first.ResourceVersion)
	}
	if fresh := w.call("GET", base+"?resourceVersion="+first.ResourceVersion, "").want(200).list(); names(fresh) != "h0 h1 h2 h3 h31 h5 h6 h7 h8 h9" {
		t.Errorf("present %s", names(fresh))
	}
}

func TestListContinuesInconsistentlyPastTheHistory(t *testing.T) {
	w := newWorld(t, withHistory(t, 4))
	for i := range 5 {
		w.create(fmt.Sprintf("h%d.example.com", i))
	}
	first := w.call("GET", base+"?limit=1", "").list()
	for i := range 20 {
		w.merge("h3.example.com", fmt.Sprintf(`{"metadata":{"labels":{"a":"%d"}}}`, i)).want(200)
	}
	second := w.call("GET", base+"?limit=1&continue="+first.Continue, "").want(200).list()
	if names(second) != "h1" || second.ResourceVersion != first.ResourceVersion || *second.RemainingItemCount != 3 {
		t.Errorf("second page %s, %+v, %d remain", names(second), second.ListMeta, *second.RemainingItemCount)
	}
	w.call("DELETE", base+"/h2.example.com", "").want(200)
	rest := w.call("GET", base+"?continue="+second.Continue, "").want(200).list()
	if names(rest) != "h2 h3 h4" || rest.ResourceVersion != first.ResourceVersion || rest.Items[1].Labels["a"] != "19" {
		t.Errorf("rest %s, %+v: it is not read at the revision of the second page", names(rest), rest.ListMeta)
	}
	// Who watches from what the list says misses nothing.
	w.call("GET", base+"?watch=true&resourceVersion="+rest.ResourceVersion, "").status(410, metav1.StatusReasonExpired)
}

// A list whose selector finds little among much takes its time, while others write
// more than the history holds between any two of its reads.
func TestASelectorOverManyRecordsNeverExpires(t *testing.T) {
	h := new(hooked)
	w := newWorld(t, withHistory(t, 4), func(c *Config) { h.Store, c.Store = c.Store, h })
	w.fill(2*chunk + 10)
	w.create("zz.example.com", `"labels":{"rare":"yes"}`)
	n := 0
	h.list = func(o store.ListOptions) error {
		if o.Revision == 0 {
			return nil
		}
		for range 6 {
			n++
			op := store.Op{Key: "other/writer", Value: []byte(strconv.Itoa(n)), If: store.Any}
			if _, err := h.Store.Write(t.Context(), op); err != nil {
				return err
			}
		}
		return nil
	}
	for _, query := range []string{"?labelSelector=rare%3Dyes", "?labelSelector=rare%3Dyes&limit=500", "?fieldSelector=spec.target.ref.name%3Ddefault", ""} {
		l := w.call("GET", base+query, "").want(200).list()
		switch {
		case strings.Contains(query, "rare") && names(l) != "zz":
			t.Errorf("%s: %s", query, names(l))
		case !strings.Contains(query, "rare") && len(l.Items) != 2*chunk+11:
			t.Errorf("%s: %d records", query, len(l.Items))
		}
	}
	seen := 0
	for at := ""; ; {
		l := w.call("GET", base+"?limit=300&continue="+at, "").want(200).list()
		if seen += len(l.Items); l.Continue == "" {
			break
		}
		at = l.Continue
	}
	if n == 0 || seen != 2*chunk+11 {
		t.Errorf("%d writes came between, and %d records were seen", n, seen)
	}
}

func TestListForms(t *testing.T) {
	w := newWorld(t, func(c *Config) {})
	for i := range 3 {
		w.create(fmt.Sprintf("h%d.example.com", i))
	}
	t.Run("a table has columns and rows with metadata", func(t *testing.T) {
		var table metav1.Table
		a := w.call("GET", base, "", "Accept", "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1;g=meta.k8s.io,application/json").want(200)
		a.into(&table)
		if table.Kind != "Table" || table.APIVersion != "meta.k8s.io/v1" || len(table.Rows) != 3 || len(table.ColumnDefinitions) != len(table.Rows[0].Cells) {
			t.Fatalf("table %s", a.body)
		}
		if !strings.Contains(string(table.Rows[0].Object.Raw), `"kind":"PartialObjectMetadata"`) || table.ResourceVersion == "" {
			t.Errorf("row %s", table.Rows[0].Object.Raw)
		}
	})
	t.Run("rows carry what includeObject says", func(t *testing.T) {
		for policy, want := range map[string]string{"None": "", "Object": `"kind":"DomainRecord"`} {
			var table metav1.Table
			w.call("GET", base+"?includeObject="+policy, "", "Accept", "application/json;as=Table;v=v1beta1;g=meta.k8s.io").want(200).into(&table)
			if !strings.Contains(string(table.Rows[0].Object.Raw), want) || table.APIVersion != "meta.k8s.io/v1beta1" {
				t.Errorf("%s: row %s of %s", policy, table.Rows[0].Object.Raw, table.APIVersion)
			}
		}
	})
	t.Run("one record as a table", func(t *testing.T) {
		var table metav1.Table
		w.call("GET", base+"/h0.example.com", "", "Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").want(200).into(&table)
		if len(table.Rows) != 1 || table.Rows[0].Cells[0] != "h0.example.com" {
			t.Errorf("table %+v", table)
		}
	})
	t.Run("metadata alone", func(t *testing.T) {
		var l metav1.PartialObjectMetadataList
		w.call("GET", base, "", "Accept", "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1").want(200).into(&l)
		if l.Kind != "PartialObjectMetadataList" || len(l.Items) != 3 || l.Items[0].Name != "h0.example.com" || l.Items[0].Kind != "PartialObjectMetadata" {
			t.Errorf("list %+v", l)
		}
	})
	t.Run("YAML", func(t *testing.T) {
		a := w.call("GET", base, "", "Accept", "application/yaml").want(200)
		if a.header.Get("Content-Type") != "application/yaml" || !strings.Contains(string(a.body), "kind: DomainRecordList") {
			t.Errorf("%s: %s", a.header.Get("Content-Type"), a.body)
		}
	})
	t.Run("nothing acceptable is 406", func(t *testing.T) {
		w.call("GET", base, "", "Accept", "application/vnd.kubernetes.protobuf, application/cbor").status(406, metav1.StatusReasonNotAcceptable)
		w.call("GET", base, "", "Accept", "application/json;as=Chair;v=v1;g=meta.k8s.io").status(406, metav1.StatusReasonNotAcceptable)
	})
}

func TestLargeListsAreCompressed(t *testing.T) {
	w := newWorld(t)
	for i := range 20 {
		w.create(fmt.Sprintf("h%d.example.com", i), `"annotations":{"a":"`+strings.Repeat("x", 20<<10)+`"}`)
	}
	a := w.call("GET", base, "", "Accept-Encoding", "gzip").want(200)
	if a.header.Get("Content-Encoding") != "gzip" || len(a.body) > 100<<10 {
		t.Fatalf("encoding %q, %d bytes", a.header.Get("Content-Encoding"), len(a.body))
	}
	z, err := gzip.NewReader(strings.NewReader(string(a.body)))
	if err != nil {
		t.Fatal(err)
	}
	var l v1alpha3.DomainRecordList
	if err := json.NewDecoder(z).Decode(&l); err != nil || len(l.Items) != 20 {
		t.Errorf("%d records (%v)", len(l.Items), err)
	}
	if a := w.call("GET", base+"?limit=1", "", "Accept-Encoding", "gzip").want(200); a.header.Get("Content-Encoding") != "" {
		t.Error("a small answer was compressed")
	}
}

func TestListReadsManyChunks(t *testing.T) {
	w := newWorld(t)
	w.fill(2*chunk + 10)
	if l := w.call("GET", base, "").want(200).list(); len(l.Items) != 2*chunk+10 {
		t.Errorf("%d records", len(l.Items))
	}
	if l := w.call("GET", base+"?labelSelector=none", "").want(200).list(); len(l.Items) != 0 {
		t.Errorf("%d records", len(l.Items))
	}
}
