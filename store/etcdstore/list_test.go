package etcdstore_test

import (
	"fmt"
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/etcdstore"
)

// A list that is long enough for guides has each key once and counts what is left,
// whatever the pages, and while others write.
func TestLongLists(t *testing.T) {
	const n = 25000 // more than one guide is made of
	m := newMember(t)
	s := m.open(t, etcdstore.Options{})
	key := func(i int) string { return fmt.Sprintf("k/%06d", i) }
	rev := int64(0)
	for i := 0; i < n; {
		var ops []store.Op
		for ; len(ops) < 125 && i < n; i++ {
			ops = append(ops, store.Op{Key: key(i), Value: []byte{byte(i)}, If: store.Absent})
		}
		rev = write(t, s, ops...)
	}
	write(t, s, store.Op{Key: "a", Value: []byte("1"), If: store.Any}, store.Op{Key: "l", Value: []byte("1"), If: store.Any})
	for i, limit := range []int{0, 1000, 333, 2500, 1000, 26000} {
		at := 0
		for o := (store.ListOptions{Limit: limit, Revision: rev}); ; {
			res, err := s.List(t.Context(), "k/", o)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range res.KeyValues {
				if e.Key != key(at) || len(e.Value) != 1 || e.Value[0] != byte(at) {
					t.Fatalf("limit %d: %+v in place of %s", limit, e, key(at))
				}
				at++
			}
			if res.Remaining != int64(n-at) || res.More != (at < n) || res.Revision != rev || limit > 0 && len(res.KeyValues) > limit {
				t.Fatalf("limit %d: after %d keys %d remain, more: %v, revision %d", limit, at, res.Remaining, res.More, res.Revision)
			}
			if !res.More {
				break
			}
			o.After = key(at - 1)
			write(t, s, store.Op{Key: key(at), If: store.Any}, store.Op{Key: key(at-1) + "x", Value: []byte("1"), If: store.Any}) // later than what is listed
		}
		if at != n {
			t.Errorf("list %d, limit %d: %d keys", i, limit, at)
		}
	}
}
