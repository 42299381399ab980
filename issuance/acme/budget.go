package acme

import (
	"fmt"
	"time"
)

// Budget allows so many new orders at once, and as many again in each span of a
// length, evenly: 300 in 3 h is 300, and one more every 36 s. The zero value
// allows any number.
type Budget struct {
	Orders int
	Per    time.Duration
}

func (b Budget) String() string {
	if b.Orders <= 0 {
		return "no bound"
	}
	return fmt.Sprintf("%d orders per %s", b.Orders, ShortDuration(b.Per))
}

// Each is how long one spent order takes to come back.
func (b Budget) Each() time.Duration { return max(b.Per/time.Duration(max(b.Orders, 1)), 1) }

// ShortDuration writes a duration as people do: "3h", "90s", "2h30m".
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
