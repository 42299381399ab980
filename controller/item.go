package controller

import (
	"errors"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// errStopped: the controller does not run.
var errStopped = errors.New("the controller is not running")

// errNotLive: this node does not hear of what others do.
var errNotLive = &store.UnavailableError{Engine: "the cluster", Reason: "this node does not hold its lease in the store, so another one looks at the record"}

// work is what is demanded of an item.
type work uint8

const (
	// workJudge: evaluate what is known.
	workJudge work = 1 << iota
	// workLook: ask DNS, then evaluate.
	workLook
	// workUrgent: it overtakes what is merely due, because somebody waits for it
	// or something was just heard of the hostname.
	workUrgent
	// workOwed: the look is due or was asked for, not only hinted at.
	workOwed
	// workGlance: look, for few questions, whether what was hinted at is so.
	workGlance
	// workFull: the look asks every server, whatever was known before.
	workFull
	// workHinted, in a demand for a look: only a hint speaks for it.
	workHinted
)

// item is what is kept of every record: 64 bytes, because there may be a million.
type item struct {
	name, hostname string
	due            int64 // next look by the timer, Unix nanoseconds; 0: none
	more           *rare // nil: nothing of it
	place          int32 // in the heap; -1: not in it
	domainAt       uint8 // where in hostname its registered domain begins, what fairness goes by
	pending        work
	state          state
	track          track
	gone           bool
	elsewhere      bool // another node looks at it
	gained         bool // it was another node's, and was not looked at here since
	newName        bool // ownership.Verdict.NewName of the last one; only the work under way touches it
}

// rare is what is kept of few records: those that were asked for, written or hinted at.
type rare struct {
	lastWrite  int64 // Unix seconds
	lastHint   int64 // Unix seconds
	hintFrom   int64 // no look for a hint before, Unix nanoseconds
	hintDue    int64 // a look for a hint is owed then; 0: none
	mended     int64 // the last look because a client wrote to the status, Unix nanoseconds; may be to come
	glanceFrom int64 // no glance before, Unix nanoseconds
	waiters    []chan error
	hintStep   uint8
	glances    uint8 // that found nothing new, one after the other
}

// known is what is kept of e that few have.
func (e *item) known() rare {
	if e.more == nil {
		return rare{}
	}
	return *e.more
}

// note returns what is kept of e that few have, to be changed.
func (e *item) note() *rare {
	if e.more == nil {
		e.more = new(rare)
	}
	return e.more
}

// forget takes back what a note said, and the note once it says nothing.
func (e *item) forget(change func(*rare)) {
	if e.more == nil {
		return
	}
	change(e.more)
	if r := e.more; r.waiters == nil && r.lastWrite|r.lastHint|r.hintFrom|r.hintDue|r.mended|r.glanceFrom == 0 && r.hintStep|r.glances == 0 {
		e.more = nil
	}
}

// setBack makes all that is due earlier.
func (e *item) setBack(by time.Duration) {
	times := []*int64{&e.due}
	if e.more != nil {
		times = append(times, &e.more.hintFrom, &e.more.hintDue)
	}
	for _, at := range times {
		if *at != 0 {
			*at -= int64(by)
		}
	}
}

// domain is the registered domain of the hostname.
func (e *item) domain() string { return e.hostname[e.domainAt:] }

type state uint8

const (
	idle state = iota
	queued
	running
)

// begin takes what is demanded of e and who waits for it, for work that starts
// now; those who come from now on wait for the next.
func (e *item) begin() (what work, waiters []chan error) {
	what, waiters = e.pending, e.known().waiters
	e.pending = 0
	e.forget(func(r *rare) { r.waiters = nil })
	return what, waiters
}

func answerAll(waiters []chan error, err error) {
	for _, w := range waiters {
		w <- err
	}
}

// fifo is a queue of items. One that was pushed again elsewhere stays in it
// and is passed over when its turn comes.
type fifo []*item

func (f *fifo) push(e *item) { *f = append(*f, e) }

// pop leaves what was popped to the next growth of the slice, which copies the rest.
func (f *fifo) pop() *item {
	if len(*f) == 0 {
		return nil
	}
	e := (*f)[0]
	(*f)[0] = nil
	if *f = (*f)[1:]; len(*f) == 0 {
		*f = nil
	}
	return e
}

// timers is a heap of items by due.
type timers []*item

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].due < t[j].due }
func (t timers) Swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].place, t[j].place = int32(i), int32(j)
}

func (t *timers) Push(x any) {
	e := x.(*item)
	e.place = int32(len(*t))
	*t = append(*t, e)
}

func (t *timers) Pop() any {
	old := *t
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*t = old[:len(old)-1]
	e.place = -1
	return e
}
