package storetest

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// WithLastingHistory adds, to WithReopen, the tests of engines whose history
// outlives a reopening.
func WithLastingHistory() Option {
	return func(u *suite) { u.lasting = true }
}

func (u *suite) lastingHistory() map[string]func(*testing.T) {
	if u.reopen == nil || !u.lasting {
		return nil
	}
	return map[string]func(*testing.T){
		"a watch from before the reopening misses nothing": u.test(func(t *testing.T, s store.Store) {
			m := newModel(present(t, s))
			m.write(t, s, set("a", "1", store.Any), set("b", "", store.Any))
			m.write(t, s, set("a", "2", store.Any), del("b", store.Any), set("c", "new", store.Any))
			m.write(t, s, del("a", store.Any))
			m.write(t, s, del("a", store.Any)) // changes nothing
			m.write(t, s, set("a", "3", store.Absent), set("b", "again", store.Any))
			s = u.reopen(t, s)
			m.write(t, s, set("a", "4", store.Any))
			if kept := m.check(t, s); kept != m.first {
				t.Errorf("history begins at revision %d, want %d", kept, m.first)
			}
		}),
		"random writes and reopenings are seen as they were, for as long as without": u.test(func(t *testing.T, s store.Store) {
			const seed = 11
			random := rand.New(rand.NewPCG(seed, seed))
			m := newModel(present(t, s))
			for round := range 12 {
				for range random.IntN(History / 3) {
					m.write(t, s, m.random(random)...)
				}
				before := m.check(t, s)
				s = u.reopen(t, s)
				if after := m.check(t, s); after > before {
					t.Errorf("seed %d round %d: history began at revision %d and after the reopening at %d", seed, round, before, after)
				}
			}
			if m.check(t, s) == m.first {
				t.Errorf("seed %d: nothing has expired after %d changes", seed, len(m.events))
			}
		}),
	}
}

// model is what a store has been told.
type model struct {
	first, last int64
	events      []store.Event
	now         map[string]store.KeyValue
}

func newModel(rev int64) *model {
	return &model{first: rev, last: rev, now: map[string]store.KeyValue{}}
}

// write writes to the store and the model.
func (m *model) write(t *testing.T, s store.Store, ops ...store.Op) {
	t.Helper()
	rev := write(t, s, ops...)
	changed := false
	for _, op := range ops {
		was, there := m.now[op.Key]
		if op.Check || op.Value == nil && !there {
			continue
		}
		changed = true
		m.events = append(m.events, store.Event{
			Key: op.Key, Value: op.Value, Previous: was.Value, PreviousRevision: was.Revision, Revision: rev,
		})
		if op.Value == nil {
			delete(m.now, op.Key)
		} else {
			m.now[op.Key] = store.KeyValue{Key: op.Key, Value: op.Value, Revision: rev}
		}
	}
	if changed != (rev > m.last) {
		t.Fatalf("revision %d after %d from %+v", rev, m.last, ops)
	}
	m.last = rev
}

// random makes ops that all hold: most of few keys, so that they are deleted
// and made again, with values that have much or nothing in common.
func (m *model) random(r *rand.Rand) []store.Op {
	ops := map[string]store.Op{}
	for range 1 + r.IntN(1+r.IntN(6)) {
		key := fmt.Sprintf("k/%d", r.IntN(9))
		op := store.Op{Key: key, If: store.Any}
		if r.IntN(3) == 0 {
			op.If = m.now[key].Revision
		}
		switch r.IntN(8) {
		case 0, 1: // a deletion, perhaps of nothing
		case 2:
			op.Check = true
		case 3:
			op.Value = []byte{}
		case 4: // the same once more
			op.Value = append([]byte{}, m.now[key].Value...)
		case 5:
			op.Value = []byte(strings.Repeat("ab", r.IntN(200)))
		default:
			op.Value = fmt.Appendf(nil, `{"head":%q,"n":%d,"tail":%q}`, strings.Repeat("h", 300), r.IntN(1e6), strings.Repeat("t", r.IntN(300)))
		}
		ops[key] = op
	}
	return slices.Collect(maps.Values(ops))
}

// check compares the store with the model at every revision, and returns the
// first that the store still keeps.
func (m *model) check(t *testing.T, s store.Store) int64 {
	t.Helper()
	state := maps.Clone(m.now)
	kept := m.last
	for rev, i := m.last, len(m.events); rev >= m.first; rev-- {
		res, err := s.List(within(t), "", store.ListOptions{Revision: rev})
		if errors.Is(err, store.ErrExpired) {
			_, err := s.Watch(within(t), "", rev)
			wantErr(t, fmt.Sprintf("Watch from revision %d, which cannot be listed", rev), err, store.ErrExpired)
			break
		}
		if err != nil {
			t.Fatalf("List at revision %d: %v", rev, err)
		}
		kept = rev
		if got, want := pairs(res.KeyValues), pairs(sorted(state)); !slices.Equal(got, want) {
			t.Fatalf("at revision %d (-want +got):\n%s", rev, cmp.Diff(want, got))
		}
		if rev < m.last {
			got := collect(t, watch(t, s, "", rev), m.last)
			if !reflect.DeepEqual(m.events[i:], got) { // cmp is too slow to ask every time
				t.Fatalf("events after revision %d (-want +got):\n%s", rev, cmp.Diff(m.events[i:], got))
			}
		}
		for ; i > 0 && m.events[i-1].Revision == rev; i-- { // what was before
			e := m.events[i-1]
			if e.PreviousRevision == 0 {
				delete(state, e.Key)
			} else {
				state[e.Key] = store.KeyValue{Key: e.Key, Value: e.Previous, Revision: e.PreviousRevision}
			}
		}
	}
	if rev := kept - 1; rev >= m.first {
		_, err := s.Watch(within(t), "", m.first)
		wantErr(t, "Watch from the first revision", err, store.ErrExpired)
	}
	return kept
}

func sorted(state map[string]store.KeyValue) []store.KeyValue {
	entries := slices.Collect(maps.Values(state))
	slices.SortFunc(entries, func(a, b store.KeyValue) int { return strings.Compare(a.Key, b.Key) })
	return entries
}
