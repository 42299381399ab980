package etcdstore_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/etcdstore"
)

// What the engine keeps for itself is below the prefix and seen by nobody.
func TestTheEnginesOwnKeysAreHidden(t *testing.T) {
	m := newMember(t)
	s := m.open(t, etcdstore.Options{})
	begin := write(t, s, store.Op{Key: "!before", Value: []byte("1"), If: store.Any})
	write(t, s, store.Op{Key: ".e", Value: []byte("1"), If: store.Any}, store.Op{Key: ".f", Value: []byte("1"), If: store.Any})
	last := write(t, s, store.Op{Key: "z", Value: []byte("1"), If: store.Any})
	want := []string{"!before", ".e", ".f", "z"}

	var own []string
	m.raw(t, func(ctx context.Context, c *clientv3.Client) error {
		res, err := c.Get(ctx, "/apoxy/", clientv3.WithPrefix())
		if err != nil {
			return err
		}
		for _, kv := range res.Kvs {
			if key := string(kv.Key[len("/apoxy/"):]); !slices.Contains(want, key) {
				own = append(own, key)
				if kv.Lease == 0 {
					t.Errorf("%s never vanishes", key)
				}
			}
		}
		return nil
	})
	if len(own) == 0 {
		t.Fatal("the engine keeps nothing for itself: this test is of no use")
	}
	for limit := range 6 {
		var got []string
		for o := (store.ListOptions{Limit: limit}); ; {
			res, err := s.List(t.Context(), "", o)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range res.KeyValues {
				got = append(got, e.Key)
			}
			if left := len(want) - len(got); res.Remaining != int64(left) || res.More != (left > 0) {
				t.Errorf("limit %d: %d remain after %q, more: %v", limit, res.Remaining, got, res.More)
			}
			if !res.More {
				break
			}
			o.After, o.Revision = got[len(got)-1], res.Revision
		}
		if !slices.Equal(got, want) {
			t.Errorf("limit %d: List has %q, want %q", limit, got, want)
		}
	}
	for _, prefix := range []string{own[0], ".etcdstore", ".etcdstore/"} {
		if res, err := s.List(t.Context(), prefix, store.ListOptions{}); err != nil || len(res.KeyValues) != 0 || res.Revision != last {
			t.Errorf("List of %q: %+v, %v", prefix, res, err)
		}
	}
	if _, rev, err := s.Get(t.Context(), own[0]); !errors.Is(err, store.ErrNotFound) || rev != last {
		t.Errorf("Get: revision %d, %v", rev, err)
	}
	for _, op := range []store.Op{{Key: own[0], Value: []byte("1"), If: store.Any}, {Key: own[0], If: store.Any}, {Key: ".etcdstore/", If: store.Absent, Check: true}} {
		if _, err := s.Write(t.Context(), op); err == nil {
			t.Errorf("Write of %+v is taken", op)
		}
	}
	w, err := s.Watch(t.Context(), "", begin)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	var seen []string
	for at := begin; at < last; {
		b, err := w.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range b.Events {
			seen = append(seen, e.Key)
		}
		at = b.Revision
	}
	if !slices.Equal(seen, want[1:]) {
		t.Errorf("a watch has seen %q, want %q", seen, want[1:])
	}
}

