package storetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

func (u *suite) lists() map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		"an empty prefix lists everything in the order of bytes": u.test(func(t *testing.T, s store.Store) {
			var want []string
			for _, key := range []string{"b", "a/2", "a", "a/10", "a\xff", "A", "ü", "a/\x00"} {
				want = append(want, fmt.Sprintf("%s=%s@%d", key, "v"+key, put(t, s, key, "v"+key)))
			}
			slices.SortFunc(want, func(a, b string) int {
				x, _, _ := strings.Cut(a, "=")
				y, _, _ := strings.Cut(b, "=")
				return strings.Compare(x, y)
			})
			res := list(t, s, "", store.ListOptions{})
			diff(t, "entries", pairs(res.KeyValues), want)
			if res.Revision != present(t, s) || res.More || res.Remaining != 0 {
				t.Errorf("revision %d, more %v, remaining %d", res.Revision, res.More, res.Remaining)
			}
		}),
		"a prefix is bytes, not a path": u.test(func(t *testing.T, s store.Store) {
			for _, key := range []string{"rec", "rec/1", "records/1", "red", "re"} {
				put(t, s, key, "")
			}
			diff(t, "rec", keys(list(t, s, "rec", store.ListOptions{}).KeyValues), []string{"rec", "rec/1", "records/1"})
			diff(t, "rec/", keys(list(t, s, "rec/", store.ListOptions{}).KeyValues), []string{"rec/1"})
			diff(t, "none", keys(list(t, s, "none", store.ListOptions{}).KeyValues), []string{})
		}),
		"values are the same with room for them, or for some, and without": u.test(func(t *testing.T, s store.Store) {
			for i := range 40 {
				put(t, s, fmt.Sprintf("a/%02d", i), strings.Repeat(fmt.Sprintf("value %d ", i), 10*i))
			}
			put(t, s, "a/empty", "")
			want := pairs(list(t, s, "a/", store.ListOptions{}).KeyValues)
			for _, size := range []int{0, 1, 100, 5000, 1 << 20} {
				room := make([]byte, 0, size)
				for range 2 { // it is used again
					got := list(t, s, "a/", store.ListOptions{Room: room})
					diff(t, fmt.Sprintf("with room for %d bytes", size), pairs(got.KeyValues), want)
					for _, e := range got.KeyValues {
						_ = append(e.Value, "more"...) // reaches into no other
					}
					diff(t, "after more was appended to each", pairs(got.KeyValues), want)
				}
			}
		}),
		"After skips up to and including a key, whether or not it exists": u.test(func(t *testing.T, s store.Store) {
			for _, key := range []string{"a/1", "a/2", "a/3", "b/1"} {
				put(t, s, key, "")
			}
			for after, want := range map[string][]string{
				"":      {"a/1", "a/2", "a/3"},
				"a/1":   {"a/2", "a/3"},
				"a/1\n": {"a/2", "a/3"},
				"a/3":   {},
				"0":     {"a/1", "a/2", "a/3"},
				"b":     {},
			} {
				diff(t, fmt.Sprintf("after %q", after), keys(list(t, s, "a/", store.ListOptions{After: after}).KeyValues), want)
			}
		}),
	}
}

func (u *suite) pages() map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		"Limit cuts and tells how many are left": u.test(func(t *testing.T, s store.Store) {
			fill(t, s, "a/", 10)
			fill(t, s, "b/", 3)
			for _, c := range []struct {
				after                  string
				limit, want, remaining int
			}{
				{"", 3, 3, 7}, {"a/0002", 3, 3, 4}, {"a/0005", 4, 4, 0}, {"a/0005", 9, 4, 0}, {"", 10, 10, 0}, {"", 9, 9, 1},
			} {
				res := list(t, s, "a/", store.ListOptions{After: c.after, Limit: c.limit})
				uncounted := list(t, s, "a/", store.ListOptions{After: c.after, Limit: c.limit, Uncounted: true})
				diff(t, "uncounted", pairs(uncounted.KeyValues), pairs(res.KeyValues))
				if uncounted.More != res.More {
					t.Errorf("after %q limit %d, uncounted: more %v", c.after, c.limit, uncounted.More)
				}
				if len(res.KeyValues) != c.want || int(res.Remaining) != c.remaining || res.More != (c.remaining > 0) {
					t.Errorf("after %q limit %d: %d entries, more %v, %d remaining; want %d, %d",
						c.after, c.limit, len(res.KeyValues), res.More, res.Remaining, c.want, c.remaining)
				}
			}
		}),
		"pages put together are the whole": u.test(func(t *testing.T, s store.Store) {
			fill(t, s, "a/", 2500)
			whole := list(t, s, "a/", store.ListOptions{})
			for _, limit := range []int{1, 7, 999, 1024, 2499, 2500} {
				if limit == 1 {
					diff(t, "first", pairs(list(t, s, "a/", store.ListOptions{Limit: 1}).KeyValues), pairs(whole.KeyValues[:1]))
					continue
				}
				diff(t, fmt.Sprintf("pages of %d", limit), pairs(paged(t, s, "a/", limit, 0, nil)), pairs(whole.KeyValues))
			}
		}),
		"large values are listed whole": u.test(func(t *testing.T, s store.Store) {
			big := strings.Repeat("x", 300_000)
			for i := range 8 {
				put(t, s, fmt.Sprintf("a/%d", i), big)
			}
			res := list(t, s, "a/", store.ListOptions{Limit: 7})
			if len(res.KeyValues) != 7 || res.Remaining != 1 || string(res.KeyValues[6].Value) != big {
				t.Errorf("%d entries, %d remaining", len(res.KeyValues), res.Remaining)
			}
		}),
	}
}

