package issuance

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
)

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

// longestForecast bounds what is told of a wait.
const longestForecast = 10 * 365 * 24 * time.Hour

// forecast is how long the order behind so many others waits.
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
	return bucket{Full: time.Unix(0, last).Add(span), Each: acme.Budget{Orders: spent, Per: span}.Each()}, nil
}

// slotsPerSpan is how many slots a budget's span was cut into before.
const slotsPerSpan = 100
