package dashboard

import (
	"context"
	"encoding/json"
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
	"github.com/apoxy-dev/caddy-apoxy/apiserver"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
)

const (
	zone  = "cname.example.net"
	mount = "/any/where"
)

// world is a Dashboard below a prefix, over the API, its store and the table.
type world struct {
	t       testing.TB
	api     *apiserver.Server
	table   *hosts.Table
	facts   *told
	d       *Dashboard
	http    *httptest.Server
	revoked atomic.Int64
	checked atomic.Int64
}

// told are facts that a test tells.
type told struct {
	table    *hosts.Table
	summary  func() Summary
	issuance Issuance
	series   []Series
	nodes    []Node
	findings []Finding
	events   []Event
	place    *Place
	chain    []Certificate
	answers  []NameAnswers
	asked    []string // of Answers
}

func (f *told) Summary(context.Context) Summary                   { return f.summary() }
func (f *told) Issuance(context.Context) Issuance                 { return f.issuance }
func (f *told) Series(context.Context) []Series                   { return f.series }
func (f *told) Nodes(context.Context) ([]Node, error)             { return f.nodes, nil }
func (f *told) Timeline(context.Context, string) ([]Event, error) { return f.events, nil }
func (f *told) Findings(context.Context) ([]Finding, time.Time, error) {
	return f.findings, time.Unix(1_790_000_000, 0), nil
}
func (f *told) Certificate(context.Context, string) ([]Certificate, error) { return f.chain, nil }
func (f *told) Answers(_ context.Context, names []string) []NameAnswers {
	f.asked = names
	return f.answers
}
func (f *told) Place(context.Context, string) (Place, bool) {
	if f.place == nil {
		return Place{}, false
	}
	return *f.place, true
}

