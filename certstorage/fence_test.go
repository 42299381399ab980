package certstorage_test

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/certstorage"
	"github.com/apoxy-dev/caddy-apoxy/internal/etcdtest"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// Three nodes count under one lock while each is cut off now and then, for longer and for
// shorter than its session lasts. Whatever was acknowledged to one of them was built on
// what was acknowledged before: no number is given twice, and none is lost.
func TestNothingIsLostUnderALock(t *testing.T) {
	const each = 5
	member := etcdtest.Start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var mu sync.Mutex
	by := map[int]int{} // number → the node that it was acknowledged to
	given := make([]int, 3)
	var work sync.WaitGroup
	for node := range 3 {
		w := newWay(t, member)
		st := openEtcd(t, w.endpoint())
		// None knows by itself that its session is over, as if it had been paused.
		sessions := &known{Sessions: certstorage.NewOwnSession(short{store.SessionsOf(st)})}
		locks := certstorage.NewLocks(certstorage.LockOptions{Store: st, Sessions: sessions, Node: strconv.Itoa(node)})
		t.Cleanup(locks.Close)
		s := certstorage.New(certstorage.Options{Store: st, Locks: locks})
		random, working := rand.New(rand.NewPCG(7, uint64(node))), rand.New(rand.NewPCG(8, uint64(node)))
		work.Go(func() {
			for ctx.Err() == nil {
				wait(ctx, time.Duration(500+random.IntN(1500))*time.Millisecond)
				w.silence()
				wait(ctx, time.Duration(random.IntN(4000))*time.Millisecond)
				if random.IntN(2) == 0 {
					w.resume()
				} else {
					w.mend()
				}
			}
		})
		work.Go(func() {
			for ctx.Err() == nil {
				if n, err := count(ctx, s, time.Duration(working.IntN(4)/3*working.IntN(3000))*time.Millisecond); err == nil {
					mu.Lock()
					if before, twice := by[n]; twice {
						t.Errorf("%d was given to nodes %d and %d", n, before, node)
					}
					by[n] = node
					given[node]++
					least := slices.Min(given)
					mu.Unlock()
					if least >= each {
						cancel()
					}
				}
				wait(ctx, 20*time.Millisecond)
			}
		})
	}
	work.Wait()
	last, err := strconv.Atoi(load(t, over(t, openEtcd(t, member)), keyFile))
	if err != nil {
		t.Fatal(err)
	}
	most := slices.Max(slices.Collect(maps.Keys(by)))
	if last < most || slices.Min(given) < each {
		t.Errorf("numbers to %d were given, and %d is stored; each node got %v", most, last, given)
	}
	t.Logf("of %d numbers the nodes were given %v", last, given)
}

// count takes the next number under the lock, and takes its time over it.
func count(ctx context.Context, s *certstorage.Storage, work time.Duration) (int, error) {
	if err := s.Lock(ctx, lock); err != nil {
		return 0, err
	}
	defer func() { _ = s.Unlock(ctx, lock) }() // what fails is tried again
	text, err := s.Load(ctx, keyFile)
	if errors.Is(err, fs.ErrNotExist) {
		text, err = []byte("0"), nil
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(string(text))
	if err != nil {
		return 0, err
	}
	n++
	wait(ctx, work)
	return n, s.Store(ctx, keyFile, []byte(strconv.Itoa(n)))
}

// short gives sessions of the shortest time to live.
type short struct{ store.Sessions }

func (s short) Begin(ctx context.Context, _ time.Duration) (store.Session, error) {
	return s.Sessions.Begin(ctx, time.Second)
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
