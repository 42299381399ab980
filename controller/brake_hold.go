package controller

import (
	"cmp"
	"slices"
	"time"

	"go.uber.org/zap"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// Why a hold ended.
const (
	endFew      = "no longer would so many fall together"
	endTime     = "fleet_brake_hold is over: those that are due fall"
	endReleased = "the operator has released it: those that are due fall"
)

// review brings a hold that is under way up to date. b.mu is held.
func (b *brake) review(now time.Time) {
	if !b.since.IsZero() {
		b.judge("", now)
	}
}

// judge reports whether the brake holds now. It begins because of the record of
// that name. b.mu is held.
func (b *brake) judge(name string, now time.Time) bool {
	b.forgetFalls(now, b.settings().DetachAfter)
	if !b.fleet().Brake() {
		b.end(endFew)
		return false
	}
	if b.since.IsZero() {
		b.begin(name, now)
	}
	b.since = earlier(b.since, now) // the clock may have been set back
	if !b.over(b.since, now) {
		return true
	}
	b.end(endTime)
	b.excuseAll()
	b.tell()
	return false
}

func (b *brake) begin(name string, since time.Time) {
	b.since = since
	fleetBrakes.Inc()
	fleet := b.fleet()
	b.logger.Error("fleet brake: too many records would lose ownership together, so none does; find out what they have in common",
		zap.Int("falling", fleet.Falling), zap.Int("verified", fleet.Verified), zap.String("record", name), zap.Time("since", since))
}

// resume takes up, once, what the statuses tell of a hold of before the start:
// since when each record was kept from falling, and the hold if it is not over.
// The name is that of the first record that is due. b.mu is held.
func (b *brake) resume(name string, now time.Time) {
	if b.resumed {
		return
	}
	b.resumed = true
	wait := b.settings().DetachAfter
	since := ownership.HeldSince(b.fleet().Verified, b.ofBefore(), wait, now)
	if since.IsZero() {
		return
	}
	for _, w := range b.withdrawing {
		if due := w.since.Add(wait); w.recalled && !due.After(now) {
			if w.held = due; due.Before(since) {
				w.held = since
			}
			b.excuseOver(w, now)
		}
	}
	if !b.over(since, now) {
		b.begin(name, since)
	}
}

// resumeAnew has resume look once more, because records are recalled.
func (b *brake) resumeAnew() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.resumed = false
}

// ofBefore are the records that had no proof left before the start.
func (b *brake) ofBefore() (gone []ownership.Gone) {
	for _, w := range b.withdrawing {
		if w.recalled {
			gone = append(gone, ownership.Gone{Owner: w.owner, Since: w.since})
		}
	}
	return gone
}

func (b *brake) end(why string) {
	if b.since.IsZero() {
		return
	}
	b.logger.Warn("fleet brake: it holds no longer", zap.String("why", why), zap.Time("since", b.since),
		zap.Int("gone", b.gone()), zap.Int("verified", b.verified()))
	b.since = time.Time{}
}

// over reports whether what began at since has lasted for fleet_brake_hold.
func (b *brake) over(since, now time.Time) bool { return !now.Before(since.Add(b.longest())) }

func (b *brake) longest() time.Duration {
	if most := b.settings().FleetBrakeHold; most > 0 {
		return most
	}
	return ownership.DefaultFleetBrakeHold
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func (b *brake) excuse(w *withdrawal) {
	b.uncount(w)
	w.excused = true
}

// excuseOver lets a record fall that was held for long enough.
func (b *brake) excuseOver(w *withdrawal, now time.Time) {
	if b.over(w.held, now) {
		b.excuse(w)
	}
}

// excuseAll lets all fall that have no proof left now, and begins to count anew.
func (b *brake) excuseAll() {
	for _, w := range b.withdrawing {
		b.excuse(w)
	}
}

// release ends a hold and excuses the records that have no proof left. It
// returns since when the brake held, how many have none, and the names of those
// that are due. Without a hold ok is false.
func (b *brake) release(now time.Time) (since time.Time, gone int, due []string, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.review(now); b.since.IsZero() {
		return time.Time{}, 0, nil, false
	}
	for name, w := range b.withdrawing {
		if !w.held.IsZero() && !w.excused {
			due = append(due, name)
		}
	}
	since, gone = b.since, b.gone()
	b.end(endReleased)
	b.excuseAll()
	b.tell()
	return since, gone, due, true
}

func (b *brake) fleet() ownership.Fleet {
	var peers Falling
	if b.peers != nil {
		peers = b.peers()
	}
	return ownership.Fleet{
		Verified: b.verified() + len(b.fallen) + peers.Fallen,
		Falling:  b.falling.records + peers.Records,
		Owners:   b.falling.ownersWith(peers.Owners),
	}
}

// tell tells other nodes what is about to fall here. b.mu is held.
func (b *brake) tell() {
	if b.changed != nil {
		b.changed(Falling{Records: b.falling.records, Fallen: len(b.fallen), Owners: b.falling.sample()})
	}
}

// gone is how many records have no proof left, but for the excused.
func (b *brake) gone() int { return b.falling.records - len(b.fallen) }

// forgetFalls forgets what fell longer ago than window, or seems to fall in the
// future, as after a step back of the clock.
func (b *brake) forgetFalls(now time.Time, window time.Duration) {
	if b.recalled {
		slices.SortFunc(b.fallen, func(a, c fall) int { return cmp.Compare(a.at.UnixNano(), c.at.UnixNano()) })
		b.recalled = false
	}
	n := 0
	for n < len(b.fallen) && now.Sub(b.fallen[n].at).Abs() > window {
		b.falling.remove(b.fallen[n].owner)
		n++
	}
	if b.fallen = b.fallen[n:]; len(b.fallen) == 0 {
		b.fallen = nil
	}
}

// BrakeRelease tells of a hold that was ended.
type BrakeRelease struct {
	// Since is when the brake began to hold.
	Since time.Time
	// Gone is how many verified records had no proof left, Due how many of them
	// the brake kept from falling.
	Gone, Due int
}

// ReleaseBrake ends the fleet brake's hold, if it holds, and has the records that
// it kept from falling looked at now: those that have no proof left fall, and do
// not make it hold again. Records that lose their proofs from now on may. The
// result is nil if the brake does not hold.
func (c *Controller) ReleaseBrake() *BrakeRelease {
	since, gone, due, ok := c.brake.release(c.cfg.Now())
	if !ok {
		return nil
	}
	c.demandAll(workLook, due)
	return &BrakeRelease{Since: since, Gone: gone, Due: len(due)}
}

// verified is how many records are verified.
func (c *Controller) verified() int {
	return int(c.cfg.Table.Count(v1alpha3.ConditionOwnershipVerified, metav1.ConditionTrue))
}
