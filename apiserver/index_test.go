package apiserver

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
	"github.com/apoxy-dev/caddy-apoxy/internal/etcdtest"
	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
	"github.com/apoxy-dev/caddy-apoxy/store/etcdstore"
	"github.com/apoxy-dev/caddy-apoxy/store/mirror"
)

func TestMain(m *testing.M) { etcdtest.Main(m) }

// someRecord is a stored record that a selector may tell from others.
func someRecord(rnd *rand.Rand, name string) []byte {
	r := v1alpha3.DomainRecord{TypeMeta: typeMeta}
	r.Name, r.Spec.Name = name, name
	if n := rnd.IntN(6); n > 0 {
		r.Labels = map[string]string{v1alpha3.OwnerLabel: fmt.Sprintf("owner-%d", n), "tier": fmt.Sprint(rnd.IntN(3))}
	}
	r.Spec.Target.Ref = &v1alpha3.TargetRef{Kind: v1alpha3.TargetKinds()[rnd.IntN(2)], Name: "default"}
	r.Status.Phase = []v1alpha3.Phase{"", "Pending", "Issuing", "Active", "Detached"}[rnd.IntN(5)]
	for _, t := range v1alpha3.ConditionTypes() {
		if reasons := append(v1alpha3.ConditionReasons(t), "Novel"); rnd.IntN(4) > 0 {
			r.Status.Conditions = append(r.Status.Conditions, metav1.Condition{
				Type: t, Status: []metav1.ConditionStatus{"True", "False", "Unknown"}[rnd.IntN(3)], Reason: reasons[rnd.IntN(len(reasons))],
			})
		}
	}
	data, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	return data
}

// selectors are what the model is asked: each index, several together, and none.
var selectors = []struct{ labels, fields string }{
	{v1alpha3.OwnerLabel + "=owner-2", ""},
	{v1alpha3.OwnerLabel + "=owner-3,tier=1", "status.phase=Active"},
	{v1alpha3.OwnerLabel + " in (owner-1,owner-4)", ""},
	{"!" + v1alpha3.OwnerLabel, ""},
	{"tier!=1", ""},
	{"", "status.phase=Issuing"},
	{"", "status.phase!=Pending"},
	{"", "status.phase=Pending,spec.target.ref.kind=Proxy"},
	{"", "status.conditions.TLSReady.reason=RateLimited"},
	{"", "status.conditions.TLSReady.reason=Novel"},
	{"", "status.conditions.TLSReady.reason!=Novel,status.conditions.Ready.status=False"},
	{"tier=2", "status.conditions.CNAMEConfigured.status=,status.phase=Detached"},
	{"", "metadata.name!=n7.example"},
}

// fieldText reads a field of a record for the model, without the code under test.
func fieldText(r *v1alpha3.DomainRecord, name string) string {
	parts := strings.Split(name, ".")
	switch name {
	case "metadata.name":
		return r.Name
	case "spec.target.ref.kind":
		return r.Spec.Target.Ref.Kind
	case "status.phase":
		if r.Status.Phase == "" {
			return "Pending"
		}
		return string(r.Status.Phase)
	}
	for _, c := range r.Status.Conditions {
		if c.Type == parts[2] && parts[3] == "reason" {
			return c.Reason
		} else if c.Type == parts[2] {
			return string(c.Status)
		}
	}
	return ""
}

func (w *world) selected(records []v1alpha3.DomainRecord, labelSelector, fieldSelector string) (want []string) {
	w.t.Helper()
	l, err := labels.Parse(labelSelector)
	if err != nil {
		w.t.Fatal(err)
	}
	f, err := fields.ParseSelector(fieldSelector)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := range records {
		r, set := &records[i], fields.Set{}
		for _, q := range f.Requirements() {
			set[q.Field] = fieldText(r, q.Field)
		}
		if l.Matches(labels.Set(r.Labels)) && f.Matches(set) {
			want = append(want, r.Name+"@"+r.ResourceVersion)
		}
	}
	return want
}

