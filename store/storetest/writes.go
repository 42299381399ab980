package storetest

import (
	"context"
	"errors"
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

func (u *suite) writes() map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		"an empty store stands at the first revision": u.test(func(t *testing.T, s store.Store) {
			if rev := present(t, s); rev < store.FirstRevision {
				t.Errorf("present revision %d, want at least %d", rev, store.FirstRevision)
			}
		}),
		"what is written is read, with its revision": u.test(func(t *testing.T, s store.Store) {
			before := present(t, s)
			rev := put(t, s, "a/1", "one")
			if rev <= before {
				t.Errorf("revision %d does not rise above %d", rev, before)
			}
			if value, at := get(t, s, "a/1"); value != "one" || at != rev {
				t.Errorf("got %q at %d, want %q at %d", value, at, "one", rev)
			}
			if now := present(t, s); now != rev {
				t.Errorf("present revision %d, want %d", now, rev)
			}
		}),
		"an empty value is a value": u.test(func(t *testing.T, s store.Store) {
			rev := write(t, s, store.Op{Key: "a", Value: []byte{}, If: store.Absent})
			e, _, err := s.Get(within(t), "a")
			if err != nil || e.Value == nil || len(e.Value) != 0 || e.Revision != rev {
				t.Errorf("got %+v, %v", e, err)
			}
		}),
		"keys and values are any bytes": u.test(func(t *testing.T, s store.Store) {
			key, value := "a/\x00\xff/ü/..", "\x00\xff\n"
			put(t, s, key, value)
			if got, _ := get(t, s, key); got != value {
				t.Errorf("got %q, want %q", got, value)
			}
		}),
	}
}

func (u *suite) conditions() map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		"Absent holds only where there is no key": u.test(func(t *testing.T, s store.Store) {
			rev := write(t, s, set("a", "1", store.Absent))
			conflict(t, s, "a", rev, set("a", "2", store.Absent))
			write(t, s, del("a", store.Any))
			write(t, s, set("a", "3", store.Absent))
		}),
		"a revision holds only for exactly that revision of the key": u.test(func(t *testing.T, s store.Store) {
			first := put(t, s, "a", "1")
			put(t, s, "b", "x") // another key's change does not matter
			second := write(t, s, set("a", "2", first))
			conflict(t, s, "a", second, set("a", "3", first))
			conflict(t, s, "a", second, set("a", "3", second+1))
			conflict(t, s, "none", 0, set("none", "3", second))
			conflict(t, s, "a", second, del("a", first))
			write(t, s, del("a", second))
		}),
		"Any puts no condition": u.test(func(t *testing.T, s store.Store) {
			put(t, s, "a", "1")
			put(t, s, "a", "2")
			write(t, s, del("a", store.Any))
		}),
	}
}

func (u *suite) atomicity() map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		"one condition that fails stops every op": u.test(func(t *testing.T, s store.Store) {
			rev := put(t, s, "a", "1")
			conflict(t, s, "c", 0, set("a", "2", rev), set("b", "2", store.Absent), set("c", "2", rev))
			if value, at := get(t, s, "a"); value != "1" || at != rev {
				t.Errorf("a was written all the same: %q at %d", value, at)
			}
			if value, _ := get(t, s, "b"); value != "" {
				t.Errorf("b was written all the same: %q", value)
			}
			if now := present(t, s); now != rev {
				t.Errorf("the revision moved from %d to %d", rev, now)
			}
		}),
		"all ops of a Write share its revision": u.test(func(t *testing.T, s store.Store) {
			put(t, s, "c", "old")
			rev := write(t, s, set("a", "1", store.Any), set("b", "2", store.Absent), del("c", store.Any))
			for _, key := range []string{"a", "b"} {
				if _, at := get(t, s, key); at != rev {
					t.Errorf("%s stands at %d, want %d", key, at, rev)
				}
			}
			if value, at := get(t, s, "c"); at != 0 {
				t.Errorf("c is still there: %q at %d", value, at)
			}
		}),
		"a Check guards without writing": u.test(func(t *testing.T, s store.Store) {
			rev := put(t, s, "lease", "mine")
			check := store.Op{Key: "lease", If: rev, Check: true}
			write(t, s, check, set("a", "1", store.Any))
			if value, at := get(t, s, "lease"); value != "mine" || at != rev {
				t.Errorf("the checked key was written: %q at %d", value, at)
			}
			taken := put(t, s, "lease", "theirs")
			conflict(t, s, "lease", taken, check, set("a", "2", store.Any))
			conflict(t, s, "lease", taken, store.Op{Key: "lease", If: store.Absent, Check: true}, set("a", "2", store.Any))
			write(t, s, store.Op{Key: "free", If: store.Absent, Check: true}, set("a", "3", store.Any))
		}),
	}
}

