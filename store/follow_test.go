package store_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
)

// copied is a copy of the keys under a prefix, kept by Follow.
type copied struct {
	store.Progress
	mu     sync.Mutex
	keys   map[string]string
	gone   map[string]bool
	reads  int
	failed []error
}

func (c *copied) set(key string, value []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if value == nil {
		delete(c.keys, key)
		return
	}
	c.keys[key] = string(value)
}

func (c *copied) follower() store.Follower {
	return store.Follower{
		Prefix: "a/", PageSize: 3,
		Begin: func() {
			c.gone = map[string]bool{}
			for k := range c.keys {
				c.gone[k] = true
			}
			c.reads++
		},
		Page: func(entries []store.KeyValue) {
			for _, e := range entries {
				delete(c.gone, e.Key)
				c.set(e.Key, e.Value)
			}
		},
		End: func(int64) {
			for k := range c.gone {
				c.set(k, nil)
			}
		},
		Change:  func(e *store.Event) { c.set(e.Key, e.Value) },
		Reached: c.Reach,
		Failed:  func(err error) { c.failed = append(c.failed, err) },
	}
}

func (c *copied) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for k, v := range c.keys {
		out = append(out, k+"="+v)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// failing is a Store whose reads and watches fail while they are told to.
type failing struct {
	store.Store
	list, watch, next atomic.Pointer[error]
}

func (s *failing) List(ctx context.Context, prefix string, o store.ListOptions) (store.ListResult, error) {
	if o.After != "" { // in the midst of reading
		if err := s.list.Swap(nil); err != nil {
			return store.ListResult{}, *err
		}
	}
	return s.Store.List(ctx, prefix, o)
}

func (s *failing) Watch(ctx context.Context, prefix string, after int64) (store.Watcher, error) {
	if err := s.watch.Swap(nil); err != nil {
		return nil, *err
	}
	w, err := s.Store.Watch(ctx, prefix, after)
	return &failingWatcher{w, s}, err
}

type failingWatcher struct {
	store.Watcher
	s *failing
}

func (w *failingWatcher) Next(ctx context.Context) (store.Batch, error) {
	b, err := w.Watcher.Next(ctx)
	if fails := w.s.next.Swap(nil); fails != nil {
		return store.Batch{}, *fails // and the batch is lost
	}
	return b, err
}

func TestFollow(t *testing.T) {
	bolt, err := boltstore.Open(filepath.Join(t.TempDir(), "apoxy.db"), boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := &failing{Store: bolt}
	put := func(key, value string) int64 {
		t.Helper()
		op := store.Op{Key: key, If: store.Any}
		if value != "" {
			op.Value = []byte(value)
		}
		revision, err := s.Write(t.Context(), op)
		if err != nil {
			t.Fatal(err)
		}
		return revision
	}
	for i := range 7 {
		put(fmt.Sprint("a/", i), "x")
	}
	put("b/other", "x")

	c := &copied{keys: map[string]string{}}
	ended := make(chan error, 1)
	go func() { ended <- store.Follow(t.Context(), s, c.follower()) }()
	broken := errors.New("connection lost")
	for _, step := range []struct {
		what  string
		fails func()
		key   string
		value string
	}{
		{what: "a change", key: "a/3", value: "y"},
		{what: "a deletion", key: "a/4"},
		{what: "another prefix", key: "b/other", value: "y"},
		{what: "a batch that is lost with its connection", fails: func() { s.next.Store(&broken) }, key: "a/5", value: "y"},
		{what: "a watch that fails to begin again", fails: func() { s.next.Store(&broken); s.watch.Store(&broken) }, key: "a/6", value: "y"},
		{what: "a history that does not reach back", fails: func() { s.next.Store(&store.ErrExpired) }, key: "a/0"},
		{what: "and a reading that fails", fails: func() { s.next.Store(&store.ErrExpired); s.list.Store(&broken) }, key: "a/1"},
	} {
		if step.fails != nil {
			step.fails()
		}
		if err := c.WaitRevision(t.Context(), put(step.key, step.value)); err != nil {
			t.Fatalf("%s: %v", step.what, err)
		}
		list, err := bolt.List(t.Context(), "a/", store.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		want := &copied{keys: map[string]string{}}
		for _, e := range list.KeyValues {
			want.set(e.Key, e.Value)
		}
		if c.String() != want.String() {
			t.Errorf("after %s: %s, want %s", step.what, c, want)
		}
	}
	if err := bolt.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, store.ErrClosed) {
		t.Errorf("it ended with %v, want ErrClosed", err)
	}
	if c.reads < 3 || len(c.failed) != 3 { // of a watch that fails to begin again it is told once
		t.Errorf("everything was read %d times, and %v was told", c.reads, c.failed)
	}
	for _, err := range c.failed {
		if !errors.Is(err, broken) {
			t.Errorf("told of %v", err)
		}
	}
}

func TestFollowEndsWithItsContext(t *testing.T) {
	bolt, err := boltstore.Open(filepath.Join(t.TempDir(), "apoxy.db"), boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer bolt.Close()
	ctx, cancel := context.WithCancel(t.Context())
	c := &copied{keys: map[string]string{}}
	ended := make(chan error, 1)
	go func() { ended <- store.Follow(ctx, bolt, c.follower()) }()
	if err := c.WaitRevision(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
	if err := c.WaitRevision(ctx, 1000); !errors.Is(err, context.Canceled) {
		t.Errorf("waiting ended with %v", err)
	}
}
