package webhook

import (
	"strconv"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/internal/times"
)

const (
	// keepFor is how long an entry is tried, and after that kept for replay.
	keepFor = 72 * time.Hour
	// deliveryTimeout bounds one try, from the dial to the answer.
	deliveryTimeout = 15 * time.Second
	// longestRetryAfter bounds what an endpoint's Retry-After may ask for.
	longestRetryAfter = time.Hour
	// spread is how much a pause differs from its nominal length, up or down.
	spread = 0.1
)

// entryPauses follow the tries of one entry; the last one is repeated until the entry is
// older than keepFor. Three tries come within 30 s of a refusal.
var entryPauses = []time.Duration{
	2 * time.Second, 5 * time.Second, 15 * time.Second, time.Minute, 5 * time.Minute, 20 * time.Minute,
	time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour,
}

// endpointPauses follow failures of the endpoint itself, one after the other: nothing is
// sent to it meanwhile. Each is shorter than the entry's own, so that the next try is
// another entry's and one that fells the endpoint does not keep the others.
var endpointPauses = []time.Duration{
	time.Second, 3 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute,
}

// pause is that after the n-th try, counted from 1. The seed spreads it.
func pause(pauses []time.Duration, n int, seed string) time.Duration {
	nominal := pauses[min(max(n, 1), len(pauses))-1]
	f := 1 + spread*(2*times.Fraction(seed+strconv.Itoa(n))-1)
	return time.Duration(float64(nominal) * f)
}
