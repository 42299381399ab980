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
	// Owners is how many owners those that would fall are of. A record without
	// an owner is an owner of its own.
	Owners int
}

// Brake reports whether so many verified records would fall together that the
// fault is more likely ours than theirs: more than a tenth of all, and at least
// ten, of more than one owner. Then none falls.
func (f Fleet) Brake() bool {
	return f.Falling >= brakeLeast && f.Falling > f.Verified/brakeShare && f.Owners > 1
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
	f, owners := Fleet{Verified: verified}, map[string]bool{}
	for _, g := range gone {
		f.Falling++
		if g.Owner == "" || !owners[g.Owner] {
			owners[g.Owner] = true
			f.Owners++
		}
		if !f.Brake() {
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
