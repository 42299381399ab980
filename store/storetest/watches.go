package storetest

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

func (u *suite) watches() map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		"every change comes once, in order, with what was before": u.test(func(t *testing.T, s store.Store) {
			begin := present(t, s)
			created := put(t, s, "a", "1")
			updated := put(t, s, "a", "2")
			deleted := write(t, s, del("a", store.Any))
			again := put(t, s, "a", "3")
			diff(t, "events", collect(t, watch(t, s, "", begin), again), []store.Event{
				{Key: "a", Value: []byte("1"), Revision: created},
				{Key: "a", Value: []byte("2"), Previous: []byte("1"), PreviousRevision: created, Revision: updated},
				{Key: "a", Previous: []byte("2"), PreviousRevision: updated, Revision: deleted},
				{Key: "a", Value: []byte("3"), Revision: again},
			})
		}),
		"a watch begins after the revision it is given": u.test(func(t *testing.T, s store.Store) {
			put(t, s, "a", "1")
			second := put(t, s, "a", "2")
			third := put(t, s, "a", "3")
			events := collect(t, watch(t, s, "", second), third)
			if len(events) != 1 || events[0].Revision != third {
				t.Errorf("events %+v, want that of %d alone", events, third)
			}
		}),
		"zero begins with the present": u.test(func(t *testing.T, s store.Store) {
			put(t, s, "a", "1")
			w := watch(t, s, "", 0)
			rev := put(t, s, "a", "2")
			events := collect(t, w, rev)
			if len(events) != 1 || events[0].Revision != rev {
				t.Errorf("events %+v, want that of %d alone", events, rev)
			}
		}),
		"a watch from the revision of an empty list misses nothing": u.test(func(t *testing.T, s store.Store) {
			begin := list(t, s, "", store.ListOptions{}).Revision
			rev := put(t, s, "a", "1")
			if events := collect(t, watch(t, s, "", begin), rev); len(events) != 1 {
				t.Errorf("events %+v, want one", events)
			}
		}),
	}
}

func (u *suite) batches() map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		"only keys under the prefix are seen": u.test(func(t *testing.T, s store.Store) {
			begin := present(t, s)
			for _, key := range []string{"a/1", "b/1", "a", "a/2", "aa/1"} {
				put(t, s, key, "")
			}
			last := write(t, s, set("a/3", "", store.Any), set("c", "", store.Any), del("a/1", store.Any), del("b/1", store.Any))
			var got []string
			for _, e := range collect(t, watch(t, s, "a/", begin), last) {
				got = append(got, e.Key)
			}
			diff(t, "keys", got, []string{"a/1", "a/2", "a/3", "a/1"})
		}),
		"the revision moves on with other keys' changes": u.test(func(t *testing.T, s store.Store) {
			w := watch(t, s, "a/", present(t, s))
			rev := put(t, s, "b", "1")
			if events := collect(t, w, rev); len(events) != 0 {
				t.Errorf("events %+v, want none", events)
			}
		}),
		"the changes of one Write come in one batch": u.test(func(t *testing.T, s store.Store) {
			w := watch(t, s, "a/", present(t, s))
			const writes, each = 6, History / 8
			last := int64(0)
			for i := range writes {
				var ops []store.Op
				for j := range each {
					ops = append(ops, set(fmt.Sprintf("a/%04d", j), fmt.Sprint(i), store.Any))
				}
				last = write(t, s, ops...)
			}
			ctx := within(t)
			seen, events := map[int64]int{}, 0
			for rev := int64(0); rev < last; {
				b, err := w.Next(ctx)
				if err != nil {
					t.Fatal(err)
				}
				in := map[int64]int{}
				for _, e := range b.Events {
					in[e.Revision]++
					events++
				}
				for r, n := range in {
					if n != each || seen[r] != 0 {
						t.Errorf("%d of %d changes of revision %d in one batch", n, each, r)
					}
					seen[r] = n
				}
				rev = b.Revision
			}
			if events != writes*each {
				t.Errorf("%d events, want %d", events, writes*each)
			}
		}),
	}
}

