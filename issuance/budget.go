package issuance

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
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
	return fmt.Sprintf("%d orders per %s", b.Orders, shortDuration(b.Per))
}

// each is how long one spent order takes to come back.
func (b Budget) each() time.Duration { return max(b.Per/time.Duration(max(b.Orders, 1)), 1) }

// bucket counts the orders of one CA and account as Let's Encrypt does since
// 2025 (letsencrypt.org/docs/rate-limits): a bucket of as many orders as the
// budget has, from which each takes one out, and into which they come back one
// by one, evenly over the budget's span. It is kept as one time, by the generic
// cell rate algorithm (GCRA, ITU-T I.371). The zero value is full.
type bucket struct {
	// Full is when all orders will have come back.
	Full time.Time `json:"full"`
	// Each is what one order took to come back when Full was reckoned.
	Each time.Duration `json:"each"`
}

// under returns the bucket as it is under a budget that may be another than
// before: as many orders as were out are out. No more can be than the budget
// has, whatever a clock that has been set back since said.
func (k bucket) under(b Budget, now time.Time) bucket {
	out := max(k.Full.Sub(now), 0)
	most := b.each() * time.Duration(max(b.Orders, 1))
	if k.Each > 0 && k.Each != b.each() {
		out = time.Duration(min(float64(out)/float64(k.Each)*float64(b.each()), float64(most)))
	}
	return bucket{Full: now.Add(min(out, most)), Each: b.each()}
}

// free returns when the next order is allowed: now or a later time.
func (k bucket) free(b Budget, now time.Time) time.Time {
	return now.Add(k.forecast(b, now, 0))
}

// room is how many orders are allowed now.
func (k bucket) room(b Budget, now time.Time) int {
	if b.Orders <= 0 {
		return math.MaxInt
	}
	out := k.under(b, now).Full.Sub(now)
	return b.Orders - int((out+b.each()-1)/b.each())
}

// take spends one order; false: the budget does not allow it now.
func (k bucket) take(b Budget, now time.Time) (bucket, bool) {
	k = k.under(b, now)
	if k.room(b, now) <= 0 {
		return k, false
	}
	k.Full = k.Full.Add(k.Each)
	return k, true
}

// longestForecast bounds what is told of a wait.
const longestForecast = 10 * 365 * 24 * time.Hour

// forecast is how long the order behind so many others waits.
func (k bucket) forecast(b Budget, now time.Time, ahead int) time.Duration {
	if b.Orders <= 0 {
		return 0
	}
	if float64(ahead)*float64(b.each()) > float64(longestForecast) {
		return longestForecast
	}
	return max(k.under(b, now).Full.Sub(now)+time.Duration(ahead-b.Orders+1)*b.each(), 0)
}

// marshal is how a bucket is kept in the store.
func (k bucket) marshal() []byte {
	b, _ := json.Marshal(k) // cannot fail: a time and a number only
	return b
}

// decodeBucket reads a bucket, or what was kept in its place before: how many orders
// went out in each slot of a hundredth of the budget's span.
func decodeBucket(b []byte) (bucket, error) {
	var j struct {
		bucket
		SlotNanos int64          `json:"slot"`
		Slots     map[string]int `json:"spent"`
	}
	if err := json.Unmarshal(b, &j); err != nil {
		return bucket{}, fmt.Errorf("decoding spent orders: %w", err)
	}
	if j.SlotNanos != 0 || j.Slots != nil {
		return bucketOfSlots(j.SlotNanos, j.Slots)
	}
	if j.Each <= 0 || j.Full.IsZero() {
		return bucket{}, fmt.Errorf("decoding spent orders: full at %v, one comes back in %v", j.Full, j.Each)
	}
	return j.bucket, nil
}

// bucketOfSlots has the orders of all slots come back evenly over a span that
// begins with the end of the last: late is safe.
func bucketOfSlots(length int64, slots map[string]int) (bucket, error) {
	if length <= 0 || length > math.MaxInt64/slotsPerSpan {
		return bucket{}, fmt.Errorf("decoding spent orders: slot of %d ns", length)
	}
	spent, last := 0, int64(0)
	for k, n := range slots {
		i, err := strconv.ParseInt(k, 10, 64)
		if err != nil {
			return bucket{}, fmt.Errorf("decoding spent orders: %w", err)
		}
		if n < 0 || n > math.MaxInt32 || i < 0 || i >= math.MaxInt64/length {
			return bucket{}, fmt.Errorf("decoding spent orders: %d in slot %d of %d ns cannot have been", n, i, length)
		}
		spent, last = spent+n, max(last, (i+1)*length)
	}
	span := time.Duration(length * slotsPerSpan)
	return bucket{Full: time.Unix(0, last).Add(span), Each: Budget{Orders: spent, Per: span}.each()}, nil
}

// slotsPerSpan is how many slots a budget's span was cut into before.
const slotsPerSpan = 100

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
