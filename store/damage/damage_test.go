package damage_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
	"github.com/apoxy-dev/caddy-apoxy/store/damage"
	"github.com/apoxy-dev/caddy-apoxy/store/storetest"
)

type world struct {
	*damage.Store
	t    *testing.T
	bolt *boltstore.Store
	logs *observer.ObservedLogs
}

func newWorld(t *testing.T) *world {
	t.Helper()
	b, err := boltstore.Open(filepath.Join(t.TempDir(), "apoxy.db"), boltstore.Options{History: storetest.History})
	if err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zap.ErrorLevel)
	w := &world{damage.New(b, zap.New(core)), t, b, logs}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// past writes past the store under test, as another node does.
func (w *world) past(ops ...store.Op) int64 {
	w.t.Helper()
	rev, err := w.bolt.Write(w.t.Context(), ops...)
	if err != nil {
		w.t.Fatal(err)
	}
	return rev
}

func set(key, value string) store.Op {
	return store.Op{Key: key, Value: []byte(value), If: store.Any}
}

// want checks what is known: by metric, by count and by the log.
func (w *world) want(known, logged int) {
	w.t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(damage.Collectors()...)
	families, err := registry.Gather()
	if err != nil || len(families) != 1 || families[0].GetName() != "apoxy_store_damaged_values" {
		w.t.Fatalf("metrics %v, %v", families, err)
	}
	if got := families[0].GetMetric()[0].GetGauge().GetValue(); w.Damaged() != known || got != float64(known) || w.logs.Len() != logged {
		w.t.Errorf("%d known, %v counted, %d logged; want %d and %d", w.Damaged(), got, w.logs.Len(), known, logged)
	}
}

func (w *world) spoil(key, value string) {
	w.t.Helper()
	w.past(set(key, value))
	storetest.Spoil(w.t, w.bolt.Path(), value)
}

func TestTheContractHolds(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return newWorld(t).Store })
}

