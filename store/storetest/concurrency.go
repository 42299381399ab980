package storetest

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

func (u *suite) concurrency() map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		"of writers that race for one key exactly one wins": u.test(func(t *testing.T, s store.Store) {
			ctx := within(t)
			for round := range 10 {
				key := fmt.Sprintf("race/%d", round)
				var mu sync.Mutex
				var won []int64
				var wg sync.WaitGroup
				for i := range 16 {
					wg.Go(func() {
						rev, err := s.Write(ctx, set(key, fmt.Sprint(i), store.Absent))
						var conflict *store.ConflictError
						switch {
						case err == nil:
							mu.Lock()
							won = append(won, rev)
							mu.Unlock()
						case !errors.As(err, &conflict) || conflict.Revision == 0:
							t.Errorf("Write: %v, want a ConflictError with a revision", err)
						}
					})
				}
				wg.Wait()
				if _, at := get(t, s, key); len(won) != 1 || at != won[0] {
					t.Errorf("%d writers won, at %v; the key stands at %d", len(won), won, at)
				}
			}
		}),
		"a counter loses no increment": u.test(func(t *testing.T, s store.Store) {
			const writers, each = 8, 15
			ctx := within(t)
			var wg sync.WaitGroup
			for range writers {
				wg.Go(func() {
					for range each {
						if err := increment(func(e store.KeyValue, n int) error {
							_, err := s.Write(ctx, set("n", strconv.Itoa(n), e.Revision))
							return err
						}, func() (store.KeyValue, error) {
							e, _, err := s.Get(ctx, "n")
							return e, err
						}); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			if value, _ := get(t, s, "n"); value != strconv.Itoa(writers*each) {
				t.Errorf("counted to %s, want %d", value, writers*each)
			}
		}),
	}
}

func (u *suite) order() map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		"revisions of concurrent Writes differ, and a watcher sees each once in order": u.test(func(t *testing.T, s store.Store) {
			const writers, each = 16, 12 // fewer than History together
			ctx := within(t)
			w := watch(t, s, "c/", present(t, s))
			var mu sync.Mutex
			acked := map[int64]string{}
			last := int64(0)
			var wg sync.WaitGroup
			for i := range writers {
				wg.Go(func() {
					for j := range each {
						value := fmt.Sprintf("%d-%d", i, j)
						rev, err := s.Write(ctx, set(fmt.Sprintf("c/%d", i), value, store.Any))
						if err != nil {
							t.Error(err)
							return
						}
						if e, now, err := s.Get(ctx, fmt.Sprintf("c/%d", i)); err != nil || e.Revision != rev || now < rev {
							t.Errorf("after writing %d: read %d at %d, %v", rev, e.Revision, now, err)
						}
						mu.Lock()
						if other, taken := acked[rev]; taken {
							t.Errorf("revision %d was given to %s and %s", rev, other, value)
						}
						acked[rev] = value
						last = max(last, rev)
						mu.Unlock()
					}
				})
			}
			wg.Wait()
			events := collect(t, w, last)
			before := int64(0)
			for _, e := range events {
				if e.Revision <= before {
					t.Errorf("revision %d after %d", e.Revision, before)
				}
				before = e.Revision
				if acked[e.Revision] != string(e.Value) {
					t.Errorf("revision %d holds %q, acknowledged was %q", e.Revision, e.Value, acked[e.Revision])
				}
			}
			if len(events) != writers*each {
				t.Errorf("%d events, want %d", len(events), writers*each)
			}
		}),
	}
}

func (u *suite) halves() map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		"lists under way see no half of a Write": u.test(func(t *testing.T, s store.Store) {
			ctx := within(t)
			write(t, s, set("p/left", "0", store.Any), set("p/right", "0", store.Any))
			stop := make(chan struct{})
			var wg sync.WaitGroup
			wg.Go(func() {
				for i := 1; ; i++ {
					select {
					case <-stop:
						return
					default:
					}
					v := strconv.Itoa(i)
					if _, err := s.Write(ctx, set("p/left", v, store.Any), set("p/right", v, store.Any)); err != nil {
						t.Error(err)
						return
					}
				}
			})
			for range 200 {
				res, err := s.List(ctx, "p/", store.ListOptions{})
				if err != nil || len(res.KeyValues) != 2 {
					t.Errorf("List: %v, %v", res, err)
					break
				}
				if l, r := string(res.KeyValues[0].Value), string(res.KeyValues[1].Value); l != r {
					t.Errorf("left is %s, right %s at revision %d", l, r, res.Revision)
				}
			}
			close(stop)
			wg.Wait()
		}),
	}
}

