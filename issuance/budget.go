package issuance

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"
)

// Budget allows so many new orders in any span of a length. The zero value
// allows any number.
type Budget struct {
	Orders int
	Per    time.Duration
}

func (b Budget) String() string {
	if b.Orders <= 0 {
		return "no bound"
	}
	return fmt.Sprintf("%d orders per %s", b.Orders, shortDuration(b.Per))
}

// budgetSlots is how finely spent orders are dated.
const budgetSlots = 100

// spending counts the orders of one CA and account in slots of a hundredth of
// the budget's span. A slot is forgotten only once all of it lies outside the
// span, so no span of that length ever sees more than the budget.
type spending struct {
	budget Budget
	slots  map[int64]int
}

func newSpending(b Budget) *spending { return &spending{budget: b, slots: map[int64]int{}} }

func (s *spending) slot() time.Duration {
	return max(s.budget.Per/budgetSlots, time.Millisecond)
}

func (s *spending) slotOf(t time.Time) int64 { return t.UnixNano() / int64(s.slot()) }

// live drops slots that count no more and returns the orders that do. Slots more
// than a span ahead are of a clock that has been set back since; they are dated
// now.
func (s *spending) live(now time.Time) int {
	oldest, latest := s.slotOf(now.Add(-s.budget.Per)), s.slotOf(now.Add(s.budget.Per))
	n, ahead := 0, 0
	for k, c := range s.slots {
		if k >= oldest {
			n += c
		}
		if k > latest {
			ahead += c
		}
		if k < oldest || k > latest {
			delete(s.slots, k)
		}
	}
	if ahead > 0 {
		s.slots[s.slotOf(now)] += ahead
	}
	return n
}

// free returns when the next order is allowed: now or a later time.
func (s *spending) free(now time.Time) time.Time {
	if s.budget.Orders <= 0 {
		return now
	}
	excess := s.live(now) - s.budget.Orders + 1
	if excess <= 0 {
		return now
	}
	first := s.slotOf(now.Add(-s.budget.Per))
	for k := first; k <= s.slotOf(now); k++ {
		if excess -= s.slots[k]; excess <= 0 {
			return s.end(k)
		}
	}
	return now.Add(s.budget.Per)
}

// end is when the orders of a slot count no more.
func (s *spending) end(k int64) time.Time {
	return time.Unix(0, (k+1)*int64(s.slot())).Add(s.budget.Per)
}

// room is how many orders are allowed now.
func (s *spending) room(now time.Time) int {
	if s.budget.Orders <= 0 {
		return math.MaxInt
	}
	return max(s.budget.Orders-s.live(now), 0)
}

// take spends one order if the budget allows it.
func (s *spending) take(now time.Time) bool {
	if s.budget.Orders <= 0 {
		return true
	}
	if s.free(now).After(now) {
		return false
	}
	s.slots[s.slotOf(now)]++
	return true
}

// forecast is how long the order behind so many others waits. An order that was
// spent allows another one when it is a span old, and that one the next: what is
// spent by now, the rest of the budget at once, is a pattern that repeats.
func (s *spending) forecast(now time.Time, ahead int) time.Duration {
	if s.budget.Orders <= 0 {
		return 0
	}
	spent := s.live(now)
	ahead -= max(s.budget.Orders-spent, 0)
	if ahead < 0 {
		return 0
	}
	ahead += max(spent-s.budget.Orders, 0) // a budget that was lowered waits for these, too
	spans := time.Duration(ahead/max(s.budget.Orders, spent)) * s.budget.Per
	nth := ahead % max(s.budget.Orders, spent)
	for _, k := range slices.Sorted(maps.Keys(s.slots)) {
		if nth -= s.slots[k]; nth < 0 {
			return spans + max(s.end(k).Sub(now), 0)
		}
	}
	return spans + s.budget.Per // of those that can go at once
}

// spendingJSON is how spending is kept in the store.
type spendingJSON struct {
	SlotNanos int64          `json:"slot"`
	Slots     map[string]int `json:"spent"`
}

func (s *spending) marshal() []byte {
	j := spendingJSON{SlotNanos: int64(s.slot()), Slots: make(map[string]int, len(s.slots))}
	for k, n := range s.slots {
		if n > 0 {
			j.Slots[strconv.FormatInt(k, 10)] = n
		}
	}
	b, _ := json.Marshal(j) // cannot fail: strings and integers only
	return b
}

// unmarshal takes over what was spent before, under whatever budget applied then.
func (s *spending) unmarshal(b []byte) error {
	var j spendingJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return fmt.Errorf("decoding spent orders: %w", err)
	}
	if j.SlotNanos <= 0 {
		return fmt.Errorf("decoding spent orders: slot of %d ns", j.SlotNanos)
	}
	slots := make(map[int64]int, len(j.Slots))
	for k, n := range j.Slots {
		i, err := strconv.ParseInt(k, 10, 64)
		if err != nil {
			return fmt.Errorf("decoding spent orders: %w", err)
		}
		if n < 0 || n > math.MaxInt32 || i < 0 || i >= math.MaxInt64/j.SlotNanos {
			return fmt.Errorf("decoding spent orders: %d in slot %d of %d ns cannot have been", n, i, j.SlotNanos)
		}
		// A slot of another length is dated by its end: late is safe.
		slots[s.slotOf(time.Unix(0, (i+1)*j.SlotNanos-1))] += n
	}
	s.slots = slots
	return nil
}

// shortDuration writes a duration as people do: "3h", "90s", "2h30m".
func shortDuration(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d d", int(d.Round(time.Hour)/(24*time.Hour)))
	case d >= time.Hour:
		h, m := int(d/time.Hour), int(d%time.Hour/time.Minute)
		if m == 0 {
			return fmt.Sprintf("%d h", h)
		}
		return fmt.Sprintf("%d h %d min", h, m)
	case d >= 2*time.Minute:
		return fmt.Sprintf("%d min", int(d.Round(time.Minute)/time.Minute))
	default:
		return fmt.Sprintf("%d s", int(d.Round(time.Second)/time.Second))
	}
}