func TestDamageIsLoggedOnceAndCounted(t *testing.T) {
	w := newWorld(t)
	w.past(set("a", "1"))
	w.want(0, 0)
	w.spoil("x/"+strings.Repeat("long", 200), "spoil me")
	for range 3 {
		if _, err := w.List(t.Context(), "", store.ListOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	w.want(1, 1)
	entry := w.logs.All()[0]
	if key, _ := entry.ContextMap()["key"].(string); len(key) > 400 || !strings.HasPrefix(key, "x/long") || !strings.Contains(entry.Message, "store verify") {
		t.Errorf("logged %q with the key %q", entry.Message, key)
	}
	if strings.Contains(fmt.Sprint(entry), "poil") {
		t.Errorf("the log holds the value: %v", entry)
	}
	w.spoil("y", "spoil this too")
	for range 3 {
		if _, _, err := w.Get(t.Context(), "y"); !errors.Is(err, store.ErrDamaged) {
			t.Fatal(err)
		}
	}
	w.want(2, 2)
	w.spoil("y", "and spoil it again")
	_, _, _ = w.Get(t.Context(), "y")
	w.want(2, 3)
	if _, err := w.Write(t.Context(), store.Op{Key: "y", If: store.Any}); err != nil {
		t.Fatal(err)
	}
	w.want(1, 3)
}

// What other nodes mend is known by any way of reading it.
func TestWhatIsMendedElsewhereIsForgotten(t *testing.T) {
	for name, read := range map[string]func(w *world, watcher store.Watcher) error{
		"Get": func(w *world, _ store.Watcher) error { _, _, err := w.Get(w.t.Context(), "k"); return err },
		"List": func(w *world, _ store.Watcher) error {
			_, err := w.List(w.t.Context(), "", store.ListOptions{})
			return err
		},
		"Read": func(w *world, _ store.Watcher) error {
			_, _, err := w.Read(w.t.Context(), []string{"k"}, 0)
			return err
		},
		"Watch": func(w *world, watcher store.Watcher) error { _, err := watcher.Next(w.t.Context()); return err },
	} {
		for how, mend := range map[string]store.Op{"overwritten": set("k", "2"), "deleted": {Key: "k", If: store.Any}} {
			t.Run(name+" of what was "+how, func(t *testing.T) {
				w := newWorld(t)
				w.spoil("k", "spoil me")
				_, _, _ = w.Get(t.Context(), "k")
				w.want(1, 1)
				watcher, err := w.Watch(t.Context(), "", 0)
				if err != nil {
					t.Fatal(err)
				}
				defer watcher.Close()
				w.past(mend)
				if err := read(w, watcher); err != nil && !errors.Is(err, store.ErrNotFound) {
					t.Fatal(err)
				}
				if (name == "List" || name == "Read") && how == "deleted" {
					return // they tell nothing of a key that is not there; the next Get or look through does
				}
				w.want(0, 1)
			})
		}
	}
}

// A value that one reader cannot decode is kept from all.
func TestAReportedValueIsTreatedAsDamaged(t *testing.T) {
	w := newWorld(t)
	start := w.past(set("a", "1"))
	rev := w.past(set("k", "nonsense"))
	if !store.Report(w, "k", rev, errors.New("it is no JSON")) {
		t.Error("no note was taken")
	}
	store.Report(w, "k", rev, errors.New("it is no JSON"))
	w.want(1, 1)
	if e, now, err := w.Get(t.Context(), "k"); !errors.Is(err, store.ErrDamaged) || e.Value != nil || e.Revision != rev || now != rev {
		t.Errorf("Get: %+v at %d, %v", e, now, err)
	}
	res, err := w.List(t.Context(), "", store.ListOptions{})
	if err != nil || len(res.KeyValues) != 2 || res.KeyValues[0].Err != nil || res.KeyValues[1].Err == nil || res.KeyValues[1].Value != nil {
		t.Errorf("List: %+v, %v", res.KeyValues, err)
	}
	for _, revision := range []int64{0, rev} {
		read, _, err := w.Read(t.Context(), []string{"a", "k"}, revision)
		if err != nil || len(read) != 2 || read[0].Err != nil || read[1].Err == nil || read[1].Value != nil {
			t.Errorf("Read at %d: %+v, %v", revision, read, err)
		}
	}
	watcher, err := w.Watch(t.Context(), "", start)
	if err != nil {
		t.Fatal(err)
	}
	defer watcher.Close()
	w.past(set("k", "2"))
	b, err := watcher.Next(t.Context())
	if err != nil || len(b.Events) != 2 || b.Events[0].Err == nil || b.Events[0].Value != nil ||
		b.Events[1].PreviousErr == nil || b.Events[1].Previous != nil || string(b.Events[1].Value) != "2" {
		t.Errorf("events %+v, %v", b.Events, err)
	}
	w.want(0, 1)
	if store.Report(w, "k", rev, errors.New("late")); w.Damaged() != 0 {
		t.Error("a report of what has been replaced was noted")
	}
	if store.Report(w.bolt, "k", rev, errors.New("x")) {
		t.Error("a store that takes no note says that it did")
	}
}

func TestAStoreDamagedAllOverIsLoggedInBounds(t *testing.T) {
	w := newWorld(t)
	for i := 0; i < 1200; {
		var ops []store.Op
		for ; len(ops) < 100; i++ {
			ops = append(ops, set(fmt.Sprint("k/", i), "spoil me"))
		}
		w.past(ops...)
	}
	storetest.Spoil(t, w.bolt.Path(), "spoil me")
	if _, err := w.List(t.Context(), "", store.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	w.want(1200, 1001)
}

// rooms are JSON numbers below n/, of which each names a key below m/.
func rooms() []damage.Room {
	return []damage.Room{{
		Prefix: "n/", Mend: "count again",
		Check: func(_ string, value []byte) error { return json.Unmarshal(value, new(int)) },
		Agree: func(ctx context.Context, st store.Store, e store.KeyValue) (string, string, error) {
			_, _, err := st.Get(ctx, "m/"+string(e.Value))
			if errors.Is(err, store.ErrNotFound) {
				return "nothing is at " + string(e.Value), "put it there", nil
			}
			return "", "", err
		},
	}}
}

func TestVerifyTellsOfAll(t *testing.T) {
	w := newWorld(t)
	for i := range 1300 {
		w.past(set(fmt.Sprintf("n/%04d", i), fmt.Sprint(i)), set(fmt.Sprint("m/", i), "there"))
	}
	w.past(set("n/0600", "x"), set("n/0700", "9999"), set("other", "unknown to all"))
	w.spoil("n/0800", "spoil me")
	w.spoil("somewhere/else", "spoil me too")
	var got []string
	look := func() damage.Sum {
		got = nil
		sum, err := damage.Verify(t.Context(), w, rooms(), func(f damage.Fault) error {
			got = append(got, f.Key+": "+f.What+"; "+f.Mend)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	sum := look()
	want := []string{
		"n/0600: it does not decode: invalid character 'x' looking for beginning of value; count again",
		"n/0700: nothing is at 9999; put it there",
		"n/0800: its checksum does not hold; count again",
		"somewhere/else: its checksum does not hold; restore a backup",
	}
	if !slices.Equal(got, want) || sum != (damage.Sum{Values: 2602, Faults: 4}) {
		t.Errorf("%+v:\n%s\nwant:\n%s", sum, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	w.want(3, 3) // a disagreement is no damage
	for _, key := range []string{"n/0600", "n/0700", "n/0800", "somewhere/else"} {
		w.past(store.Op{Key: key, If: store.Any})
	}
	if sum := look(); sum.Faults != 0 {
		t.Errorf("after mending: %s", strings.Join(got, "\n"))
	}
	stop := errors.New("enough")
	w.past(set("n/0600", "x"))
	if _, err := damage.Verify(t.Context(), w, rooms(), func(damage.Fault) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("an error of tell: %v", err)
	}
}

// A store in use has no faults for that alone: pairs come and go together.
func TestVerifyOfAStoreInUse(t *testing.T) {
	w := newWorld(t)
	var ops []store.Op
	for i := range 2000 {
		ops = append(ops, set(fmt.Sprintf("n/%04d", i), fmt.Sprint(i)), set(fmt.Sprint("m/", i), "there"))
	}
	w.past(ops...)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ctx.Err() == nil; i = (i + 7) % 2000 {
			n, m := fmt.Sprintf("n/%04d", i), fmt.Sprint("m/", i)
			_, _ = w.Write(ctx, store.Op{Key: n, If: store.Any}, store.Op{Key: m, If: store.Any})
			_, _ = w.Write(ctx, set(n, fmt.Sprint(i)), set(m, "there"))
		}
	}()
	for range 5 {
		sum, err := damage.Verify(ctx, w, rooms(), func(f damage.Fault) error {
			t.Errorf("%s: %s", f.Key, f.What)
			return nil
		})
		if err != nil || sum.Values < 3900 {
			t.Errorf("%+v, %v", sum, err)
		}
	}
	cancel()
	<-done
	w.want(0, 0)
}

func TestPatrolMeetsDamage(t *testing.T) {
	w := newWorld(t)
	for i := range 1100 {
		w.past(set(fmt.Sprintf("k/%04d", i), "1"))
	}
	w.spoil("k/0900", "spoil me")
	w.spoil("other", "spoil me too")
	if err := w.Patrol(t.Context(), "k/"); err != nil {
		t.Fatal(err)
	}
	w.want(1, 1)
}
