package etcdstore_test

import (
	"errors"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/etcdstore"
)

// Without etcd a call fails within its bound, the next at once, and everything goes on
// by itself once it is back, watches too.
func TestAnOutageIsBoundedAndItsEndIsNoticed(t *testing.T) {
	for name, outage := range map[string]struct{ begin, end func(*member) }{
		"killed": {(*member).kill, (*member).start},
		"silent": {(*member).pause, (*member).resume},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMember(t)
			s := m.open(t, etcdstore.Options{})
			rev := write(t, s, store.Op{Key: "a", Value: []byte("1"), If: store.Any})
			w, err := s.Watch(t.Context(), "", rev)
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			outage.begin(m)
			began := time.Now()
			_, err = s.Write(t.Context(), store.Op{Key: "b", Value: []byte("1"), If: store.Any})
			var down *store.UnavailableError
			if !errors.As(err, &down) || !errors.Is(err, store.ErrUnavailable) {
				t.Fatalf("Write: %v", err)
			}
			t.Logf("after %v: %v", time.Since(began), err)
			until(t, "everything to fail at once", func() bool {
				before := time.Now()
				_, _, err := s.Get(t.Context(), "a")
				return errors.Is(err, store.ErrUnavailable) && time.Since(before) < etcdstore.DefaultRequestTimeout/4
			})
			outage.end(m)
			until(t, "etcd to be found again", func() bool {
				e, _, err := s.Get(t.Context(), "a")
				return err == nil && string(e.Value) == "1"
			})
			last := write(t, s, store.Op{Key: "c", Value: []byte("1"), If: store.Any})
			seen := map[string]int{}
			for at := rev; at < last; {
				b, err := w.Next(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range b.Events {
					seen[e.Key]++
				}
				at = b.Revision
			}
			if seen["c"] != 1 || seen["a"] != 0 || seen["b"] > 1 {
				t.Errorf("the watch has seen %v", seen)
			}
		})
	}
}

// A store that is opened while etcd is not there works once it is.
func TestAStoreIsOpenedBeforeEtcd(t *testing.T) {
	m := newMember(t)
	m.kill()
	s := m.open(t, etcdstore.Options{})
	if _, _, err := s.Get(t.Context(), "a"); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Get: %v", err)
	}
	m.start()
	until(t, "a write", func() bool {
		_, err := s.Write(t.Context(), store.Op{Key: "a", Value: []byte("1"), If: store.Any})
		return err == nil
	})
	if _, err := s.Watch(t.Context(), "", 0); err != nil {
		t.Error(err)
	}
}

// A watch that slept over a compaction is told so; the history goes on for others.
func TestAWatchThatSleptOverACompaction(t *testing.T) {
	m := newMember(t)
	s := m.open(t, etcdstore.Options{History: 10})
	first := write(t, s, store.Op{Key: "a", Value: []byte("0"), If: store.Any})
	w, err := s.Watch(t.Context(), "", first)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for range 20 {
		write(t, s, store.Op{Key: "a", Value: []byte("1"), If: store.Any})
	}
	m.compact(t)
	until(t, "the watch to expire", func() bool {
		_, err := w.Next(t.Context())
		return errors.Is(err, store.ErrExpired)
	})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = m.open(t, etcdstore.Options{})
	if _, err := s.Watch(t.Context(), "", first); !errors.Is(err, store.ErrExpired) {
		t.Errorf("Watch from before the compaction: %v", err)
	}
	again, err := s.Watch(t.Context(), "", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	rev := write(t, s, store.Op{Key: "a", Value: []byte("2"), If: store.Any})
	b, err := again.Next(t.Context())
	if err != nil || len(b.Events) != 1 || b.Events[0].Revision != rev || string(b.Events[0].Previous) != "1" {
		t.Errorf("%+v, %v", b, err)
	}
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("waiting for %s", what)
}
