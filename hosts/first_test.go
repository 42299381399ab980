package hosts

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
)

// flaky is a store whose lists fail now and then.
type flaky struct {
	store.Store
	lists atomic.Int64
}

func (s *flaky) List(ctx context.Context, prefix string, o store.ListOptions) (store.ListResult, error) {
	if n := s.lists.Add(1); n == 4 || n > 60 && n%9 == 0 { // in the load, and in what is told of it
		return store.ListResult{}, errors.New("away for a moment")
	}
	return s.Store.List(ctx, prefix, o)
}

// Whoever is told keeps what he is told, and has in the end what the store has: no
// record of the load is told twice or left out, and no change of one comes before it,
// however writes, pages and a history that runs out fall among each other.
func TestWritesDuringTheLoadAreToldOnce(t *testing.T) {
	const records, writers = 400, 4
	for _, history := range []int{0, 8} {
		t.Run(fmt.Sprint("history ", history), func(t *testing.T) {
			s := openStore(t, boltstore.Options{History: history})
			name := func(i int) string { return fmt.Sprintf("r%03d.test", i) }
			for i := range records {
				if i%3 > 0 {
					write(t, s, putOp(t, record(name(i), name(i), false)))
				}
			}
			told := map[string]int64{} // what the one who is told has: revisions by name
			firsts := 0
			changed := func(c Change) {
				at, known := told[c.Name]
				switch {
				case c.First && known:
					t.Errorf("%s is told as there from the first at %d, and is known at %d", c.Name, c.Revision, at)
				case c.First && c.Previous != nil:
					t.Errorf("%s: the first has something before it", c.Name)
				case c.Record != nil && c.Previous != nil && !known:
					t.Errorf("%s has changed to %d before anything was told of it", c.Name, c.Revision)
				case c.Record != nil && !c.First && c.Revision <= at:
					t.Errorf("%s changes from %d to %d", c.Name, at, c.Revision)
				}
				if c.First {
					firsts++
				}
				if c.Record == nil {
					delete(told, c.Name)
				} else {
					told[c.Name] = c.Revision
				}
			}
			loaded, done := make(chan struct{}), make(chan struct{})
			ctx, cancel := context.WithCancel(t.Context())
			table, ended := New(), make(chan error, 1)
			go func() {
				ended <- Follow(ctx, &flaky{Store: s}, Follower{
					Table: table, PageSize: 7, OnChange: changed,
					OnLoaded: func() { close(loaded) }, OnTold: func() { close(done) },
				})
			}()
			wrote := make(chan error, writers)
			for w := range writers {
				go func() {
					random := rand.New(rand.NewPCG(uint64(w), uint64(history)))
					for i := 0; ; i++ {
						if i >= 20 {
							select {
							case <-done: // some more after all are told
								if i >= 60 {
									wrote <- nil
									return
								}
							default:
								if i > 20_000 {
									wrote <- errors.New("it is never told of all")
									return
								}
							}
						}
						op := putOp(t, record(name(random.IntN(records)), "", false))
						if random.IntN(3) == 0 {
							op.Value = nil
						} else {
							op = putOp(t, record(op.Key[len(Prefix):], op.Key[len(Prefix):], random.IntN(2) == 0))
						}
						revision, err := s.Write(ctx, op)
						if err != nil {
							wrote <- err
							return
						}
						// Now and then the table is let come near, further behind than the short
						// history reaches: who always writes faster is never caught up with.
						if i%8 == 7 {
							if err := table.WaitRevision(ctx, revision); err != nil {
								wrote <- err
								return
							}
						}
					}
				}()
			}
			for range writers {
				if err := <-wrote; err != nil {
					t.Fatal(err)
				}
			}
			<-loaded
			end := write(t, s, putOp(t, record("z.test", "z.test", false)))
			if err := table.WaitRevision(t.Context(), end); err != nil {
				t.Fatal(err)
			}
			cancel()
			<-ended
			list, err := s.List(t.Context(), Prefix, store.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]int64{}
			for _, e := range list.KeyValues {
				want[e.Key[len(Prefix):]] = e.Revision
			}
			if !maps.Equal(want, told) {
				t.Errorf("told are %d records, the store has %d", len(told), len(want))
				for name, revision := range want {
					if told[name] != revision {
						t.Errorf("%s is at %d, told at %d", name, revision, told[name])
					}
				}
			}
			if table.Len() != len(want) {
				t.Errorf("the table has %d records, the store %d", table.Len(), len(want))
			}
			if firsts == 0 {
				t.Error("nothing was told as there from the first: this tests nothing")
			}
		})
	}
}

// The table answers for all before anybody is told of any.
func TestTheTableIsLoadedBeforeAnythingIsTold(t *testing.T) {
	s := openStore(t, boltstore.Options{})
	for i := range 50 {
		write(t, s, putOp(t, record(fmt.Sprintf("r%d.test", i), fmt.Sprintf("r%d.test", i), true)))
	}
	var loaded atomic.Bool
	told, table := 0, New()
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		_ = Follow(ctx, s, Follower{
			Table: table, PageSize: 3,
			OnLoaded: func() { loaded.Store(table.Len() == 50) },
			OnChange: func(c Change) {
				if told++; !loaded.Load() || !c.First {
					t.Errorf("told of %s, first %v, before the table had all", c.Name, c.First)
				}
			},
			OnTold: func() { close(done) },
		})
	}()
	<-done
	if told != 50 {
		t.Errorf("told of %d records, want 50", told)
	}
}
