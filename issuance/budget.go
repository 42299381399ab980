package issuance

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
)

// bucket counts the orders of one CA and account as Let's Encrypt does since 2025
// (letsencrypt.org/docs/rate-limits). It holds as many orders as the budget has; each
// order takes one out, and they come back one by one, evenly over the budget's span. One
// time is enough to keep it (GCRA, the generic cell rate algorithm, ITU-T I.371). The
// zero value is full.
type bucket struct {
	// Full is when all orders will have come back.
	Full time.Time `json:"full"`
	// Each is how long one order took to come back when Full was computed.
	Each time.Duration `json:"each"`
}

// under returns the bucket for a budget that may have changed: as many orders are out as
// before, but not more than the budget has, even if the clock was set back.
func (k bucket) under(b acme.Budget, now time.Time) bucket {
	out := max(k.Full.Sub(now), 0)
	most := b.Each() * time.Duration(max(b.Orders, 1))
	if k.Each > 0 && k.Each != b.Each() {
		out = time.Duration(min(float64(out)/float64(k.Each)*float64(b.Each()), float64(most)))
	}
	return bucket{Full: now.Add(min(out, most)), Each: b.Each()}
}

// free returns when the next order is allowed: now or a later time.
func (k bucket) free(b acme.Budget, now time.Time) time.Time {
	return now.Add(k.forecast(b, now, 0))
}

// room is how many orders are allowed now.
func (k bucket) room(b acme.Budget, now time.Time) int {
	if b.Orders <= 0 {
		return math.MaxInt
	}
	out := k.under(b, now).Full.Sub(now)
	return b.Orders - int((out+b.Each()-1)/b.Each())
}

// take spends one order; false: the budget does not allow it now.
func (k bucket) take(b acme.Budget, now time.Time) (bucket, bool) {
	k = k.under(b, now)
	if k.room(b, now) <= 0 {
		return k, false
	}
	k.Full = k.Full.Add(k.Each)
	return k, true
}

// longestForecast is the longest wait that is forecast.
const longestForecast = 10 * 365 * 24 * time.Hour

// forecast is how long an order with so many ahead of it waits.
func (k bucket) forecast(b acme.Budget, now time.Time, ahead int) time.Duration {
	if b.Orders <= 0 {
		return 0
	}
	if float64(ahead)*float64(b.Each()) > float64(longestForecast) {
		return longestForecast
	}
	return max(k.under(b, now).Full.Sub(now)+time.Duration(ahead-b.Orders+1)*b.Each(), 0)
}

// marshal is how a bucket is kept in the store.
func (k bucket) marshal() []byte {
	b, _ := json.Marshal(k) // cannot fail: a time and a number only
	return b
}

// decodeBucket reads a bucket, or what former versions kept: how many orders were placed
// in each slot of a hundredth of the budget's span.
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

// bucketOfSlots makes a bucket of slots: all orders come back evenly over a span that
// begins at the end of the last slot, which is rather too late than too early.
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
	return bucket{Full: time.Unix(0, last).Add(span), Each: acme.Budget{Orders: spent, Per: span}.Each()}, nil
}

// slotsPerSpan is how many slots a budget's span had in former versions.
const slotsPerSpan = 100
