// Package storetest is the suite that every engine of store.Store passes: each
// test takes one sentence of the contract at its word. It knows no engine.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// History is the most changes that the stores under test may keep in memory or
// on disk, unless WithExpire says how to make a revision expire.
const History = 256

// patience bounds every single test: whatever hangs longer has failed.
const patience = 30 * time.Second

// Option adds to a Run what the engine can do.
type Option func(*suite)

// WithReopen adds the tests of durability. reopen closes the store and opens it
// again from the same place.
func WithReopen(reopen func(t *testing.T, s store.Store) store.Store) Option {
	return func(u *suite) { u.reopen = reopen }
}

// WithExpire says how to make every revision before the present one expire. By
// default the suite writes more than History changes.
func WithExpire(expire func(t *testing.T, s store.Store)) Option {
	return func(u *suite) { u.expire = expire }
}

type suite struct {
	open    func(t *testing.T) store.Store
	reopen  func(t *testing.T, s store.Store) store.Store
	lasting bool
	damage  func(t *testing.T, s store.Store, key string) store.Store
	expire  func(t *testing.T, s store.Store)
}

// Run tests the stores that open returns: each empty, and closed by open's own
// t.Cleanup, which must bear that the suite has closed it already.
func Run(t *testing.T, open func(t *testing.T) store.Store, options ...Option) {
	u := &suite{open: open, expire: func(t *testing.T, s store.Store) {
		for i := range History + 1 {
			put(t, s, "expire/filler", fmt.Sprint(i))
		}
	}}
	for _, o := range options {
		o(u)
	}
	for _, group := range []struct {
		name  string
		tests tests
	}{
		{"Write", tests{u.writes(), u.conditions(), u.atomicity(), u.unchanged(), u.edges()}},
		{"List", tests{u.lists(), u.pages()}},
		{"Read", tests{u.reads()}},
		{"ListInThePast", tests{u.past(), u.pastPages()}},
		{"Watch", tests{u.watches(), u.batches(), u.watchers()}},
		{"Limits", tests{u.limits()}},
		{"Concurrency", tests{u.concurrency(), u.order(), u.halves(), u.closing()}},
		{"Durability", tests{u.durability()}},
		{"LastingHistory", tests{u.lastingHistory()}},
		{"Damage", tests{u.damages(), u.damagedWrites()}},
	} {
		t.Run(group.name, func(t *testing.T) {
			for _, some := range group.tests {
				for name, test := range some {
					t.Run(name, test)
				}
			}
		})
	}
}

// tests of one group, by their sentences.
type tests []map[string]func(*testing.T)

// test makes a test of a function over a fresh store.
func (u *suite) test(f func(t *testing.T, s store.Store)) func(*testing.T) {
	return func(t *testing.T) { f(t, u.open(t)) }
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func set(key, value string, condition int64) store.Op {
	return store.Op{Key: key, Value: []byte(value), If: condition}
}

func del(key string, condition int64) store.Op { return store.Op{Key: key, If: condition} }

func write(t *testing.T, s store.Store, ops ...store.Op) int64 {
	t.Helper()
	rev, err := s.Write(within(t), ops...)
	if err != nil {
		t.Fatalf("Write: %v", err)
	}
	return rev
}

func put(t *testing.T, s store.Store, key, value string) int64 {
	t.Helper()
	return write(t, s, set(key, value, store.Any))
}

// get returns the value at key, "" with revision 0 if there is none.
func get(t *testing.T, s store.Store, key string) (string, int64) {
	t.Helper()
	e, _, err := s.Get(within(t), key)
	if errors.Is(err, store.ErrNotFound) {
		return "", 0
	}
	if err != nil {
		t.Fatalf("Get(%q): %v", key, err)
	}
	return string(e.Value), e.Revision
}

func present(t *testing.T, s store.Store) int64 {
	t.Helper()
	_, rev, err := s.Get(within(t), "no/such/key")
	if !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("Get of an absent key: %v, want ErrNotFound", err)
	}
	return rev
}

func list(t *testing.T, s store.Store, prefix string, o store.ListOptions) store.ListResult {
	t.Helper()
	res, err := s.List(within(t), prefix, o)
	if err != nil {
		t.Fatalf("List(%q, %+v): %v", prefix, o, err)
	}
	return res
}

// pairs flattens entries to "key=value@revision".
func pairs(entries []store.KeyValue) []string {
	out := []string{}
	for _, e := range entries {
		out = append(out, fmt.Sprintf("%s=%s@%d", e.Key, e.Value, e.Revision))
	}
	return out
}

func watch(t *testing.T, s store.Store, prefix string, after int64) store.Watcher {
	t.Helper()
	w, err := s.Watch(within(t), prefix, after)
	if err != nil {
		t.Fatalf("Watch(%q, %d): %v", prefix, after, err)
	}
	t.Cleanup(w.Close)
	return w
}

// collect reads from w until its revision has reached upto.
func collect(t *testing.T, w store.Watcher, upto int64) []store.Event {
	t.Helper()
	ctx := within(t)
	var events []store.Event
	var seen int64
	for seen < upto {
		b, err := w.Next(ctx)
		if err != nil {
			t.Fatalf("Next after revision %d, waiting for %d: %v", seen, upto, err)
		}
		if b.Revision <= seen {
			t.Fatalf("a batch moved the revision from %d to %d", seen, b.Revision)
		}
		for _, e := range b.Events {
			if e.Revision <= seen || e.Revision > b.Revision {
				t.Fatalf("event of revision %d in a batch from %d to %d", e.Revision, seen, b.Revision)
			}
		}
		seen = b.Revision
		events = append(events, b.Events...)
	}
	return events
}

func diff(t *testing.T, what string, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}
