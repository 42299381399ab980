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

// Review brings a hold that is under way up to date. b.mu is held.
func (b *brake) review(now time.Time) {
	if b.on {
		b.judge("", now)
	}
}

// Judge reports whether the brake holds now. It begins because of the record of
// that name. b.mu is held.
func (b *brake) judge(name string, now time.Time) bool {
	settle := b.settings().DetachAfter
	b.forgetFalls(now, settle)
	fleet := b.fleet()
	if !fleet.Brake() {
		b.end(endFew)
		return false
	}
	if !b.on {
		b.begin(name, fleet, settle, now)
	}
	b.hold = b.hold.SetBack(now)
	if !b.hold.Over(now, b.longest(), settle, b.lookups()) {
		return true
	}
	b.end(endTime)
	b.excuseAll()
	return false
}

func (b *brake) begin(name string, fleet ownership.Fleet, settle time.Duration, now time.Time) {
	b.on, b.there = true, make(map[string]struct{})
	b.hold = ownership.Hold{Since: now, Counted: now}
	if !b.resumed {
		if since := ownership.HeldSince(fleet.Verified, b.ofBefore(), settle, now); !since.IsZero() {
			b.hold.Since = since
		}
		b.resumed = true
	}
	fleetBrakes.Inc()
	b.logger.Error("fleet brake: too many records would lose ownership together, so none does; find out what they have in common",
		zap.Int("falling", fleet.Falling), zap.Int("verified", fleet.Verified), zap.String("record", name), zap.Time("since", b.hold.Since))
}

// OfBefore are the records that had no proof left before the start.
func (b *brake) ofBefore() (gone []ownership.Gone) {
	for _, w := range b.withdrawing {
		if w.recalled {
			gone = append(gone, ownership.Gone{Owner: w.owner, Since: w.since})
		}
	}
	return gone
}

func (b *brake) end(why string) {
	if !b.on {
		return
	}
	b.logger.Warn("fleet brake: it holds no longer", zap.String("why", why), zap.Time("since", b.hold.Since),
		zap.Int("gone", b.gone.total), zap.Int("verified", b.verified()))
	b.on, b.there, b.hold = false, nil, ownership.Hold{}
}

// ExcuseAll lets all fall that have no proof left now, and begins to count anew.
func (b *brake) excuseAll() {
	for _, w := range b.withdrawing {
		if !w.excused {
			b.excuse(w)
		}
	}
}

// Release ends a hold and excuses the records that have no proof left. It
// returns since when the brake held, how many have none, and the names of those
// that are due. Without a hold ok is false.
func (b *brake) release(now time.Time) (since time.Time, gone int, due []string, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.review(now); !b.on {
		return time.Time{}, 0, nil, false
	}
	for name, w := range b.withdrawing {
		if !w.held.IsZero() && !w.excused {
			due = append(due, name)
		}
	}
	since, gone = b.hold.Since, b.gone.total
	b.end(endReleased)
	b.excuseAll()
	return since, gone, due, true
}

func (b *brake) fleet() ownership.Fleet {
	return ownership.Fleet{
		Verified: b.verified() + len(b.fallen),
		Falling:  b.falling.total,
		Most:     b.falling.most(),
	}
}

func (b *brake) lookups() ownership.Lookups {
	return ownership.Lookups{Gone: b.gone.total, Most: b.gone.most(), There: len(b.there)}
}

// ForgetFalls forgets what fell longer ago than window, or seems to fall in the
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
	c.mu.Lock()
	for _, name := range due {
		if e := c.byName[name]; e != nil {
			c.queue.demand(e, workLook)
		}
	}
	c.mu.Unlock()
	c.poke()
	return &BrakeRelease{Since: since, Gone: gone, Due: len(due)}
}

// Verified is how many records are verified.
func (c *Controller) verified() int {
	return int(c.cfg.Table.Count(v1alpha3.ConditionOwnershipVerified, metav1.ConditionTrue))
}
