package acme

import (
	"fmt"
	"time"
)

// Budget is how many new orders a CA allows: Orders at once, which come back one by
// one, evenly over Per. 300 per 3 h is 300 at once and then one every 36 s. The zero
// value allows any number.
type Budget struct {
	Orders int
	Per    time.Duration
}

// String is for messages: "300 orders per 3 h".
func (b Budget) String() string {
	if b.Orders <= 0 {
		return "no bound"
	}
	return fmt.Sprintf("%d orders per %s", b.Orders, ShortDuration(b.Per))
}

// Each is how long it takes until one more order is allowed.
func (b Budget) Each() time.Duration { return max(b.Per/time.Duration(max(b.Orders, 1)), 1) }

// ShortDuration writes a duration for people: "90 s", "2 h 30 min", "3 d".
func ShortDuration(d time.Duration) string {
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
