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
		{"nine of nine owners, and there is no more", Fleet{Verified: 9, Falling: 9, Most: 1}, false},
		{"ten of ten owners", Fleet{Verified: 10, Falling: 10, Most: 1}, true},
		{"more than a tenth", Fleet{Verified: 99, Falling: 10, Most: 1}, true},
		{"just a tenth", Fleet{Verified: 100, Falling: 10, Most: 1}, false},
		{"one more", Fleet{Verified: 100, Falling: 11, Most: 1}, true},
		{"a hundred of a thousand", Fleet{Verified: 1000, Falling: 100, Most: 1}, false},
		{"a hundred and one", Fleet{Verified: 1000, Falling: 101, Most: 1}, true},
		{"all of one owner", Fleet{Verified: 2000, Falling: 1000, Most: 1000}, false},
		{"all there is, of one owner", Fleet{Verified: 1000, Falling: 1000, Most: 1000}, false},
		{"of more than one owner", Fleet{Verified: 2000, Falling: 1001, Most: 1000}, true},
		{"twelve of two owners", Fleet{Verified: 12, Falling: 12, Most: 6}, true},
		{"twelve of two owners among a hundred others", Fleet{Verified: 112, Falling: 12, Most: 6}, true},
		{"twelve of two owners among many others", Fleet{Verified: 120, Falling: 12, Most: 6}, false},
	} {
		if got := c.fleet.Brake(); got != c.holds {
			t.Errorf("%s: Brake(%+v) = %v", c.what, c.fleet, got)
		}
	}
}

func TestAHoldEndsByItself(t *testing.T) {
	const hold, settle = time.Hour, 10 * time.Minute
	for _, c := range []struct {
		what           string
		since, counted time.Duration // ago
		looks          Lookups
		over           bool
	}{
		{"too early", time.Hour - time.Second, time.Hour - time.Second, Lookups{Gone: 20, Most: 1, There: 80}, false},
		{"when its time is over", time.Hour, time.Hour, Lookups{Gone: 20, Most: 1, There: 80}, true},
		{"not while most find everything gone", 9 * time.Hour, 9 * time.Hour, Lookups{Gone: 82, Most: 1, There: 80}, false},
		{"when as many find a proof", 9 * time.Hour, 9 * time.Hour, Lookups{Gone: 81, Most: 1, There: 80}, true},
		{"although one owner has most of what is gone", time.Hour, time.Hour, Lookups{Gone: 1005, Most: 1000, There: 6}, true},
		{"when nothing was looked at", time.Hour, time.Hour, Lookups{}, true},
		{"after a restart not before some were looked at", 5 * time.Hour, 9 * time.Minute, Lookups{Gone: 20, Most: 1, There: 80}, false},
		{"after a restart then", 5 * time.Hour, 10 * time.Minute, Lookups{Gone: 20, Most: 1, There: 80}, true},
	} {
		now := testEpoch
		h := Hold{Since: now.Add(-c.since), Counted: now.Add(-c.counted)}
		if got := h.Over(now, hold, settle, c.looks); got != c.over {
			t.Errorf("%s: Over = %v", c.what, got)
		}
	}
	if h := (Hold{Since: testEpoch, Counted: testEpoch}); !h.Over(testEpoch.Add(time.Minute), time.Minute, settle, Lookups{}) {
		t.Error("a hold of less than detach_after lasts as long as that")
	}
	ahead := Hold{Since: testEpoch.Add(24 * time.Hour), Counted: testEpoch.Add(24 * time.Hour)}
	if h := ahead.SetBack(testEpoch); !h.Over(testEpoch.Add(time.Hour), hold, settle, Lookups{}) {
		t.Errorf("a clock that was set back by a day makes the hold a day longer: %+v", h)
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
		{"a stale one of which little can be told does not make it longer", 40,
			both(gone(1, "a", -30*24*time.Hour), gone(20, "each its own", -time.Hour)), at(-time.Hour + wait)},
		{"a status from the future", 40, gone(20, "each its own", 24*time.Hour), time.Time{}},
	} {
		if got := HeldSince(c.verified, c.gone, wait, testEpoch); !got.Equal(c.want) {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
	}
}
