package hosts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
)

func openStore(t testing.TB, o boltstore.Options) *boltstore.Store {
	t.Helper()
	s, err := boltstore.Open(filepath.Join(t.TempDir(), "apoxy.db"), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func record(name, hostname string, verified bool) *v1alpha3.DomainRecord {
	status := metav1.ConditionFalse
	if verified {
		status = metav1.ConditionTrue
	}
	return &v1alpha3.DomainRecord{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, UID: types.UID("uid of " + name),
			Labels: map[string]string{v1alpha3.OwnerLabel: "tenant", "plan": "gold"},
		},
		Spec: v1alpha3.DomainRecordSpec{
			Name: hostname, TLS: &v1alpha3.DomainRecordTLS{},
			Target: v1alpha3.DomainRecordTarget{Ref: &v1alpha3.TargetRef{Kind: v1alpha3.KindGateway, Name: "default"}},
		},
		Status: v1alpha3.DomainRecordStatus{
			Phase: v1alpha3.PhaseActive,
			Conditions: []metav1.Condition{
				{Type: v1alpha3.ConditionOwnershipVerified, Status: status},
				{Type: v1alpha3.ConditionReady, Status: metav1.ConditionUnknown},
			},
		},
	}
}

func putOp(t testing.TB, r *v1alpha3.DomainRecord) store.Op {
	t.Helper()
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return store.Op{Key: Prefix + r.Name, Value: b, If: store.Any}
}

func write(t testing.TB, s store.Store, ops ...store.Op) int64 {
	t.Helper()
	rev, err := s.Write(t.Context(), ops...)
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

// following is a Follow under way, with what it told.
type following struct {
	table *Table
	mu    sync.Mutex
	told  []string
	moved chan struct{}
	hold  chan struct{} // while not nil, changes are held up until it is closed
	ended chan error
	stop  context.CancelFunc
}

func follow(t *testing.T, s store.Store, f Follower) *following {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	fl := &following{table: New(), moved: make(chan struct{}, 1), ended: make(chan error, 1), stop: cancel}
	loaded := make(chan struct{})
	f.Table = fl.table
	f.OnTold = func() { close(loaded) }
	f.OnChange = fl.changed
	go func() { fl.ended <- Follow(ctx, s, f) }()
	t.Cleanup(cancel)
	select {
	case <-loaded:
	case err := <-fl.ended:
		t.Fatalf("Follow ended before it had loaded: %v", err)
	}
	return fl
}

func (f *following) changed(c Change) {
	what := c.Name
	if c.Previous != nil {
		what += " was " + c.Previous.Spec.Name
	}
	if c.Record != nil {
		what += " is " + c.Record.Spec.Name
		if h, ok := f.table.Get(c.Record.Spec.Name); !c.First && (!ok || h.Revision != c.Revision) {
			what += " BUT THE TABLE DOES NOT HAVE IT"
		}
	} else if c.Previous == nil {
		what += " is gone unread"
	} else if h, ok := f.table.Get(c.Previous.Spec.Name); ok && h.Name() == c.Name {
		what += " BUT THE TABLE STILL HAS IT"
	}
	f.mu.Lock()
	f.told = append(f.told, what)
	hold := f.hold
	f.mu.Unlock()
	select {
	case f.moved <- struct{}{}:
	default:
	}
	if hold != nil {
		<-hold
	}
}

// until waits for the table to reach a state.
func (f *following) until(t *testing.T, what string, reached func() bool) {
	t.Helper()
	for !reached() {
		select {
		case <-f.moved:
		case err := <-f.ended:
			t.Fatalf("Follow ended (%v) before %s", err, what)
		case <-time.After(20 * time.Second):
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func (f *following) heard() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	told := f.told
	f.told = nil
	return told
}

func TestFollow(t *testing.T) {
	s := openStore(t, boltstore.Options{})
	for i := range 25 {
		hostname := fmt.Sprintf("h%02d.test", i)
		write(t, s, putOp(t, record(hostname, hostname, i%2 == 0)))
	}
	write(t, s, store.Op{Key: "hostnames/x", Value: []byte("not a record"), If: store.Any})
	f := follow(t, s, Follower{PageSize: 10})
	if told := f.heard(); f.table.Len() != 25 || len(told) != 25 || !slices.IsSorted(told) {
		t.Fatalf("%d hosts after loading, told %v", f.table.Len(), told)
	}

	rev := write(t, s, putOp(t, record("wild", "*.h00.test", true)))
	f.until(t, "the new record", func() bool { h, ok := f.table.Match("a.h00.test"); return ok && h.Revision == rev })
	write(t, s, putOp(t, record("h01.test", "h01.test", true)))
	f.until(t, "the change", func() bool { h, _ := f.table.Get("h01.test"); return h.Verified })
	write(t, s, store.Op{Key: Prefix + "h02.test", If: store.Any})
	f.until(t, "the deletion", func() bool { _, ok := f.table.Get("h02.test"); return !ok })
	f.until(t, "the news", func() bool { f.mu.Lock(); defer f.mu.Unlock(); return len(f.told) == 3 })
	if d := cmp.Diff([]string{"wild is *.h00.test", "h01.test was h01.test is h01.test", "h02.test was h02.test"}, f.heard()); d != "" {
		t.Error(d)
	}
	if n := f.table.Count(v1alpha3.ConditionOwnershipVerified, metav1.ConditionTrue); n != 12+2 {
		t.Errorf("%d verified, want 14", n)
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(Collectors()...)
	families, err := registry.Gather()
	if err != nil || len(families) != 1 || families[0].GetName() != "apoxy_domainrecords" || len(families[0].GetMetric()) != 18 {
		t.Errorf("gathered %v, %v; want apoxy_domainrecords in 18 series", families, err)
	}
	f.stop()
	if err := <-f.ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Follow ended with %v", err)
	}
}

func TestFollowEndsWithTheStore(t *testing.T) {
	s := openStore(t, boltstore.Options{})
	f := follow(t, s, Follower{})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-f.ended; !errors.Is(err, store.ErrClosed) {
		t.Errorf("Follow ended with %v, want ErrClosed", err)
	}
}

// faulty fails the next watch, as an engine in another process may.
type faulty struct {
	store.Store
	broken chan struct{}
	failed atomic.Int32
}

func (s *faulty) Watch(ctx context.Context, prefix string, after int64) (store.Watcher, error) {
	w, err := s.Store.Watch(ctx, prefix, after)
	if err != nil || s.failed.Load() > 0 {
		return w, err
	}
	return &faultyWatcher{w, s}, nil
}

type faultyWatcher struct {
	store.Watcher
	s *faulty
}

func (w *faultyWatcher) Next(context.Context) (store.Batch, error) {
	<-w.s.broken
	w.s.failed.Add(1)
	return store.Batch{}, errors.New("connection lost")
}

func TestFollowGoesOnWhenTheStoreHasFailed(t *testing.T) {
	s := &faulty{Store: openStore(t, boltstore.Options{}), broken: make(chan struct{})}
	f := follow(t, s, Follower{})
	close(s.broken)
	rev := write(t, s, putOp(t, record("a.test", "a.test", true)))
	f.until(t, "the record", func() bool { h, ok := f.table.Get("a.test"); return ok && h.Revision == rev })
	if s.failed.Load() != 1 {
		t.Errorf("the watch failed %d times", s.failed.Load())
	}
}

func TestFollowReadsEverythingAgainWhenItHasFallenBehind(t *testing.T) {
	s := openStore(t, boltstore.Options{History: 5})
	for _, hostname := range []string{"changed.test", "deleted.test", "kept.test"} {
		write(t, s, putOp(t, record(hostname, hostname, false)))
	}
	write(t, s, putOp(t, record("other-name", "recreated.test", false)))
	f := follow(t, s, Follower{})
	f.heard()
	f.mu.Lock()
	f.hold = make(chan struct{})
	f.mu.Unlock()
	write(t, s, putOp(t, record("first.test", "first.test", false)))
	f.until(t, "the first change", func() bool { return f.table.Len() == 5 })
	// The follower is held up: what follows is more than the history keeps.
	write(t, s, putOp(t, record("changed.test", "changed.test", true)))
	write(t, s, store.Op{Key: Prefix + "deleted.test", If: store.Any})
	write(t, s, store.Op{Key: Prefix + "other-name", If: store.Any})
	write(t, s, putOp(t, record("recreated.test", "recreated.test", true)))
	for i := range 10 {
		write(t, s, store.Op{Key: "filler", Value: []byte{byte(i)}, If: store.Any})
	}
	f.mu.Lock()
	close(f.hold)
	f.hold = nil
	f.mu.Unlock()
	f.until(t, "the deletion", func() bool { _, ok := f.table.Get("deleted.test"); return !ok && f.table.Len() == 4 })
	last := write(t, s, putOp(t, record("last.test", "last.test", true)))
	f.until(t, "the watch going on", func() bool { h, ok := f.table.Get("last.test"); return ok && h.Revision == last })
	f.until(t, "the news", func() bool { f.mu.Lock(); defer f.mu.Unlock(); return len(f.told) == 6 })
	want := []string{
		"changed.test was changed.test is changed.test", "deleted.test was deleted.test", "first.test is first.test",
		"last.test is last.test", "other-name was recreated.test", "recreated.test is recreated.test",
	}
	told := f.heard()
	slices.Sort(told)
	if d := cmp.Diff(want, told); d != "" {
		t.Error(d)
	}
	if h, ok := f.table.Get("recreated.test"); !ok || h.Name() != "recreated.test" || !h.Verified {
		t.Errorf("recreated.test is %+v", h)
	}
}

func TestFollowSeesNamesAndHostnamesChangeHandsWhileItWasBehind(t *testing.T) {
	s := openStore(t, boltstore.Options{History: 5})
	write(t, s, putOp(t, record("a", "a.test", true)))
	write(t, s, putOp(t, record("b", "b.test", true)))
	write(t, s, putOp(t, record("c", "c.test", true)))
	f := follow(t, s, Follower{PageSize: 1})
	f.heard()
	f.mu.Lock()
	f.hold = make(chan struct{})
	f.mu.Unlock()
	write(t, s, putOp(t, record("first.test", "first.test", false)))
	f.until(t, "the first change", func() bool { return f.table.Len() == 4 })
	// a has another hostname now, b and c have each other's.
	write(t, s, putOp(t, record("a", "other.test", false)))
	write(t, s, putOp(t, record("b", "c.test", false)))
	write(t, s, putOp(t, record("c", "b.test", false)))
	for i := range 10 {
		write(t, s, store.Op{Key: "filler", Value: []byte{byte(i)}, If: store.Any})
	}
	f.mu.Lock()
	close(f.hold)
	f.hold = nil
	f.mu.Unlock()
	last := write(t, s, putOp(t, record("last.test", "last.test", true)))
	f.until(t, "the watch going on", func() bool { h, ok := f.table.Get("last.test"); return ok && h.Revision == last })
	f.until(t, "the news", func() bool { f.mu.Lock(); defer f.mu.Unlock(); return len(f.told) == 8 })
	if h, ok := f.table.Get("a.test"); ok {
		t.Errorf("a.test, which no record has any more, is %+v", h)
	}
	for hostname, name := range map[string]string{"other.test": "a", "b.test": "c", "c.test": "b"} {
		if h, ok := f.table.Get(hostname); !ok || h.Name() != name || h.Verified {
			t.Errorf("%s is %+v, want the record %s", hostname, h, name)
		}
	}
	want := []string{
		"first.test is first.test",
		"a was a.test", "a is other.test", // not the other way round
		"b was b.test", "c was c.test", "b is c.test", "c is b.test", "last.test is last.test",
	}
	if d := cmp.Diff(want, f.heard()); d != "" {
		t.Error(d)
	}
}

func TestFollowLeavesOutWhatItCannotRead(t *testing.T) {
	for name, value := range map[string]string{
		"no JSON":             "not a record",
		"no hostname":         `{"metadata":{"name":"bad"}}`,
		"another one's name":  `{"metadata":{"name":"good.test"},"spec":{"name":"good.test"}}`,
		"a field of no sense": `{"metadata":{"name":"bad"},"spec":{"name":7}}`,
	} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t, boltstore.Options{})
			bad := store.Op{Key: Prefix + "bad", Value: []byte(value), If: store.Any}
			write(t, s, bad, putOp(t, record("good.test", "good.test", true)))
			core, logs := observer.New(zap.ErrorLevel)
			f := follow(t, s, Follower{Logger: zap.New(core)})
			if f.table.Len() != 1 || logs.Len() != 1 {
				t.Errorf("%d hosts, %d log entries; want one each", f.table.Len(), logs.Len())
			}
			write(t, s, putOp(t, record("bad", "mended.test", true)))
			f.until(t, "the mended record", func() bool { _, ok := f.table.Get("mended.test"); return ok })
			write(t, s, bad) // damaged again: the last state that could be read stays
			last := write(t, s, putOp(t, record("good.test", "good.test", false)))
			f.until(t, "the next change", func() bool { h, _ := f.table.Get("good.test"); return h.Revision == last })
			if _, ok := f.table.Get("mended.test"); !ok {
				t.Error("the last state that could be read is gone")
			}
			write(t, s, store.Op{Key: Prefix + "bad", If: store.Any})
			f.until(t, "the deletion", func() bool { return f.table.Len() == 1 })
		})
	}
}