// What the engine keeps of writes under way may vanish: a node was cut off for long, or
// somebody has deleted it.
func TestWritesGoOnWithoutTheirSlots(t *testing.T) {
	m := newMember(t)
	s := m.open(t, etcdstore.Options{})
	session, err := s.Begin(t.Context(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	for _, vanish := range []func(context.Context, *clientv3.Client) error{
		func(ctx context.Context, c *clientv3.Client) error {
			res, err := c.Get(ctx, "/apoxy/.etcdstore/", clientv3.WithPrefix(), clientv3.WithLimit(1))
			if err == nil {
				_, err = c.Revoke(ctx, clientv3.LeaseID(res.Kvs[0].Lease))
			}
			return err
		},
		func(ctx context.Context, c *clientv3.Client) error {
			_, err := c.Delete(ctx, "/apoxy/.etcdstore/", clientv3.WithPrefix())
			return err
		},
	} {
		for i := range 70 { // each slot
			write(t, s, store.Op{Key: fmt.Sprint("a/", i), Value: []byte("1"), If: store.Any})
		}
		m.raw(t, vanish)
		for i := range 70 {
			write(t, s, store.Op{Key: fmt.Sprint("a/", i), If: store.Any})
		}
		m.raw(t, vanish)
		rev, err := session.Write(t.Context(), store.Op{Key: "b", Value: []byte("1"), If: store.Absent})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := session.Write(t.Context(), store.Op{Key: "b", Value: []byte("1"), If: store.Absent}); !conflicts(err, rev) {
			t.Errorf("Write where a key is: %v", err)
		}
		write(t, s, store.Op{Key: "b", If: rev})
	}
}

func conflicts(err error, rev int64) bool {
	var c *store.ConflictError
	return errors.As(err, &c) && c.Revision == rev
}

// The largest write is taken, whatever it consists of, and a larger one refused.
func TestTheLargestWrite(t *testing.T) {
	const most = 125
	m := newMember(t)
	s := m.open(t, etcdstore.Options{})
	ops := func(n int, op func(i int) store.Op) (all []store.Op) {
		for i := range n {
			o := op(i)
			o.Key = fmt.Sprint("k/", i)
			all = append(all, o)
		}
		return all
	}
	put := func(int) store.Op { return store.Op{Value: []byte("1"), If: store.Absent} }
	del := func(int) store.Op { return store.Op{If: store.Any} }
	mixed := func(i int) store.Op { return store.Op{If: store.Any - int64(i%2)*store.Any} }
	if _, err := s.Write(t.Context(), ops(most+1, put)...); err == nil {
		t.Error("more is taken")
	}
	for _, each := range []func(int) store.Op{del, put, del, mixed} {
		write(t, s, ops(most, each)...)
	}
	before := write(t, s, ops(most, mixed)...)
	if after := write(t, s, ops(most, del)...); after != before {
		t.Errorf("deleting nothing moves the revision from %d to %d", before, after)
	}
	rev := write(t, s, ops(most, put)...)
	write(t, s, ops(most, func(int) store.Op { return store.Op{If: rev} })...)
	if res, err := s.List(t.Context(), "", store.ListOptions{}); err != nil || len(res.KeyValues) != 0 {
		t.Errorf("List: %+v, %v", res, err)
	}
}

// Once a newer version has changed how things are kept, this one reads on and writes
// nothing, in a session neither.
func TestNothingIsWrittenToWhatIsNewer(t *testing.T) {
	m := newMember(t)
	s := m.open(t, etcdstore.Options{})
	write(t, s, store.Op{Key: "a", Value: []byte("1"), If: store.Any})
	session, err := s.Begin(t.Context(), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	const mark = "/apoxy/.etcdstore/newer-than/1"
	m.raw(t, func(ctx context.Context, c *clientv3.Client) error { _, err := c.Put(ctx, mark, ""); return err })
	for what, write := range map[string]func(context.Context, ...store.Op) (int64, error){"the store": s.Write, "a session": session.Write} {
		for _, op := range []store.Op{{Key: "a", Value: []byte("2"), If: store.Any}, {Key: "a", If: store.Any}, {Key: "b", Value: []byte("2"), If: store.Absent}} {
			down := (*store.UnavailableError)(nil)
			if _, err := write(t.Context(), op); !errors.As(err, &down) || down.Unknown || !strings.Contains(down.Reason, "upgrade this node") {
				t.Errorf("%s: %+v: %v", what, op, err)
			}
		}
	}
	if kv, _, err := s.Get(t.Context(), "a"); err != nil || string(kv.Value) != "1" {
		t.Errorf("%s, %v", kv.Value, err)
	}
	m.raw(t, func(ctx context.Context, c *clientv3.Client) error { _, err := c.Delete(ctx, mark); return err })
	write(t, s, store.Op{Key: "a", Value: []byte("2"), If: store.Any})
}
