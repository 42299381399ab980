package boltstore_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
)

func set(key, value string) store.Op {
	return store.Op{Key: key, Value: []byte(value), If: store.Any}
}

func mustWrite(t *testing.T, s store.Store, ops ...store.Op) int64 {
	t.Helper()
	rev, err := s.Write(t.Context(), ops...)
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

func TestHistoryIsBounded(t *testing.T) {
	for name, o := range map[string]boltstore.Options{
		"by the number of changes": {History: 10},
		"by their bytes":           {HistoryBytes: 10 * 1200},
	} {
		t.Run(name, func(t *testing.T) {
			s := openAt(t, filepath.Join(t.TempDir(), "apoxy.db"), o)
			var revs []int64
			for i := range 40 {
				revs = append(revs, mustWrite(t, s, set(fmt.Sprint("k", i), strings.Repeat("x", 1000))))
			}
			_, err := s.Watch(t.Context(), "", revs[20])
			if !errors.Is(err, store.ErrExpired) {
				t.Errorf("watching from 19 changes ago: %v, want ErrExpired", err)
			}
			w, err := s.Watch(t.Context(), "", revs[34])
			if err != nil {
				t.Fatalf("watching from 5 changes ago: %v", err)
			}
			if b, err := w.Next(t.Context()); err != nil || len(b.Events) != 5 {
				t.Errorf("%d events, %v; want 5", len(b.Events), err)
			}
		})
	}
}

func TestAWriteLargerThanTheHistoryReachesAReaderThatIsUpToDate(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "apoxy.db"), boltstore.Options{History: 10})
	begin := mustWrite(t, s, set("a", "1"))
	w, err := s.Watch(t.Context(), "", begin)
	if err != nil {
		t.Fatal(err)
	}
	var ops []store.Op
	for i := range 3000 {
		ops = append(ops, set(fmt.Sprint("k", i), ""))
	}
	mustWrite(t, s, ops...)
	if b, err := w.Next(t.Context()); err != nil || len(b.Events) != len(ops) {
		t.Errorf("%d events, %v; want %d in one batch", len(b.Events), err, len(ops))
	}
	res, err := s.List(t.Context(), "k", store.ListOptions{Revision: begin})
	if err != nil || len(res.KeyValues) != 0 {
		t.Errorf("the state before it has %d entries, %v; want none", len(res.KeyValues), err)
	}
}

// TestListOutlivesTheHistory lists more than one transaction's worth while so
// much is written that the history cannot undo it: the list must still be that
// of one revision.
func TestListOutlivesTheHistory(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "apoxy.db"), boltstore.Options{History: 2})
	const n = 5000
	rewrite := func(value string) {
		var ops []store.Op
		for i := range n {
			ops = append(ops, set(fmt.Sprintf("a/%05d", i), value))
		}
		mustWrite(t, s, ops...)
	}
	rewrite("0")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 1; ; i++ {
			select {
			case <-stop:
				return
			default:
				rewrite(fmt.Sprint(i))
				mustWrite(t, s, set("b", fmt.Sprint(i)))
			}
		}
	})
	for range 30 {
		res, err := s.List(t.Context(), "a/", store.ListOptions{})
		if err != nil || len(res.KeyValues) != n {
			t.Errorf("%d entries, %v; want %d", len(res.KeyValues), err, n)
			break
		}
		for _, e := range res.KeyValues {
			if first := res.KeyValues[0]; string(e.Value) != string(first.Value) || e.Revision != first.Revision {
				t.Fatalf("%s is %s@%d, %s is %s@%d", first.Key, first.Value, first.Revision, e.Key, e.Value, e.Revision)
			}
		}
	}
	close(stop)
	wg.Wait()
}