func TestFromRecord(t *testing.T) {
	r := record("api", "api.example.com", true)
	ttl := int32(60)
	r.Spec.TTL = &ttl
	h := FromRecord(r, 42)
	want := Make(Values{
		Hostname: "api.example.com", Name: "api", UID: "uid of api", Revision: 42, TTL: 60,
		Phase: v1alpha3.PhaseActive, TLS: true, Verified: true,
		Conditions: Conditions(0).with(v1alpha3.ConditionOwnershipVerified, "True").with(v1alpha3.ConditionReady, "Unknown"),
		Target:     v1alpha3.TargetKey{Kind: "Gateway", Name: "default"},
		Labels:     map[string]string{v1alpha3.OwnerLabel: "tenant", "plan": "gold"},
	})
	if d := cmp.Diff(valuesOf(want), valuesOf(h)); d != "" {
		t.Error(d)
	}
	if size := unsafe.Sizeof(*h); unsafe.Sizeof(uintptr(0)) == 8 && size != 128 {
		t.Errorf("a Host has %d bytes: it no longer begins at the beginning of a cache line", size)
	}
	if h.Redirect() != nil {
		t.Errorf("a record with a ref keeps the redirect %+v in memory", h.Redirect())
	}
	target := r.Spec.Target
	r.Spec.Target = v1alpha3.DomainRecordTarget{Redirect: &v1alpha3.TargetRedirect{Hostname: new("www.example.com")}}
	h = FromRecord(r, 43)
	if h.Target() != (v1alpha3.TargetKey{Kind: v1alpha3.KindRedirect}) || h.Redirect() == r.Spec.Target.Redirect || !cmp.Equal(h.Redirect(), r.Spec.Target.Redirect) {
		t.Errorf("a redirect gives the target %+v and leads to %+v", h.Target(), h.Redirect())
	}
	if back := remembered(h).Spec.Target; back.Ref != nil || !cmp.Equal(back, r.Spec.Target) {
		t.Errorf("a redirect is remembered as %+v", back)
	}
	r.Spec.Target = target
	r.Spec.TLS.Disabled, r.Spec.Target.Ref, r.Labels, r.Spec.TTL, r.Status = new(true), nil, nil, nil, v1alpha3.DomainRecordStatus{}
	h = FromRecord(r, 43)
	if h.TLS || h.Verified || h.TTL != 300 || h.Phase() != v1alpha3.PhasePending || h.Labels() != nil || h.Settled() {
		t.Errorf("a bare record gives %+v", h)
	}
}

