package apiserver

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
)

const zone = "cname.example.net"

// world is a Server over a bolt store, reached through a real HTTP server.
type world struct {
	t     testing.TB
	s     *Server
	store store.Store
	http  *httptest.Server
	now   atomic.Int64
}

func newWorld(t testing.TB, change ...func(*Config)) *world {
	t.Helper()
	st, err := boltstore.Open(filepath.Join(t.TempDir(), "apoxy.db"), boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, store: st}
	w.now.Store(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC).Unix())
	cfg := Config{
		Store: st,
		Zone:  func() string { return zone },
		Now:   func() time.Time { return time.Unix(w.now.Load(), 0) },
		Prepare: func(r, _ *v1alpha3.DomainRecord) {
			r.Status.Type, r.Status.Phase = v1alpha3.StatusTypeRef, v1alpha3.PhasePending
			r.Status.DNSRecords = v1alpha3.ExpectedDNSRecords(r, zone, "")
		},
	}
	table := hosts.New()
	cfg.Index = table
	for _, c := range change {
		c(&cfg)
	}
	keepUp(t, st, table)
	if w.s, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	w.http = httptest.NewServer(w.s)
	t.Cleanup(func() {
		w.s.Close()
		w.http.Close()
		st.Close()
	})
	return w
}

// keepUp keeps a table up with a store until the test ends.
func keepUp(t testing.TB, st store.Store, table *hosts.Table) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = hosts.Follow(ctx, st, hosts.Follower{Table: table}) }) // ends with the context
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	if err := table.WaitRevision(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
}

// answer is a response, read whole.
type answer struct {
	t      testing.TB
	code   int
	header http.Header
	body   []byte
}

// call sends one request; headers alternate name and value.
func (w *world) call(method, path, body string, headers ...string) *answer {
	w.t.Helper()
	req, err := http.NewRequest(method, w.http.URL+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := w.http.Client().Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return &answer{t: w.t, code: res.StatusCode, header: res.Header, body: data}
}

func (a *answer) want(code int) *answer {
	a.t.Helper()
	if a.code != code {
		a.t.Fatalf("status %d, want %d: %s", a.code, code, a.body)
	}
	return a
}

func (a *answer) into(v any) {
	a.t.Helper()
	if err := json.Unmarshal(a.body, v); err != nil {
		a.t.Fatalf("decoding %s: %v", a.body, err)
	}
}

func (a *answer) record() *v1alpha3.DomainRecord {
	a.t.Helper()
	r := new(v1alpha3.DomainRecord)
	a.into(r)
	if r.Kind != v1alpha3.Kind {
		a.t.Fatalf("not a DomainRecord: %s", a.body)
	}
	return r
}

func (a *answer) list() *v1alpha3.DomainRecordList {
	a.t.Helper()
	l := new(v1alpha3.DomainRecordList)
	a.into(l)
	return l
}

// status is the answer as an error, which it must be.
func (a *answer) status(code int, reason metav1.StatusReason) *metav1.Status {
	a.t.Helper()
	a.want(code)
	st := new(metav1.Status)
	a.into(st)
	if st.Kind != "Status" || st.APIVersion != "v1" || st.Status != metav1.StatusFailure || st.Reason != reason || int(st.Code) != code {
		a.t.Fatalf("want a Failure of reason %s, got %s", reason, a.body)
	}
	return st
}

// causes are the fields that a Status names.
func causes(st *metav1.Status) string {
	var list []string
	if st.Details != nil {
		for _, c := range st.Details.Causes {
			list = append(list, c.Field)
		}
	}
	return strings.Join(list, ",")
}

const (
	mergeHeader = "application/merge-patch+json"
	jsonHeader  = "application/json-patch+json"
	applyHeader = "application/apply-patch+yaml"
)

// manifest is a record for a hostname, with more members of metadata.
func manifest(host string, metadata ...string) string {
	return fmt.Sprintf(`{"apiVersion":"core.apoxy.dev/v1alpha3","kind":"DomainRecord","metadata":{%s},"spec":{"name":%q,"tls":{},"target":{"ref":{"kind":"Gateway","name":"default"}}}}`,
		strings.Join(metadata, ","), host)
}

func (w *world) create(host string, metadata ...string) *v1alpha3.DomainRecord {
	w.t.Helper()
	return w.call("POST", base, manifest(host, metadata...)).want(201).record()
}

func (w *world) get(name string) *v1alpha3.DomainRecord {
	w.t.Helper()
	return w.call("GET", base+"/"+name, "").want(200).record()
}

func (w *world) merge(name, patch string) *answer {
	w.t.Helper()
	return w.call("PATCH", base+"/"+name, patch, "Content-Type", mergeHeader)
}

func (w *world) apply(name, body, query string) *answer {
	w.t.Helper()
	return w.call("PATCH", base+"/"+name+"?"+query, body, "Content-Type", applyHeader)
}