func (u *suite) watchers() map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		"two watchers see the same": u.test(func(t *testing.T, s store.Store) {
			begin := present(t, s)
			one, two := watch(t, s, "", begin), watch(t, s, "", begin)
			last := int64(0)
			for i := range 20 {
				last = put(t, s, "a", fmt.Sprint(i))
			}
			if d := cmp.Diff(collect(t, one, last), collect(t, two, last)); d != "" {
				t.Error(d)
			}
		}),
		"Next waits for a change that is still to come": u.test(func(t *testing.T, s store.Store) {
			w := watch(t, s, "a", 0)
			got := make(chan []store.Event, 1)
			ctx := within(t)
			go func() {
				b, _ := w.Next(ctx)
				got <- b.Events
			}()
			put(t, s, "a", "1")
			if events := <-got; len(events) != 1 {
				t.Errorf("events %+v, want one", events)
			}
		}),
		"Next ends with its context, and the watch goes on": u.test(func(t *testing.T, s store.Store) {
			w := watch(t, s, "", present(t, s))
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() {
				_, err := w.Next(ctx)
				ended <- err
			}()
			cancel()
			wantErr(t, "Next", <-ended, context.Canceled)
			rev := put(t, s, "a", "1")
			if events := collect(t, w, rev); len(events) != 1 {
				t.Errorf("events %+v, want one", events)
			}
		}),
		"a closed watcher ends": u.test(func(t *testing.T, s store.Store) {
			w := watch(t, s, "", 0)
			ended := make(chan error, 1)
			ctx := within(t)
			go func() {
				_, err := w.Next(ctx)
				ended <- err
			}()
			w.Close()
			w.Close()
			wantErr(t, "Next", <-ended, store.ErrClosed)
		}),
	}
}

func (u *suite) limits() map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		"a revision above the present cannot be watched from": u.test(func(t *testing.T, s store.Store) {
			_, err := s.Watch(within(t), "", present(t, s)+1)
			wantErr(t, "Watch", err, store.ErrFutureRevision)
		}),
		"an expired revision cannot be watched from": u.test(func(t *testing.T, s store.Store) {
			rev := put(t, s, "a", "1")
			u.expire(t, s)
			if _, err := s.Watch(within(t), "", rev); err == nil {
				w := watch(t, s, "", rev) // an engine may notice on the first read
				_, err = w.Next(within(t))
				wantErr(t, "Next", err, store.ErrExpired)
			} else {
				wantErr(t, "Watch", err, store.ErrExpired)
			}
			watch(t, s, "", present(t, s))
		}),
		"a slow reader expires, blocks nobody and can start again": u.test(func(t *testing.T, s store.Store) {
			slow, quick := watch(t, s, "", present(t, s)), watch(t, s, "", present(t, s))
			seen := 0
			for i := range 2 * History {
				rev := put(t, s, "a", fmt.Sprint(i))
				if i%50 == 49 {
					seen += len(collect(t, quick, rev))
				}
			}
			if want := 2 * History / 50 * 50; seen != want {
				t.Errorf("the quick reader saw %d changes, want %d", seen, want)
			}
			u.expire(t, s)
			var err error
			for ctx := within(t); err == nil; {
				_, err = slow.Next(ctx)
			}
			wantErr(t, "Next of the slow reader", err, store.ErrExpired)
			_, err = slow.Next(within(t))
			wantErr(t, "Next once more", err, store.ErrExpired)
			res := list(t, s, "a", store.ListOptions{})
			rev := put(t, s, "a", "again")
			if events := collect(t, watch(t, s, "a", res.Revision), rev); len(events) != 1 {
				t.Errorf("events %+v, want one", events)
			}
		}),
	}
}