func (u *suite) unchanged() map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		"deleting what does not exist changes nothing": u.test(func(t *testing.T, s store.Store) {
			rev := put(t, s, "a", "1")
			w := watch(t, s, "", rev)
			if got := write(t, s, del("none", store.Any)); got != rev {
				t.Errorf("returned revision %d, want the present %d", got, rev)
			}
			if got := write(t, s, del("none", store.Absent)); got != rev {
				t.Errorf("returned revision %d, want the present %d", got, rev)
			}
			next := write(t, s, del("none", store.Any), set("b", "2", store.Any))
			events := collect(t, w, next)
			if len(events) != 1 || events[0].Key != "b" {
				t.Errorf("events %+v, want that of b alone", events)
			}
		}),
		"a Write of conditions alone moves nothing": u.test(func(t *testing.T, s store.Store) {
			rev := put(t, s, "a", "1")
			if got := write(t, s, store.Op{Key: "a", If: rev, Check: true}); got != rev {
				t.Errorf("returned revision %d, want the present %d", got, rev)
			}
			conflict(t, s, "a", rev, store.Op{Key: "a", If: store.Absent, Check: true})
		}),
		"setting the same value again is a change": u.test(func(t *testing.T, s store.Store) {
			first := put(t, s, "a", "1")
			if second := put(t, s, "a", "1"); second <= first {
				t.Errorf("revision %d after %d", second, first)
			}
		}),
	}
}

func (u *suite) edges() map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		"a repeated or empty key is refused": u.test(func(t *testing.T, s store.Store) {
			rev := present(t, s)
			for name, ops := range map[string][]store.Op{
				"repeated":                {set("a", "1", store.Any), set("a", "2", store.Any)},
				"repeated in a condition": {set("a", "1", store.Any), {Key: "a", If: store.Any, Check: true}},
				"empty":                   {set("", "1", store.Any)},
			} {
				if _, err := s.Write(within(t), ops...); err == nil {
					t.Errorf("%s: no error", name)
				}
			}
			if now := present(t, s); now != rev {
				t.Errorf("the revision moved from %d to %d", rev, now)
			}
		}),
		"a context that has ended stops every method": u.test(func(t *testing.T, s store.Store) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_, err := s.Write(ctx, set("a", "1", store.Any))
			wantErr(t, "Write", err, context.Canceled)
			_, _, err = s.Get(ctx, "a")
			wantErr(t, "Get", err, context.Canceled)
			_, err = s.List(ctx, "", store.ListOptions{})
			wantErr(t, "List", err, context.Canceled)
			_, err = s.Watch(ctx, "", 0)
			wantErr(t, "Watch", err, context.Canceled)
			if value, _ := get(t, s, "a"); value != "" {
				t.Errorf("a was written all the same: %q", value)
			}
		}),
		"values handed out stay as they were": u.test(func(t *testing.T, s store.Store) {
			put(t, s, "a", "first")
			e, _, err := s.Get(within(t), "a")
			if err != nil {
				t.Fatal(err)
			}
			res := list(t, s, "a", store.ListOptions{})
			for range 50 {
				put(t, s, "a", "later")
			}
			if string(e.Value) != "first" || string(res.KeyValues[0].Value) != "first" {
				t.Errorf("the values turned into %q and %q", e.Value, res.KeyValues[0].Value)
			}
		}),
	}
}

// conflict writes ops and wants a ConflictError for key, which stands at rev.
func conflict(t *testing.T, s store.Store, key string, rev int64, ops ...store.Op) {
	t.Helper()
	_, err := s.Write(within(t), ops...)
	var c *store.ConflictError
	if !errors.As(err, &c) {
		t.Errorf("Write: %v, want a ConflictError", err)
		return
	}
	diff(t, "conflict", *c, store.ConflictError{Key: key, Revision: rev})
}
