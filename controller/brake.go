package controller

import (
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// brake keeps count of the verified records that are about to lose ownership, or
// just have, and stops them all when they are too many at once: then the fault
// is more likely ours, or that of a resolver, than theirs. What too many is,
// ownership.Fleet says. It stops each for fleet_brake_hold at most.
//
// It keeps some 250 bytes of each record that has no proof left.
type brake struct {
	settings func() ownership.Settings
	verified func() int     // records that are verified now
	peers    func() Falling // nil: there are none
	changed  func(Falling)  // nil: nobody is told
	logger   *zap.Logger

	mu          sync.Mutex
	withdrawing map[string]*withdrawal // by record
	fallen      []fall                 // within the last detach_after, in order
	falling     headcount              // those withdrawing, but for the excused, and the fallen
	recalled    bool                   // there are falls of before the start, to be ordered

	since   time.Time // it holds since then; zero: it does not
	resumed bool      // what the statuses tell of a hold of before the start is taken up
}

// withdrawal is a verified record of which every proof is gone.
type withdrawal struct {
	owner    string
	since    time.Time
	held     time.Time // when it was first kept from falling; zero: was not
	excused  bool      // it was held for long enough, or released: it may fall, and counts no more
	recalled bool      // it was so before the start
}

type fall struct {
	name, owner string
	at          time.Time
}

// note notes that a verified record of owner has no proof left, since when.
func (b *brake) note(name, owner string, since, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.withdraw(name, owner, since)
	b.review(now)
	b.tell()
}

// withdraw counts a record among those that have no proof left. b.mu is held.
func (b *brake) withdraw(name, owner string, since time.Time) *withdrawal {
	w := b.withdrawing[name]
	if w != nil && (w.owner == owner || w.excused) {
		w.since = since
		return w
	}
	if w != nil { // it has been given to another owner
		b.uncount(w)
		w.owner, w.since = owner, since
	} else {
		w = &withdrawal{owner: owner, since: since}
		b.withdrawing[name] = w
	}
	b.falling.add(owner)
	return w
}

func (b *brake) uncount(w *withdrawal) {
	if !w.excused {
		b.falling.remove(w.owner)
	}
}

// forget notes that a record need not fall: it has a proof, is not verified, or
// was deleted.
func (b *brake) forget(name string, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if w := b.withdrawing[name]; w != nil {
		b.uncount(w)
		delete(b.withdrawing, name)
	}
	b.review(now)
	b.tell()
}

// ruling is what the brake says of a record that is due.
type ruling struct {
	fell         time.Time // it falls, and is counted; zero: it is not counted
	held         bool      // it does not fall
	since, until time.Time // the brake holds since then, and the record so long at most
}

// rule says whether a record that is due may fall now, and counts it if so.
// Together with it fall those that are withdrawing too, and those that fell
// within detach_after.
func (b *brake) rule(name, owner string, since, now time.Time) ruling {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer b.tell()
	w := b.withdraw(name, owner, since)
	b.resume(name, now)
	b.review(now)
	if !w.held.IsZero() { // however often the brake ends and begins anew, none is held for longer
		w.held = earlier(w.held, now)
		b.excuseOver(w, now)
	}
	if !w.excused && b.judge(name, now) {
		if w.held.IsZero() {
			w.held = now
		}
		return ruling{held: true, since: b.since, until: earlier(b.since, w.held).Add(b.longest())}
	}
	if w.excused {
		return ruling{} // it stays so until it is found to be no longer verified
	}
	delete(b.withdrawing, name)
	b.fallen = append(b.fallen, fall{name, owner, now})
	return ruling{fell: now}
}

// undo takes back a fall that could not be written.
func (b *brake) undo(name string, fell time.Time) {
	if fell.IsZero() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := len(b.fallen) - 1; i >= 0; i-- {
		if f := b.fallen[i]; f.name == name && f.at.Equal(fell) {
			b.fallen = slices.Delete(b.fallen, i, i+1)
			b.falling.remove(f.owner)
			b.withdraw(name, f.owner, fell)
			b.tell()
			return
		}
	}
}

// recallGone notes a record that had no proof left before the start.
func (b *brake) recallGone(name, owner string, since time.Time) {
	b.mu.Lock()
	b.withdraw(name, owner, since).recalled = true
	b.tell()
	b.mu.Unlock()
}

// recallFall counts a fall of before the start.
func (b *brake) recallFall(name, owner string, at time.Time) {
	b.mu.Lock()
	b.fallen = append(b.fallen, fall{name, owner, at})
	b.falling.add(owner)
	b.recalled = true
	b.tell()
	b.mu.Unlock()
}
