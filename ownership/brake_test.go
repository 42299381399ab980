package ownership

import (
	"fmt"
	"testing"
	"time"
)

func TestBrake(t *testing.T) {
	for _, c := range []struct {
		what  string
		fleet Fleet
		holds bool
	}{
		{"nothing falls", Fleet{}, false},
		{"nine of nine owners, and there is no more", Fleet{Verified: 9, Falling: 9, Owners: 9}, false},
		{"ten of ten owners", Fleet{Verified: 10, Falling: 10, Owners: 10}, true},
		{"more than a tenth", Fleet{Verified: 99, Falling: 10, Owners: 10}, true},
		{"just a tenth", Fleet{Verified: 100, Falling: 10, Owners: 10}, false},
		{"one more", Fleet{Verified: 100, Falling: 11, Owners: 11}, true},
		{"one more where a tenth is no whole number", Fleet{Verified: 109, Falling: 11, Owners: 11}, true},
		{"a hundred of a thousand", Fleet{Verified: 1000, Falling: 100, Owners: 100}, false},
		{"a hundred and one", Fleet{Verified: 1000, Falling: 101, Owners: 101}, true},
		{"all of one owner", Fleet{Verified: 2000, Falling: 1000, Owners: 1}, false},
		{"all there is, of one owner", Fleet{Verified: 1000, Falling: 1000, Owners: 1}, false},
		{"of more than one owner", Fleet{Verified: 2000, Falling: 1001, Owners: 2}, true},
		{"twelve of two owners among a hundred others", Fleet{Verified: 112, Falling: 12, Owners: 2}, true},
		{"twelve of two owners among many others", Fleet{Verified: 120, Falling: 12, Owners: 2}, false},
	} {
		if got := c.fleet.Brake(); got != c.holds {
			t.Errorf("%s: Brake(%+v) = %v", c.what, c.fleet, got)
		}
	}
}

func TestHowLongTheBrakeHeldIsToldFromStatuses(t *testing.T) {
	const wait = 10 * time.Minute
	at := func(d time.Duration) time.Time { return testEpoch.Add(d) }
	gone := func(n int, owner string, since time.Duration) []Gone {
		var g []Gone
		for i := range n {
			o := owner
			if o == "each its own" {
				o = fmt.Sprint(owner, i)
			}
			g = append(g, Gone{o, at(since)})
		}
		return g
	}
	both := func(lists ...[]Gone) (all []Gone) {
		for _, l := range lists {
			all = append(all, l...)
		}
		return all
	}
	for _, c := range []struct {
		what     string
		verified int
		gone     []Gone
		want     time.Time
	}{
		{"nothing is gone", 40, nil, time.Time{}},
		{"too few", 400, gone(40, "each its own", -3*time.Hour), time.Time{}},
		{"all together, long ago", 40, gone(20, "each its own", -3*time.Hour), at(-3*time.Hour + wait)},
		{"together, not yet due", 40, gone(20, "each its own", -5*time.Minute), time.Time{}},
		{"without owners", 40, gone(20, "", -3*time.Hour), at(-3*time.Hour + wait)},
		{"one owner's many", 40, gone(20, "a", -3*time.Hour), time.Time{}},
		{"one owner's many, and then another's", 40,
			both(gone(20, "a", -3*time.Hour), gone(1, "b", -2*time.Hour)), at(-2*time.Hour + wait)},
		{"a stale one of which little can be told does not make it longer", 40,
			both(gone(1, "a", -30*24*time.Hour), gone(20, "each its own", -time.Hour)), at(-time.Hour + wait)},
		{"a status from the future", 40, gone(20, "each its own", 24*time.Hour), time.Time{}},
	} {
		if got := HeldSince(c.verified, c.gone, wait, testEpoch); !got.Equal(c.want) {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
	}
}