func newWorld(t testing.TB, change ...func(*Config)) *world {
	t.Helper()
	st, err := boltstore.Open(filepath.Join(t.TempDir(), "apoxy.db"), boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, table: hosts.New()}
	w.facts = &told{table: w.table, summary: func() Summary { return Summary{Records: w.table.Len()} }}
	ctx, cancel := context.WithCancel(context.Background())
	var following sync.WaitGroup
	following.Go(func() { _ = hosts.Follow(ctx, st, hosts.Follower{Table: w.table}) }) // it ends with the context
	w.api, err = apiserver.New(apiserver.Config{
		Store: st, Index: w.table, Zone: func() string { return zone },
		Prepare: func(r, _ *v1alpha3.DomainRecord) {
			r.Status.Phase = v1alpha3.PhasePending
			r.Status.DNSRecords = v1alpha3.ExpectedDNSRecords(r, zone, "")
		},
		Check:  func(context.Context, string) error { w.checked.Add(1); return nil },
		Revoke: func(context.Context, string, string) error { w.revoked.Add(1); return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{API: w.api, Facts: w.facts, AllowWrites: true, Search: w.search,
		Changes: func(ctx context.Context, since int64, name string) (int64, error) {
			if since < 0 {
				return w.table.Revision(), nil
			}
			return w.table.WaitChange(ctx, since, name)
		}}
	for _, c := range change {
		c(&cfg)
	}
	if w.d, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	w.http = httptest.NewServer(http.StripPrefix(mount, w.d))
	t.Cleanup(func() {
		w.http.CloseClientConnections()
		w.http.Close()
		cancel()
		following.Wait()
		w.api.Close()
		st.Close()
	})
	return w
}

func (w *world) search(ctx context.Context, q Query) (Result, error) {
	found, err := w.table.Search(ctx, hosts.Search{Text: q.Text, Owner: q.Owner, Phase: v1alpha3.Phase(q.Phase), Condition: q.Condition,
		Status: metav1.ConditionStatus(q.Status), Reason: q.Reason, After: q.After, Before: q.Before, Most: q.Most})
	return Result{Names: found.Names, More: found.More, Upto: found.Upto, Cut: found.Cut}, err
}

// call asks the API for something that must succeed, and waits until the table knows it.
func (w *world) call(method, path string, body any) *v1alpha3.DomainRecord {
	w.t.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		w.t.Fatal(err)
	}
	r := httptest.NewRequest(method, strings.TrimSuffix(recordsPath, "/")+path, strings.NewReader(string(data)))
	r.Header.Set("Content-Type", "application/json")
	out := httptest.NewRecorder()
	w.api.ServeHTTP(out, r)
	if out.Code >= 300 {
		w.t.Fatalf("%s %s: %d %s", method, path, out.Code, out.Body)
	}
	rec := new(v1alpha3.DomainRecord)
	if method == http.MethodDelete {
		return nil
	}
	if err := json.Unmarshal(out.Body.Bytes(), rec); err != nil {
		w.t.Fatal(err)
	}
	return rec
}

// create makes a record with a status.
func (w *world) create(name string, change func(*v1alpha3.DomainRecord)) *v1alpha3.DomainRecord {
	w.t.Helper()
	r := &v1alpha3.DomainRecord{TypeMeta: metav1.TypeMeta{APIVersion: v1alpha3.GroupVersion.String(), Kind: v1alpha3.Kind}}
	r.Spec = v1alpha3.DomainRecordSpec{Name: name, TLS: &v1alpha3.DomainRecordTLS{}, Target: v1alpha3.DomainRecordTarget{Ref: v1alpha3.TargetKey{Kind: v1alpha3.KindGateway, Name: "default"}.Ref()}}
	if change != nil {
		change(r)
	}
	status := r.Status
	r = w.call(http.MethodPost, "", r)
	if len(status.Conditions) > 0 {
		if status.DNSRecords == nil {
			status.DNSRecords = r.Status.DNSRecords
		}
		r.Status = status
		r = w.call(http.MethodPut, "/"+r.Name+"/status", r)
	}
	var revision int64
	if err := json.Unmarshal([]byte(r.ResourceVersion), &revision); err != nil {
		w.t.Fatal(err)
	}
	if err := w.table.WaitRevision(w.t.Context(), revision); err != nil {
		w.t.Fatal(err)
	}
	return r
}

// page is an answer that a browser has got.
type page struct {
	*http.Response
	Text string
}

func (w *world) do(r *http.Request) page {
	w.t.Helper()
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := client.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return page{answer, string(body)}
}

// get asks for a page below the mount.
func (w *world) get(path string) page {
	w.t.Helper()
	r, err := http.NewRequest(http.MethodGet, w.http.URL+mount+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.do(r)
}

// post sends a form as a browser does, from an origin.
func (w *world) post(path, origin, form string) page {
	w.t.Helper()
	r, err := http.NewRequest(http.MethodPost, w.http.URL+mount+path, strings.NewReader(form))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", origin)
	return w.do(r)
}

// condition is one of a status.
func condition(t string, status metav1.ConditionStatus, reason, message string) metav1.Condition {
	return metav1.Condition{Type: t, Status: status, Reason: reason, Message: message, LastTransitionTime: metav1.NewTime(time.Unix(1_790_000_000, 0))}
}

// waiting is a record whose customer has done nothing yet.
func waiting(r *v1alpha3.DomainRecord) {
	r.Status.Phase = v1alpha3.PhasePending
	message := "Nothing is at the name. The customer creates " + r.Spec.Name + ". CNAME " + r.Spec.Name + "." + zone + "."
	r.Status.Conditions = []metav1.Condition{
		condition(v1alpha3.ConditionOwnershipVerified, metav1.ConditionFalse, v1alpha3.ReasonOwnershipNotVerified, message),
		condition(v1alpha3.ConditionReady, metav1.ConditionFalse, v1alpha3.ReasonOwnershipNotVerified, message),
	}
}

// served is a record that is all well.
func served(r *v1alpha3.DomainRecord) {
	r.Status.Phase = v1alpha3.PhaseActive
	at := metav1.NewTime(time.Unix(1_790_000_000, 0))
	r.Status.Certificate = &v1alpha3.CertificateStatus{Issuer: "letsencrypt", SerialNumber: "0a", NotBefore: &at, NotAfter: &at}
	r.Status.Conditions = []metav1.Condition{condition(v1alpha3.ConditionReady, metav1.ConditionTrue, v1alpha3.ReasonReady, "It is served.")}
}