func (u *suite) closing() map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		"closing ends watchers and refuses the rest": u.test(func(t *testing.T, s store.Store) {
			put(t, s, "a", "1")
			ctx := within(t)
			w := watch(t, s, "", 0)
			ended := make(chan error, 1)
			go func() {
				_, err := w.Next(ctx)
				ended <- err
			}()
			var wg sync.WaitGroup
			for i := range 8 {
				wg.Go(func() {
					for j := 0; ; j++ {
						if _, err := s.Write(ctx, set(fmt.Sprintf("w/%d", i), fmt.Sprint(j), store.Any)); err != nil {
							wantErr(t, "Write while closing", err, store.ErrClosed)
							return
						}
						if j == 5 && i == 0 {
							if err := s.Close(); err != nil {
								t.Errorf("Close: %v", err)
							}
						}
					}
				})
			}
			wg.Wait()
			for err := error(nil); ; {
				if err != nil {
					wantErr(t, "Next", err, store.ErrClosed)
					break
				}
				select {
				case err = <-ended:
					if err == nil { // it had a change to hand over first
						_, err = w.Next(ctx)
						for err == nil {
							_, err = w.Next(ctx)
						}
					}
				case <-ctx.Done():
					t.Fatal("the watcher did not end")
				}
			}
			_, _, err := s.Get(ctx, "a")
			wantErr(t, "Get", err, store.ErrClosed)
			_, err = s.List(ctx, "", store.ListOptions{})
			wantErr(t, "List", err, store.ErrClosed)
			_, err = s.Watch(ctx, "", 0)
			wantErr(t, "Watch", err, store.ErrClosed)
			if err := s.Close(); err != nil {
				t.Errorf("Close once more: %v", err)
			}
		}),
	}
}

// increment reads a number, writes it one higher and tries again on conflict.
func increment(write func(store.KeyValue, int) error, read func() (store.KeyValue, error)) error {
	for {
		e, err := read()
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		n, _ := strconv.Atoi(string(e.Value))
		err = write(e, n+1)
		var conflict *store.ConflictError
		if !errors.As(err, &conflict) {
			return err
		}
	}
}

func (u *suite) durability() map[string]func(*testing.T) {
	if u.reopen == nil {
		return nil
	}
	return map[string]func(*testing.T){
		"everything acknowledged is there again, at its revision": u.test(func(t *testing.T, s store.Store) {
			fill(t, s, "a/", 300)
			write(t, s, del("a/0007", store.Any))
			put(t, s, "a/0008", "changed")
			want := list(t, s, "", store.ListOptions{})
			s = u.reopen(t, s)
			got := list(t, s, "", store.ListOptions{})
			diff(t, "entries", pairs(got.KeyValues), pairs(want.KeyValues))
			if got.Revision != want.Revision {
				t.Errorf("revision %d, want %d", got.Revision, want.Revision)
			}
		}),
		"the revision never falls back, even when the last change was a deletion": u.test(func(t *testing.T, s store.Store) {
			put(t, s, "a", "1")
			deleted := write(t, s, del("a", store.Any))
			s = u.reopen(t, s)
			if rev := put(t, s, "a", "2"); rev <= deleted {
				t.Errorf("revision %d after %d", rev, deleted)
			}
		}),
		"a watch goes on from the last revision": u.test(func(t *testing.T, s store.Store) {
			last := put(t, s, "a", "1")
			s = u.reopen(t, s)
			w := watch(t, s, "", last)
			rev := put(t, s, "a", "2")
			diff(t, "events", collect(t, w, rev), []store.Event{
				{Key: "a", Value: []byte("2"), Previous: []byte("1"), PreviousRevision: last, Revision: rev},
			})
		}),
		"a revision from before is served or expired, never wrong": u.test(func(t *testing.T, s store.Store) {
			first := put(t, s, "a", "1")
			put(t, s, "a", "2")
			s = u.reopen(t, s)
			res, err := s.List(within(t), "", store.ListOptions{Revision: first})
			if err == nil {
				diff(t, "entries", pairs(res.KeyValues), []string{fmt.Sprintf("a=1@%d", first)})
			} else {
				wantErr(t, "List", err, store.ErrExpired)
			}
		}),
	}
}
