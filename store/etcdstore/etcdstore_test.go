package etcdstore_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/etcdstore"
	"github.com/apoxy-dev/caddy-apoxy/store/storetest"
)

// prefixes gives every store of a test a prefix of its own, so that they share a member
// and each meets the revisions that others move on.
var prefixes atomic.Int64

func TestContract(t *testing.T) {
	m := newMember(t)
	var mu sync.Mutex
	of := map[store.Store]string{}
	open := func(t *testing.T, prefix string) store.Store {
		s := m.open(t, etcdstore.Options{Prefix: prefix, History: storetest.History})
		mu.Lock()
		defer mu.Unlock()
		of[s] = prefix
		return s
	}
	reopen := func(t *testing.T, s store.Store) store.Store {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		prefix := of[s]
		mu.Unlock()
		return open(t, prefix)
	}
	storetest.Run(t, func(t *testing.T) store.Store { return open(t, fmt.Sprintf("/test/%d", prefixes.Add(1))) },
		storetest.WithReopen(reopen),
		storetest.WithDamage(func(t *testing.T, s store.Store, key string) store.Store {
			value, _, err := s.Get(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			m.stop() // kill would leave the value in the write-ahead log alone
			storetest.Spoil(t, filepath.Join(m.dir, "data/member/snap/db"), string(value.Value))
			m.start()
			mu.Lock()
			prefix := of[s]
			mu.Unlock()
			return open(t, prefix)
		}),
		storetest.WithExpire(func(t *testing.T, s store.Store) {
			for i := range storetest.History + 1 {
				if _, err := s.Write(t.Context(), store.Op{Key: "expire/filler", Value: fmt.Append(nil, i), If: store.Any}); err != nil {
					t.Fatal(err)
				}
			}
			m.compact(t)
		}))
}

// Watches outlive a restart of the program, because etcd tells the past, and tell no
// change twice.
func TestAWatchGoesOnAfterTheStoreWasOpenedAnew(t *testing.T) {
	m := newMember(t)
	s := m.open(t, etcdstore.Options{})
	first := write(t, s, store.Op{Key: "a", Value: []byte("1"), If: store.Any})
	for i := range 300 {
		write(t, s, store.Op{Key: "a", Value: fmt.Append(nil, i), If: store.Any}, store.Op{Key: fmt.Sprint("b/", i), Value: []byte("x"), If: store.Any})
	}
	last := write(t, s, store.Op{Key: "a", If: store.Any})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = m.open(t, etcdstore.Options{})
	w, err := s.Watch(t.Context(), "a", first)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	var seen []store.Event
	for at := first; at < last; {
		b, err := w.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		seen, at = append(seen, b.Events...), b.Revision
	}
	if len(seen) != 301 || string(seen[0].Previous) != "1" || string(seen[299].Value) != "299" || seen[300].Value != nil {
		t.Errorf("%d events, from %+v to %+v", len(seen), seen[0], seen[len(seen)-1])
	}
}

func write(t *testing.T, s store.Store, ops ...store.Op) int64 {
	t.Helper()
	rev, err := s.Write(t.Context(), ops...)
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

// compact has etcd forget everything before the present revision.
func (m *member) compact(t *testing.T) {
	t.Helper()
	m.raw(t, func(ctx context.Context, c *clientv3.Client) error {
		res, err := c.Get(ctx, "any")
		if err == nil {
			_, err = c.Compact(ctx, res.Header.Revision)
		}
		return err
	})
}

// raw speaks to etcd without our engine.
func (m *member) raw(t *testing.T, do func(context.Context, *clientv3.Client) error) {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{m.endpoint}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := do(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}
