package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// Faulty is an engine on the way to which things go wrong, for RunFaults.
type Faulty struct {
	// Open opens a store as another process does. Those with the same space, a word of
	// letters and digits, share all keys. They are closed by its own t.Cleanup.
	Open func(t *testing.T, space string) store.Store
	// Faults happen to one store, by what they are called, and mend ends one. Other stores
	// work all the time.
	Faults map[string]func(t *testing.T, s store.Store) (mend func())
	// Reported says whether an operator was told that a write of a key was done, or may
	// have been, though it was answered as failed.
	Reported func(s store.Store, key string) bool
}

const (
	registers   = 6 // keys, each with a writer of its own
	faultRounds = 3
	faultTries  = 2 * registers // writes that end during a fault, and between two
)

// RunFaults tests what Write promises when the engine's answers are lost: what was
// acknowledged is there; what was not is not there and does not appear later, and if it
// does appear, the operator is told and it does so before the store works again.
func RunFaults(t *testing.T, e Faulty) {
	for name, fault := range e.Faults {
		t.Run(name, func(t *testing.T) {
			p := Shared{Open: e.Open}.pair(t)
			w := watch(t, p.two, "", present(t, p.two))
			h := &faultRun{t: t, bad: p.one, stop: make(chan struct{})}
			for i := range registers {
				h.registers[i] = &register{key: fmt.Sprintf("r/%d", i)}
				h.writing.Go(func() { h.write(h.registers[i]) })
			}
			for range faultRounds {
				h.wait()
				mend := fault(t, p.one)
				h.wait()
				mend()
			}
			h.wait()
			close(h.stop)
			h.writing.Wait()
			events := collect(t, w, last(t, p.two))
			for _, r := range h.registers {
				r.check(t, events, func() bool { return e.Reported(p.one, r.key) })
			}
		})
	}
}

type faultRun struct {
	t         *testing.T
	bad       store.Store
	registers [registers]*register
	writing   sync.WaitGroup
	stop      chan struct{}
	ended     atomic.Int64
}

// wait waits until some more writes have ended, as they may.
func (h *faultRun) wait() {
	h.t.Helper()
	ctx := within(h.t)
	for want := h.ended.Load() + faultTries; h.ended.Load() < want; time.Sleep(time.Millisecond) {
		if ctx.Err() != nil {
			h.t.Fatal("writes do not end")
		}
	}
}

// last writes a key that is none of the registers'.
func last(t *testing.T, s store.Store) int64 {
	t.Helper()
	for {
		rev, err := s.Write(within(t), set("end", "1", store.Any))
		if err == nil {
			return rev
		}
		wantErr(t, "Write", err, store.ErrUnavailable)
		time.Sleep(5 * time.Millisecond)
	}
}

// register is a key that one writer alone writes.
type register struct {
	key    string
	writes []written
}

// written is a Write and what it came to.
type written struct {
	value string // "": it deleted the key
	rev   int64  // 0: it failed
}

// write writes to a register, in each way that there is, until the run stops. What a
// read finds after a failure must be what stands there until the next write.
func (h *faultRun) write(r *register) {
	ctx := within(h.t)
	for n, at := 0, int64(0); ; n++ {
		op := set(r.key, fmt.Sprint(n), at)
		switch n % 4 {
		case 1:
			op.If = store.Any
		case 2:
			op = del(r.key, at)
		case 3:
			op = del(r.key, store.Any)
		}
		rev, err := h.bad.Write(ctx, op)
		h.ended.Add(1)
		r.writes = append(r.writes, written{string(op.Value), rev})
		switch {
		case err == nil && op.Value == nil:
			at = 0
		case err == nil:
			at = rev
		case errors.Is(err, store.ErrUnavailable):
			h.ended.Add(1) // the next waits for the fault's end
			if at, err = h.read(r.key); err != nil {
				h.t.Errorf("Get: %v", err)
				return
			}
		default:
			h.t.Errorf("write %d of %s at %d, If %d: %v", n, r.key, at, op.If, err)
			return
		}
		select {
		case <-h.stop:
			return
		default:
		}
	}
}

// read returns at which revision a key stands, once the store works again.
func (h *faultRun) read(key string) (int64, error) {
	ctx := within(h.t)
	for {
		e, _, err := h.bad.Get(ctx, key)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return 0, nil
		case !errors.Is(err, store.ErrUnavailable):
			return e.Revision, err
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// check holds what was written against all that has happened.
func (r *register) check(t *testing.T, events []store.Event, reported func() bool) {
	t.Helper()
	next, failed, residue := 0, 0, 0
	for _, e := range events {
		if e.Key != r.key {
			continue
		}
		of := slices.IndexFunc(r.writes, func(w written) bool { return w.rev == e.Revision })
		if of < 0 { // of one that failed, then, and before anything that was acknowledged later
			of = next + slices.IndexFunc(r.writes[next:], func(w written) bool { return w.rev > e.Revision || w.rev == 0 && w.value == string(e.Value) })
			if of < next || r.writes[of].rev != 0 {
				t.Errorf("%s: %q at %d was written by nobody", r.key, e.Value, e.Revision)
				return
			}
			if residue++; !reported() {
				t.Errorf("%s: write %d was answered as failed, is there at %d, and nobody was told", r.key, of, e.Revision)
			}
		}
		for ; next <= of; next++ {
			switch w := r.writes[next]; {
			case next == of && w.value != string(e.Value), next < of && w.rev != 0 && w.value != "":
				t.Errorf("%s: write %d of %q at %d is not there; there is %q at %d", r.key, next, w.value, w.rev, e.Value, e.Revision)
			}
		}
	}
	for i, w := range r.writes {
		switch {
		case w.rev == 0:
			failed++
		case i >= next && w.value != "":
			t.Errorf("%s: write %d was acknowledged at %d and is not there", r.key, i, w.rev)
		}
	}
	t.Logf("%s: %d writes, %d failed, of which %d were done all the same", r.key, len(r.writes), failed, residue)
}
