package storetest

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// WithDamage adds the tests of damaged values. damage changes a bit of the value
// that the engine keeps for key, behind its back, and returns the store, opened
// anew if that takes it. Whether the history lasts over it is the engine's.
func WithDamage(damage func(t *testing.T, s store.Store, key string) store.Store) Option {
	return func(u *suite) { u.damage = damage }
}

const secret = "a value of which no byte may be handed out"

// over makes a test of a function over a store of a, b and c, of which b is damaged.
func (u *suite) over(f func(t *testing.T, s store.Store, revs map[string]int64)) func(*testing.T) {
	return u.test(func(t *testing.T, s store.Store) {
		revs := map[string]int64{"a": put(t, s, "x/a", "1"), "b": put(t, s, "x/b", secret), "c": put(t, s, "x/c", "3")}
		f(t, u.damage(t, s, "x/b"), revs)
	})
}

func (u *suite) damages() map[string]func(*testing.T) {
	if u.damage == nil {
		return nil
	}
	return map[string]func(*testing.T){
		"Get names the key and hands out no value": u.over(func(t *testing.T, s store.Store, revs map[string]int64) {
			e, rev, err := s.Get(within(t), "x/b")
			damagedAt(t, "Get", err, "x/b")
			if e.Key != "x/b" || e.Value != nil || !errors.Is(e.Err, store.ErrDamaged) || e.Revision <= 0 || rev != revs["c"] {
				t.Errorf("Get: %+v at revision %d, want the key alone and revision %d", e, rev, revs["c"])
			}
			if got, _ := get(t, s, "x/a"); got != "1" {
				t.Errorf("its neighbour reads %q", got)
			}
		}),
		"List goes on, whole and in pages": u.over(func(t *testing.T, s store.Store, revs map[string]int64) {
			for limit := range 4 {
				var all []store.KeyValue
				o := store.ListOptions{Limit: limit}
				for {
					res := list(t, s, "x/", o)
					all = append(all, res.KeyValues...)
					if want := int64(3 - len(all)); res.Remaining != want || res.More != (want > 0) {
						t.Errorf("limit %d: %d remain after %d, want %d", limit, res.Remaining, len(all), want)
					}
					if !res.More {
						break
					}
					o.After, o.Revision = all[len(all)-1].Key, res.Revision
				}
				diff(t, fmt.Sprintf("entries with limit %d", limit), described(all), []string{"x/a=1", "x/b damaged", "x/c=3"})
			}
		}),
		"a watch goes on": u.over(func(t *testing.T, s store.Store, revs map[string]int64) {
			w := watch(t, s, "x/", revs["c"])
			last := put(t, s, "x/c", "4")
			if events := collect(t, w, last); len(events) != 1 || string(events[0].Previous) != "3" {
				t.Errorf("events %+v, want the change of c", events)
			}
		}),
	}
}

func (u *suite) damagedWrites() map[string]func(*testing.T) {
	if u.damage == nil {
		return nil
	}
	return map[string]func(*testing.T){
		"it is deleted by name, and made again": u.over(func(t *testing.T, s store.Store, revs map[string]int64) {
			before := present(t, s)
			w := watch(t, s, "x/", before)
			at := write(t, s, del("x/b", store.Any))
			if _, rev := get(t, s, "x/b"); rev != 0 {
				t.Errorf("after deleting it stands at revision %d", rev)
			}
			last := write(t, s, set("x/b", "2", store.Absent))
			events := collect(t, w, last)
			if len(events) != 2 {
				t.Fatalf("events %+v, want a deletion and a creation", events)
			}
			if e := events[0]; e.Value != nil || e.Err != nil || e.Previous != nil || e.PreviousRevision <= 0 || e.Revision != at {
				t.Errorf("deletion %+v, want one of a value that is not told", e)
			}
			damagedAt(t, "the value before", events[0].PreviousErr, "x/b")
			if e := events[1]; string(e.Value) != "2" || e.PreviousErr != nil || e.PreviousRevision != 0 {
				t.Errorf("creation %+v", e)
			}
			diff(t, "entries", described(list(t, s, "x/", store.ListOptions{}).KeyValues), []string{"x/a=1", "x/b=2", "x/c=3"})
			diff(t, "entries before", described(list(t, s, "x/", store.ListOptions{Revision: before}).KeyValues),
				[]string{"x/a=1", "x/b damaged", "x/c=3"})
			if u.reopen != nil {
				s = u.reopen(t, s)
				diff(t, "entries after a reopening", described(list(t, s, "x/", store.ListOptions{}).KeyValues), []string{"x/a=1", "x/b=2", "x/c=3"})
			}
			if u.reopen != nil && u.lasting {
				diff(t, "entries before, after a reopening", described(list(t, s, "x/", store.ListOptions{Revision: before}).KeyValues),
					[]string{"x/a=1", "x/b damaged", "x/c=3"})
			}
		}),
		"it is overwritten, by the revision too that it is known by": u.over(func(t *testing.T, s store.Store, revs map[string]int64) {
			e, _, _ := s.Get(within(t), "x/b")
			if _, err := s.Write(within(t), set("x/b", "2", store.Absent)); !conflicts(err, e.Revision) {
				t.Errorf("writing where nothing may be: %v, want a conflict with revision %d", err, e.Revision)
			}
			write(t, s, set("x/b", "2", e.Revision), store.Op{Key: "x/a", If: revs["a"], Check: true})
			if got, _ := get(t, s, "x/b"); got != "2" {
				t.Errorf("it reads %q", got)
			}
		}),
		"it may be a condition": u.over(func(t *testing.T, s store.Store, revs map[string]int64) {
			e, _, _ := s.Get(within(t), "x/b")
			write(t, s, set("x/c", "4", store.Any), store.Op{Key: "x/b", If: e.Revision, Check: true})
		}),
	}
}

func conflicts(err error, rev int64) bool {
	var c *store.ConflictError
	return errors.As(err, &c) && c.Revision == rev
}

// damagedAt checks an error about a damaged value.
func damagedAt(t *testing.T, what string, err error, key string) {
	t.Helper()
	var d *store.DamagedError
	if !errors.Is(err, store.ErrDamaged) || !errors.As(err, &d) || d.Key != key || d.Reason == "" {
		t.Errorf("%s: %v, want a DamagedError of %q", what, err, key)
		return
	}
	if strings.Contains(err.Error(), secret[:7]) {
		t.Errorf("%s: %q holds a part of the value", what, err)
	}
}

// described flattens entries to "key=value" or "key damaged".
func described(entries []store.KeyValue) []string {
	out := []string{}
	for _, e := range entries {
		switch {
		case e.Err == nil:
			out = append(out, fmt.Sprintf("%s=%s", e.Key, e.Value))
		case e.Value != nil || !errors.Is(e.Err, store.ErrDamaged):
			out = append(out, fmt.Sprintf("%s=%s with error %v", e.Key, e.Value, e.Err))
		default:
			out = append(out, e.Key+" damaged")
		}
	}
	return out
}
