// Package times has what the standard library lacks for times that are kept as
// Unix seconds, bounded, spread and told.
package times

import (
	"hash/fnv"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Later is the later of two times.
func Later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Unix is the time of Unix seconds; 0 stands for none, the zero time.
func Unix(s int64) time.Time {
	if s == 0 {
		return time.Time{}
	}
	return time.Unix(s, 0).UTC()
}

// Fraction maps a seed evenly onto 0 ≤ f < 1.
func Fraction(seed string) float64 {
	h := fnv.New64a()
	h.Write([]byte(seed))
	x := h.Sum64() // finish with a mixer: FNV's high bits alone are not even
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	return float64(x>>11) / (1 << 53)
}

// Clamp is t, but no earlier than lo and no later than hi.
func Clamp(t, lo, hi time.Time) time.Time {
	if t.Before(lo) {
		return lo
	}
	if t.After(hi) {
		return hi
	}
	return t
}

// Stamp writes a time for people: "2006-01-02 15:04:05 UTC".
func Stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 MST") }

// RetryAfter reads a Retry-After header in both forms (RFC 9110 section 10.2.3),
// seconds and date, and bounds it to longest from now. The zero time: absent or
// malformed.
func RetryAfter(header string, now time.Time, longest time.Duration) time.Time {
	header = strings.TrimSpace(header)
	if header == "" {
		return time.Time{}
	}
	if seconds, err := strconv.ParseInt(header, 10, 64); err == nil {
		if seconds < 0 {
			return time.Time{}
		}
		return now.Add(time.Duration(min(seconds, int64(longest/time.Second))) * time.Second)
	}
	t, err := http.ParseTime(header)
	if err != nil {
		return time.Time{}
	}
	return Clamp(t, now, now.Add(longest))
}
