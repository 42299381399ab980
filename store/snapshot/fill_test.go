package snapshot_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/internal/etcdtest"
	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/etcdstore"
	"github.com/apoxy-dev/caddy-apoxy/store/snapshot"
)

func openEtcd(t *testing.T, endpoint, prefix string) store.Store {
	t.Helper()
	s, err := etcdstore.Open(etcdstore.Options{Endpoints: []string{endpoint}, Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// engines are an empty store of each.
func engines(t *testing.T) map[string]store.Store {
	t.Helper()
	return map[string]store.Store{"bolt": newBolt(t), "etcd": openEtcd(t, etcdtest.Start(t), "/a")}
}

// dump is all that a store holds, as its reader sees it.
func dump(t *testing.T, s store.Store) string {
	t.Helper()
	res, err := s.List(t.Context(), "", store.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, kv := range res.KeyValues {
		if kv.Err != nil {
			t.Fatal(kv.Err)
		}
		if !store.Ephemeral(kv.Key) {
			fmt.Fprintf(&out, "%q=%q\n", kv.Key, kv.Value)
		}
	}
	return out.String()
}

func TestEveryEngineIsCopiedIntoEveryEngine(t *testing.T) {
	from := engines(t)
	big := make([]byte, 900<<10) // etcd would take no two of them at once
	for i := range big {
		big[i] = byte(rand.Uint32())
	}
	for _, s := range from {
		for i := range 900 {
			put(t, s, fmt.Sprint("domainrecords/", i), strings.Repeat("x", i))
		}
		put(t, s, "big/1", string(big), "nodes/n1", "x")
		put(t, s, "big/2", string(big), "empty", "", "z\xff\x00", "last")
	}
	etcd := etcdtest.Start(t)
	for one, source := range from {
		for _, other := range []string{"bolt", "etcd"} {
			t.Run(one+" into "+other, func(t *testing.T) {
				var to store.Store
				if other == "bolt" {
					to = newBolt(t)
				} else {
					to = openEtcd(t, etcd, "/from-"+one)
				}
				if since, err := snapshot.Whole(t.Context(), to); since != 0 || err != nil {
					t.Errorf("before: %d, %v", since, err)
				}
				sum, err := snapshot.Fill(t.Context(), to, bytes.NewReader(write(t, source)), now)
				if err != nil || sum != (snapshot.Sum{Values: 904}) {
					t.Fatalf("%+v, %v", sum, err)
				}
				if dump(t, to) != dump(t, source) {
					t.Error("they differ")
				}
				if _, _, err := to.Get(t.Context(), "nodes/n1"); !errors.Is(err, store.ErrNotFound) {
					t.Errorf("a process's key was copied: %v", err)
				}
				res, err := to.List(t.Context(), "", store.ListOptions{})
				if err != nil {
					t.Fatal(err)
				}
				if since, err := snapshot.Whole(t.Context(), to); since != res.Revision || err != nil {
					t.Errorf("after: %d, %v, want %d", since, err, res.Revision)
				}
				_, err = snapshot.Fill(t.Context(), to, bytes.NewReader(write(t, source)), now)
				var holds *snapshot.NotEmptyError
				if !errors.As(err, &holds) || dump(t, to) != dump(t, source) {
					t.Errorf("once more: %v", err)
				}
			})
		}
	}
}

// interrupting is a store that ends a context before the call n from now.
type interrupting struct {
	store.Store
	left   int
	cancel context.CancelFunc
}

func (s *interrupting) count() {
	if s.left--; s.left == 0 {
		s.cancel()
	}
}

func (s *interrupting) Write(ctx context.Context, ops ...store.Op) (int64, error) {
	s.count()
	return s.Store.Write(ctx, ops...)
}

func (s *interrupting) List(ctx context.Context, prefix string, o store.ListOptions) (store.ListResult, error) {
	s.count()
	return s.Store.List(ctx, prefix, o)
}

// A fill that is broken off, wherever, leaves a store that is known not to be whole, and
// another one comes to the same end.
func TestAFillThatIsBrokenOff(t *testing.T) {
	source := newBolt(t)
	for i := range 40 {
		var kv []string
		for j := range 50 {
			kv = append(kv, fmt.Sprintf("k/%d/%d", i, j), fmt.Sprint(rand.Uint64()))
		}
		put(t, source, kv...)
	}
	stream := write(t, source)
	for name, to := range engines(t) {
		t.Run(name, func(t *testing.T) {
			for at := 3; ; at++ { // after a look whether it is empty, and the first write
				ctx, cancel := context.WithCancel(t.Context())
				_, err := snapshot.Fill(ctx, &interrupting{to, at, cancel}, bytes.NewReader(stream), now)
				cancel()
				if err == nil {
					if at < 25 {
						t.Errorf("it has come to its end with %d calls", at)
					}
					break
				}
				if !errors.Is(err, context.Canceled) {
					t.Fatalf("interrupted after %d: %v", at, err)
				}
				if _, err := snapshot.Whole(t.Context(), to); !errors.Is(err, snapshot.ErrFilling) {
					t.Errorf("a part: %v", err)
				}
				if err := snapshot.Vacant(t.Context(), to); err != nil {
					t.Errorf("what may be begun anew: %v", err)
				}
				if _, err := snapshot.Write(t.Context(), io.Discard, to, "s", now); !errors.Is(err, snapshot.ErrFilling) {
					t.Errorf("a part is copied: %v", err)
				}
			}
			if dump(t, to) != dump(t, source) {
				t.Error("in the end they differ")
			}
			if _, err := snapshot.Whole(t.Context(), to); err != nil {
				t.Error(err)
			}
		})
	}
}

// meddling is a store to which somebody else writes before the write n from now.
type meddling struct {
	store.Store
	left int
	then func()
}

func (s *meddling) Write(ctx context.Context, ops ...store.Op) (int64, error) {
	if s.left--; s.left == 0 {
		s.then()
	}
	return s.Store.Write(ctx, ops...)
}

func TestWhoeverElseWritesIsNoticed(t *testing.T) {
	source := newBolt(t)
	put(t, source, "a", "1", "b", "2")
	stream := write(t, source)
	for what, test := range map[string]struct {
		left int
		then func(*testing.T, store.Store)
	}{
		"a key that comes": {2, func(t *testing.T, s store.Store) { put(t, s, "b", "other") }},
		"another key":      {2, func(t *testing.T, s store.Store) { put(t, s, "c", "other") }},
		"a changed key":    {3, func(t *testing.T, s store.Store) { put(t, s, snapshot.FillingKey, "other's") }},
		"another fill": {2, func(t *testing.T, s store.Store) {
			if _, err := snapshot.Fill(t.Context(), s, bytes.NewReader(stream), now); err != nil {
				t.Error(err)
			}
		}},
	} {
		t.Run(what, func(t *testing.T) {
			s := newBolt(t)
			m := &meddling{s, test.left, func() { test.then(t, s) }}
			if _, err := snapshot.Fill(t.Context(), m, bytes.NewReader(stream), now); err == nil || !strings.Contains(err.Error(), "somebody else") {
				t.Errorf("%v", err)
			}
		})
	}
}

// faltering is a store that is not available for the call n from now, and does not tell
// whether a write was written.
type faltering struct {
	store.Store
	left    int
	written bool
}

func (s *faltering) down() bool {
	s.left--
	return s.left == 0
}

func (s *faltering) Write(ctx context.Context, ops ...store.Op) (int64, error) {
	if !s.down() {
		return s.Store.Write(ctx, ops...)
	}
	if s.written {
		if _, err := s.Store.Write(ctx, ops...); err != nil {
			return 0, err
		}
	}
	return 0, &store.UnavailableError{Engine: "etcd", Reason: "its members have no leader", Unknown: true}
}

func (s *faltering) List(ctx context.Context, prefix string, o store.ListOptions) (store.ListResult, error) {
	if s.down() {
		return store.ListResult{}, &store.UnavailableError{Engine: "etcd", Reason: "its members have no leader"}
	}
	return s.Store.List(ctx, prefix, o)
}

// A change of leader, at whatever moment, breaks nothing off.
func TestAnEngineThatIsAwayForAMoment(t *testing.T) {
	source := newBolt(t)
	for i := range 300 {
		put(t, source, fmt.Sprintf("k/%d", i), fmt.Sprint(i))
	}
	stream := write(t, source)
	for _, written := range []bool{true, false} {
		for at := 3; ; at++ { // after a look whether it is empty, and the first write
			to := newBolt(t)
			s := &faltering{to, at, written}
			if _, err := snapshot.Fill(t.Context(), s, bytes.NewReader(stream), now); err != nil || dump(t, to) != dump(t, source) {
				t.Fatalf("away at the call %d: %v", at, err)
			}
			if since, err := snapshot.Whole(t.Context(), to); since == 0 || err != nil {
				t.Errorf("away at the call %d: %d, %v", at, since, err)
			}
			if s.left > 0 {
				break
			}
		}
	}
	s := &faltering{Store: source, left: 2}
	var out bytes.Buffer
	if _, err := snapshot.Write(t.Context(), &out, s, "a store", now); err != nil || mustRead(t, out.Bytes()) != mustRead(t, stream) {
		t.Errorf("away while it is read: %v", err)
	}
}

// What was left by a fill from elsewhere is no part of what comes next.
func TestAFillFromElsewhereStartsOver(t *testing.T) {
	one, other, to := newBolt(t), newBolt(t), newBolt(t)
	put(t, one, "a", "1", "b", "2")
	put(t, other, "b", "3", "c", "4")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if _, err := snapshot.Fill(ctx, &interrupting{to, 4, cancel}, bytes.NewReader(write(t, one)), now); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if dump(t, to) != dump(t, one) {
		t.Fatal("it was interrupted elsewhere")
	}
	if _, err := snapshot.Fill(t.Context(), to, bytes.NewReader(write(t, other)), now); err != nil || dump(t, to) != dump(t, other) {
		t.Errorf("%v: %s", err, dump(t, to))
	}
}

func TestAStoreInUseIsNotFilled(t *testing.T) {
	source := newBolt(t)
	for key, says := range map[string]string{"nodes/n1": "stop the Caddy", "domainrecords/x": "nothing is ever overwritten", "spoilt": "nothing is ever overwritten"} {
		s := newBolt(t)
		put(t, s, key, "x", "members/n1", "x")
		_, err := snapshot.Fill(t.Context(), s, bytes.NewReader(write(t, source)), now)
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", key, err)
		}
		if _, _, err := s.Get(t.Context(), snapshot.FillingKey); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: something was written", key)
		}
	}
}

// What nodes have left that have gone keeps nobody from filling the store.
func TestWhatNodesLeaveIsNothing(t *testing.T) {
	source, s := newBolt(t), newBolt(t)
	put(t, source, "a", "1", "members/old", "x")
	put(t, s, "members/n1", "x", snapshot.FilledKey, "{}")
	if _, err := snapshot.Fill(t.Context(), s, bytes.NewReader(write(t, source)), now); err != nil || dump(t, s) != dump(t, source) {
		t.Errorf("%v: %s", err, dump(t, s))
	}
}