func TestACAAThatForbidsIsKnownInMemory(t *testing.T) {
	r := record("api.example.com", "api.example.com", false)
	if FromRecord(r, 1).CAAForbids {
		t.Error("without TLSReady")
	}
	r.Status.Conditions = append(r.Status.Conditions, metav1.Condition{
		Type: v1alpha3.ConditionTLSReady, Status: metav1.ConditionFalse, Reason: v1alpha3.ReasonCAAForbidden})
	if !FromRecord(r, 1).CAAForbids {
		t.Error("it is not known")
	}
}

func TestConditions(t *testing.T) {
	if n := len(v1alpha3.ConditionTypes()); n > maxConditions {
		t.Fatalf("there is room for %d conditions, and there are %d: widen Conditions", maxConditions, n)
	}
	c := conditionsOf([]metav1.Condition{
		{Type: v1alpha3.ConditionReady, Status: metav1.ConditionFalse},
		{Type: v1alpha3.ConditionTLSReady, Status: "Odd"},
		{Type: "Foreign", Status: metav1.ConditionTrue},
		{Type: v1alpha3.ConditionOwnershipVerified, Status: metav1.ConditionTrue},
	})
	for conditionType, want := range map[string]metav1.ConditionStatus{
		v1alpha3.ConditionReady: "False", v1alpha3.ConditionTLSReady: "Unknown", v1alpha3.ConditionOwnershipVerified: "True",
		v1alpha3.ConditionCNAMEConfigured: "", "Foreign": "",
	} {
		if got := c.Status(conditionType); got != want {
			t.Errorf("%s is %q, want %q", conditionType, got, want)
		}
	}
}
