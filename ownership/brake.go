package ownership

import (
	"slices"
	"time"
)

const (
	brakeLeast = 10 // fewer never are a fault of ours
	brakeShare = 10 // one part in so many of all verified records
)

// Fleet counts the verified records that would fall together.
type Fleet struct {
	// Verified is how many records are verified; those that would fall, and
	// those that fell a moment ago, are among them.
	Verified int
	// Falling is how many of them would fall: those of which every proof is
	// gone, and those that fell a moment ago.
	Falling int
	// Most is how many of those that would fall are of one owner, the one that
	// has most. A record without an owner is an owner of its own.
	Most int
}

// Need is how many records have to fall together for the brake to hold: more
// than a tenth of all verified ones, and ten.
func (f Fleet) Need() int { return max(brakeLeast, f.Verified/brakeShare+1) }

// Brake reports whether so many verified records would fall together, and of
// more than one owner, that the fault is more likely ours than theirs. Then none
// falls. No owner brings that about alone.
func (f Fleet) Brake() bool { return f.Falling >= f.Need() && f.Falling > f.Most }

// Lookups counts verified records by what the last look at each found. Each
// record counts once, however often it is looked at.
type Lookups struct {
	// Gone is how many have no proof left, Most how many of those are of the
	// one owner that has most.
	Gone, Most int
	// There is how many were looked at since the brake holds and have a proof.
	There int
}

// MostGone reports whether the majority of look-ups finds every proof gone, the
// owner with the most of them left aside: no owner decides that either.
func (l Lookups) MostGone() bool { return l.Gone-l.Most > l.There }

// Hold is one time that the brake holds. The zero value: it does not.
type Hold struct {
	// Since is when the first record was kept from falling.
	Since time.Time
	// Counted is since when look-ups are counted: Since, or the start of the
	// process if that was later.
	Counted time.Time
}

// Until is when a hold has lasted long enough: for most, which is
// fleet_brake_hold, and after a restart of the process for settle as well, but
// no longer than most, so that there are look-ups to go by.
func (h Hold) Until(most, settle time.Duration) time.Time {
	until, counted := h.Since.Add(most), h.Counted.Add(min(settle, most))
	if counted.After(until) {
		return counted
	}
	return until
}

// Over reports whether a hold has ended: when it has lasted long enough, but not
// while the majority of look-ups goes on finding everything gone.
func (h Hold) Over(now time.Time, most, settle time.Duration, l Lookups) bool {
	return !now.Before(h.Until(most, settle)) && !l.MostGone()
}

// SetBack moves a hold that begins in the future, as after a step back of the
// clock, to now, so that it does not last for the length of the step.
func (h Hold) SetBack(now time.Time) Hold {
	if h.Since.After(now) {
		h.Since = now
	}
	if h.Counted.After(now) {
		h.Counted = now
	}
	return h
}

// Gone is a verified record of which every proof is gone.
type Gone struct {
	Owner string
	Since time.Time
}

// HeldSince tells from what statuses say since when the brake has held before a
// restart: from when the first record was due that the brake kept from falling.
// That is the first to be due after so many proofs were gone that it holds. What
// was due before and has not fallen could not be told, which is no work of the
// brake. The result is zero if it did not hold, and never after now.
func HeldSince(verified int, gone []Gone, detachAfter time.Duration, now time.Time) time.Time {
	gone = slices.Clone(gone)
	slices.SortFunc(gone, func(a, b Gone) int { return a.Since.Compare(b.Since) })
	f, of := Fleet{Verified: verified}, map[string]int{}
	for _, g := range gone {
		f.Falling++
		if g.Owner != "" {
			of[g.Owner]++
		}
		if f.Most = max(f.Most, of[g.Owner], 1); !f.Brake() {
			continue
		}
		for _, first := range gone {
			if due := first.Since.Add(detachAfter); !due.Before(g.Since) && !due.After(now) {
				return due
			}
		}
		break
	}
	return time.Time{}
}
