package storetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

func read(t *testing.T, s store.Store, revision int64, keys ...string) ([]store.KeyValue, int64) {
	t.Helper()
	entries, at, err := s.Read(within(t), keys, revision)
	if err != nil {
		t.Fatalf("Read of %d keys at %d: %v", len(keys), revision, err)
	}
	return entries, at
}

func (u *suite) reads() map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		"keys are read in the order asked for, without those that do not exist": u.test(func(t *testing.T, s store.Store) {
			a, b := put(t, s, "a", "1"), put(t, s, "b", "2")
			put(t, s, "c", "3")
			got, at := read(t, s, 0, "b", "none", "a")
			diff(t, "entries", pairs(got), []string{fmt.Sprintf("b=2@%d", b), fmt.Sprintf("a=1@%d", a)})
			if at != present(t, s) {
				t.Errorf("read at %d", at)
			}
			if got, at = read(t, s, 0); len(got) != 0 || at != present(t, s) {
				t.Errorf("reading nothing: %d entries at %d", len(got), at)
			}
		}),
		"more keys than fit one question are one state": u.test(func(t *testing.T, s store.Store) {
			fill(t, s, "a/", 2500)
			want := list(t, s, "a/", store.ListOptions{})
			got, _ := read(t, s, 0, keys(want.KeyValues)...)
			diff(t, "entries", pairs(got), pairs(want.KeyValues))
		}),
		"every revision of a random history is read by its keys": u.test(func(t *testing.T, s store.Store) {
			random := rand.New(rand.NewPCG(3, 4))
			states := map[int64][]string{}
			for range History / 3 {
				key := fmt.Sprintf("a/%d", random.IntN(20))
				op := set(key, fmt.Sprint(random.Int()), store.Any)
				if random.IntN(3) == 0 {
					op = del(key, store.Any)
				}
				states[write(t, s, op)] = pairs(list(t, s, "a/", store.ListOptions{}).KeyValues)
			}
			var all []string
			for i := range 20 {
				all = append(all, fmt.Sprintf("a/%d", i))
			}
			slices.Sort(all)
			for rev, want := range states {
				got, at := read(t, s, rev, all...)
				if diff(t, fmt.Sprintf("at %d", rev), pairs(got), want); at != rev {
					t.Errorf("read at %d, want %d", at, rev)
				}
			}
		}),
		"what is read while others write is one state": u.test(func(t *testing.T, s store.Store) {
			var all []string
			for i := range 300 {
				all = append(all, fmt.Sprintf("a/%04d", i))
			}
			var wg sync.WaitGroup
			wg.Go(func() { // all keys of one write have the same value
				for n := range 60 {
					var ops []store.Op
					for i := range 60 {
						ops = append(ops, set(all[i*5], fmt.Sprint(n), store.Any))
					}
					if _, err := s.Write(within(t), ops...); err != nil {
						t.Error(err)
						return
					}
				}
			})
			for range 40 {
				got, at := read(t, s, 0, all...)
				for _, e := range got {
					if e.Revision != got[0].Revision || e.Revision > at {
						t.Fatalf("%s at revision %d, %s at %d, read at %d", got[0].Key, got[0].Revision, e.Key, e.Revision, at)
					}
				}
			}
			wg.Wait()
		}),
		"revisions that cannot be read are told": u.test(func(t *testing.T, s store.Store) {
			rev := put(t, s, "a", "1")
			_, _, err := s.Read(within(t), []string{"a"}, rev+1)
			wantErr(t, "Read of the future", err, store.ErrFutureRevision)
			u.expire(t, s)
			_, _, err = s.Read(within(t), []string{"a"}, rev)
			wantErr(t, "Read of the forgotten", err, store.ErrExpired)
		}),
		"a list need not count": u.test(func(t *testing.T, s store.Store) {
			fill(t, s, "a/", 10)
			res := list(t, s, "a/", store.ListOptions{Limit: 4, Uncounted: true})
			if len(res.KeyValues) != 4 || !res.More {
				t.Errorf("%d entries, more %v", len(res.KeyValues), res.More)
			}
		}),
	}
}
