package doctor

import (
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	// roundsEvery is the least time between two examinations, and roundsAfterError that
	// after one that could not be made.
	roundsEvery      = 10 * time.Minute
	roundsAfterError = time.Minute
	// roundsWithin bounds one.
	roundsWithin = 90 * time.Second
)

// Rounds has the set-up examined beside other work while somebody wants to know of it: one
// examination at a time, every 10 minutes at most. What it found last is kept in memory.
type Rounds struct {
	// Examine makes one examination. It ends with the context.
	Examine func(ctx context.Context) (Report, error)
	// Go runs one beside the caller, with a context that ends with the process's work.
	Go func(func(ctx context.Context))
	// Now defaults to time.Now.
	Now func() time.Time

	mu      sync.Mutex
	running bool
	changed bool // the set-up has, since the examination that runs began
	last    Report
	at      time.Time // when last was found; zero: never
	tried   time.Time // when an examination last ended; zero: never
	err     error     // why that could not be made
}

// Latest returns at once what was found last and when, the zero time before the first
// time, or why nothing could be looked at since. It has the set-up examined again if that
// is some time ago.
func (r *Rounds) Latest() (Report, time.Time, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.running && r.due() {
		r.running, r.changed = true, false
		r.Go(r.examine)
	}
	return r.last, r.at, r.err
}

// Changed tells that the set-up is another one: what was found last is shown until
// somebody wants to know again, and then soon replaced.
func (r *Rounds) Changed() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changed, r.tried = true, time.Time{}
}

// due reports whether it is time for another examination. r.mu is held.
func (r *Rounds) due() bool {
	ago, pause := r.now().Sub(r.tried), roundsEvery
	if r.err != nil {
		pause = roundsAfterError
	}
	return r.tried.IsZero() || ago >= pause || ago < 0
}

func (r *Rounds) now() time.Time {
	if r.Now != nil {
		return r.Now()
	}
	return time.Now()
}

func (r *Rounds) examine(ctx context.Context) {
	ctx, cancel := context.WithTimeoutCause(ctx, roundsWithin, fmt.Errorf("it took longer than %s", roundsWithin))
	defer cancel()
	report, err := r.Examine(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	if r.running = false; !r.changed {
		r.tried = now
	}
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		r.err = fmt.Errorf("examining the set-up: %w", err)
		return
	}
	r.last, r.at, r.err = report, now, nil
}