// listed reads all pages, and returns what they hold and of which revision.
func (w *world) listed(query string) (got []string, revision string) {
	w.t.Helper()
	for token := ""; ; {
		l := w.call("GET", base+query+"&continue="+token, "").want(200).list()
		for _, r := range l.Items {
			got = append(got, r.Name+"@"+r.ResourceVersion)
		}
		if token = l.Continue; token == "" {
			return got, l.ResourceVersion
		}
	}
}

// TestListsByIndexAreOneState holds lists by every kind of selector, read in pages while
// others write, against a filter of everything at their revision.
func TestListsByIndexAreOneState(t *testing.T) {
	for name, open := range map[string]func(*testing.T) store.Store{
		"bolt": openBolt,
		"etcd": func(t *testing.T) store.Store {
			s, err := etcdstore.Open(etcdstore.Options{Endpoints: []string{etcdtest.Start(t)}, Prefix: "/test"})
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
		"mirror": func(t *testing.T) store.Store {
			s, err := mirror.Open(openBolt(t), filepath.Join(t.TempDir(), "copy.db"), nil)
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
	} {
		t.Run(name, func(t *testing.T) {
			st := open(t)
			t.Cleanup(func() { st.Close() })
			w := worldOver(t, st)
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() { writeRandomly(ctx, t, st) })
			rnd := rand.New(rand.NewPCG(5, 6))
			for range 2 {
				for _, s := range selectors {
					query := fmt.Sprintf("?limit=%d&labelSelector=%s&fieldSelector=%s", 1+rnd.IntN(60), url.QueryEscape(s.labels), url.QueryEscape(s.fields))
					got, revision := w.listed(query)
					all := w.call("GET", base+"?limit=10000&resourceVersionMatch=Exact&resourceVersion="+revision, "").want(200).list()
					if want := w.selected(all.Items, s.labels, s.fields); !slices.Equal(got, want) {
						t.Errorf("%s at %s: got %q, want %q", query, revision, got, want)
					}
				}
			}
			cancel()
			wg.Wait()
		})
	}
}

func openBolt(t *testing.T) store.Store {
	s, err := boltstore.Open(filepath.Join(t.TempDir(), "apoxy.db"), boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// worldOver is a world over a store that has 700 records.
func worldOver(t *testing.T, st store.Store) *world {
	t.Helper()
	var ops []store.Op
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range 700 {
		name := fmt.Sprintf("n%d.example", i)
		if ops = append(ops, store.Op{Key: recordKey(name), Value: someRecord(rnd, name), If: store.Any}); len(ops) == 100 {
			if _, err := st.Write(t.Context(), ops...); err != nil {
				t.Fatal(err)
			}
			ops = nil
		}
	}
	table := hosts.New()
	w := newWorld(t, func(c *Config) { c.Store, c.Index = st, table })
	keepUp(t, st, table)
	return w
}

// writeRandomly creates, changes and deletes records, one or a few at a time.
func writeRandomly(ctx context.Context, t *testing.T, st store.Store) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for ctx.Err() == nil {
		ops := map[string]store.Op{}
		for range 1 + rnd.IntN(3) {
			name := fmt.Sprintf("n%d.example", rnd.IntN(900))
			op := store.Op{Key: recordKey(name), If: store.Any}
			if rnd.IntN(4) > 0 {
				op.Value = someRecord(rnd, name)
			}
			ops[name] = op
		}
		var list []store.Op
		for _, op := range ops {
			list = append(list, op)
		}
		if _, err := st.Write(ctx, list...); err != nil && ctx.Err() == nil {
			t.Error(err)
			return
		}
	}
}

// TestListsByIndexGoOnWhereTheHistoryEnds: whoever matches all the time is listed once,
// however little of the past is kept.
func TestListsByIndexGoOnWhereTheHistoryEnds(t *testing.T) {
	st, err := boltstore.Open(filepath.Join(t.TempDir(), "apoxy.db"), boltstore.Options{History: 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	w := worldOver(t, st)
	rnd := rand.New(rand.NewPCG(8, 9))
	steady := map[string]bool{}
	for i := range 300 {
		name := fmt.Sprintf("s%d.example", i)
		w.create(name, fmt.Sprintf(`"labels":{%q:"steady"}`, v1alpha3.OwnerLabel))
		steady[name] = true
	}
	var got []string
	for token := ""; ; {
		l := w.call("GET", base+"?limit=40&labelSelector="+url.QueryEscape(v1alpha3.OwnerLabel+"=steady")+"&continue="+token, "").want(200).list()
		for _, r := range l.Items {
			if !steady[r.Name] {
				t.Fatalf("%s is listed twice", r.Name)
			}
			delete(steady, r.Name)
			got = append(got, r.Name)
		}
		if token = l.Continue; token == "" {
			break
		}
		for i := range 30 {
			name := fmt.Sprintf("n%d.example", i)
			if _, err := st.Write(t.Context(), store.Op{Key: recordKey(name), Value: someRecord(rnd, name), If: store.Any}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(got) != 300 || !slices.IsSorted(got) {
		t.Errorf("%d records", len(got))
	}
}

// away is a store that can be cut off.
type away struct {
	store.Store
	cut atomic.Bool
}

var errAway = &store.UnavailableError{Engine: "the test's", Reason: "it is cut off"}

func (a *away) Get(ctx context.Context, key string) (store.KeyValue, int64, error) {
	if a.cut.Load() {
		return store.KeyValue{}, 0, errAway
	}
	return a.Store.Get(ctx, key)
}

func (a *away) Read(ctx context.Context, keys []string, revision int64) ([]store.KeyValue, int64, error) {
	if a.cut.Load() {
		return nil, 0, errAway
	}
	return a.Store.Read(ctx, keys, revision)
}

// TestListsByIndexFromTheCopy: cut off from the engine, a list by a selector is answered
// from the copy, with a warning.
func TestListsByIndexFromTheCopy(t *testing.T) {
	engine := &away{Store: openBolt(t)}
	st, err := mirror.Open(engine, filepath.Join(t.TempDir(), "copy.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	w := worldOver(t, st)
	query := base + "?limit=10000&labelSelector=" + url.QueryEscape(v1alpha3.OwnerLabel+"=owner-2")
	want := w.call("GET", query, "").want(200)
	engine.cut.Store(true)
	for deadline := time.Now().Add(10 * time.Second); ; { // until the copy has everything
		got := w.call("GET", query, "")
		if got.code == 200 && bytes.Equal(got.body, want.body) {
			if !strings.HasPrefix(got.header.Get("Warning"), "299 ") {
				t.Errorf("Warning is %q", got.header.Get("Warning"))
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("status %d, %d bytes instead of %d", got.code, len(got.body), len(want.body))
		}
	}
}

// TestLabelsAreReadAsTheyStand: what is passed over without being decoded would not have
// matched, however a label is written.
func TestLabelsAreReadAsTheyStand(t *testing.T) {
	for _, c := range []struct {
		raw, labels string
		want        bool
	}{
		{`{"metadata":{"labels":{"a":"abc"}}}`, "a=abc", true},
		{`{"metadata":{"labels":{"a":"\u0061bc"}}}`, "a=abc", true},
		{`{"metadata":{"labels":{"b":"abc"}}}`, "a=abc", false},
		{`{"metadata":{"labels":{"a":"xabcx"}}}`, "a in (abc)", false},
		{`{"metadata":{"labels":{"a":"abc","b":"d"}}}`, "a=abc,b=d", true},
		{`{"metadata":{"labels":{"a":"abc"}},"b":"d"}`, "a=abc,b=d", false},
		{`{"metadata":{}}`, "a=abc", false},
		{`{"metadata":{}}`, "a!=abc", true},
		{`{"metadata":{"labels":null}}`, "!a", true},
		{`{"metadata":{"labels":{"a":""}}}`, "a=", true},
	} {
		sel, err := parseSelector(c.labels, "")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := sel.matches([]byte(c.raw)); got != c.want || err != nil {
			t.Errorf("%s of %s: %v %v", c.labels, c.raw, got, err)
		}
	}
}