func (u *suite) past() map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		"a revision shows the state as it was exactly then": u.test(func(t *testing.T, s store.Store) {
			put(t, s, "a/changed", "old")
			put(t, s, "a/deleted", "old")
			put(t, s, "a/kept", "old")
			put(t, s, "a/recreated", "old")
			rev := put(t, s, "a/twice", "old")
			want := pairs(list(t, s, "a/", store.ListOptions{}).KeyValues)
			put(t, s, "a/changed", "new")
			write(t, s, del("a/deleted", store.Any))
			put(t, s, "a/added", "new")
			write(t, s, del("a/recreated", store.Any))
			put(t, s, "a/recreated", "new")
			put(t, s, "a/twice", "new")
			put(t, s, "a/twice", "newer")
			put(t, s, "a/come", "new")
			write(t, s, del("a/come", store.Any))
			res := list(t, s, "a/", store.ListOptions{Revision: rev})
			diff(t, "state", pairs(res.KeyValues), want)
			if res.Revision != rev {
				t.Errorf("Revision = %d, want %d", res.Revision, rev)
			}
		}),
		"every revision of a random history is read back": u.test(func(t *testing.T, s store.Store) {
			random := rand.New(rand.NewPCG(1, 2))
			states := map[int64][]string{}
			for range History / 2 {
				key := fmt.Sprintf("a/%d", random.IntN(20))
				op := set(key, fmt.Sprint(random.Int()), store.Any)
				if random.IntN(3) == 0 {
					op = del(key, store.Any)
				}
				rev := write(t, s, op)
				states[rev] = pairs(list(t, s, "a/", store.ListOptions{}).KeyValues)
			}
			for rev, want := range states {
				diff(t, fmt.Sprintf("at %d", rev), pairs(list(t, s, "a/", store.ListOptions{Revision: rev}).KeyValues), want)
				diff(t, fmt.Sprintf("pages at %d", rev), pairs(paged(t, s, "a/", 3, rev, nil)), want)
			}
		}),
	}
}

func (u *suite) pastPages() map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		"pages at one revision are consistent while writes go on": u.test(func(t *testing.T, s store.Store) {
			fill(t, s, "a/", 60)
			want := list(t, s, "a/", store.ListOptions{})
			i := 0
			got := paged(t, s, "a/", 7, 0, func() {
				for range 5 {
					put(t, s, fmt.Sprintf("a/%04d", (i*37)%60), "changed")
					write(t, s, del(fmt.Sprintf("a/%04d", (i*23)%60), store.Any))
					put(t, s, fmt.Sprintf("a/%04dx", i%60), "added")
					i++
				}
			})
			diff(t, "pages", pairs(got), pairs(want.KeyValues))
		}),
		"the present revision may be asked for": u.test(func(t *testing.T, s store.Store) {
			rev := put(t, s, "a", "1")
			diff(t, "entries", pairs(list(t, s, "", store.ListOptions{Revision: rev}).KeyValues), []string{fmt.Sprintf("a=1@%d", rev)})
		}),
		"a revision above the present lies in the future": u.test(func(t *testing.T, s store.Store) {
			rev := put(t, s, "a", "1")
			_, err := s.List(within(t), "", store.ListOptions{Revision: rev + 1})
			wantErr(t, "List", err, store.ErrFutureRevision)
		}),
		"a revision older than the history is expired": u.test(func(t *testing.T, s store.Store) {
			rev := put(t, s, "a", "1")
			u.expire(t, s)
			_, err := s.List(within(t), "", store.ListOptions{Revision: rev})
			wantErr(t, "List", err, store.ErrExpired)
			if n := len(list(t, s, "a", store.ListOptions{Revision: present(t, s)}).KeyValues); n != 1 {
				t.Errorf("%d entries at the present revision", n)
			}
		}),
	}
}

func keys(entries []store.KeyValue) []string {
	out := []string{}
	for _, e := range entries {
		out = append(out, e.Key)
	}
	return out
}

// fill writes n keys below prefix, a hundred at a time.
func fill(t *testing.T, s store.Store, prefix string, n int) {
	t.Helper()
	for i := 0; i < n; {
		var ops []store.Op
		for ; i < n && len(ops) < 100; i++ {
			key := fmt.Sprintf("%s%04d", prefix, i)
			ops = append(ops, set(key, "value of "+key, store.Any))
		}
		write(t, s, ops...)
	}
}

// paged lists in pages at one revision, calling between after each of them.
func paged(t *testing.T, s store.Store, prefix string, limit int, rev int64, between func()) []store.KeyValue {
	t.Helper()
	var all []store.KeyValue
	o := store.ListOptions{Limit: limit, Revision: rev}
	remaining := int64(-1)
	for {
		res := list(t, s, prefix, o)
		all = append(all, res.KeyValues...)
		if remaining >= 0 && res.Remaining != remaining-int64(len(res.KeyValues)) {
			t.Errorf("%d remaining after %d, with %d entries between", res.Remaining, remaining, len(res.KeyValues))
		}
		remaining = res.Remaining
		if !res.More {
			return all
		}
		o.After, o.Revision = res.KeyValues[len(res.KeyValues)-1].Key, res.Revision
		if between != nil {
			between()
		}
	}
}
