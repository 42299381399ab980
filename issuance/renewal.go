package issuance

import (
	"time"

	"github.com/apoxy-dev/caddy-apoxy/internal/times"
	"github.com/apoxy-dev/caddy-apoxy/issuance/fairqueue"
	"github.com/apoxy-dev/caddy-apoxy/issuance/revocation"
)

// shortLived is the lifetime below which renewal is due at half of it.
const shortLived = 10 * 24 * time.Hour

// renewalTime is when a certificate is due for renewal. If the CA gives a window it is a
// point in it that depends on the seed alone, so that it is the same after a restart
// and differs between certificates. Otherwise it is after two thirds of the lifetime,
// after half of one under ten days, or where the operator's ratio (of the lifetime that
// remains; 0: none) says; up to a thirtieth of the lifetime later by seed, so that what
// was issued together spreads.
func renewalTime(notBefore, notAfter time.Time, ratio float64, ari revocation.Window, seed string) time.Time {
	life := notAfter.Sub(notBefore)
	if life <= 0 {
		return notAfter
	}
	f := times.Fraction(seed)
	if ari.Valid() {
		start, end := ari.Start, ari.End
		// A window may begin before the certificate does. A point before its beginning
		// would have the certificate renewed over and over.
		if start.Before(notBefore) && end.After(notBefore) {
			start = notBefore
		}
		// However late the window is, leave time for a second try.
		if last := notAfter.Add(-lastResort(life)); end.After(last) {
			if end = last; start.After(last) {
				return last
			}
		}
		return start.Add(time.Duration(f * float64(end.Sub(start))))
	}
	if ratio <= 0 || ratio >= 1 {
		ratio = 1.0 / 3
		if life < shortLived {
			ratio = 0.5
		}
	}
	t := notAfter.Add(-time.Duration(ratio * float64(life)))
	return t.Add(time.Duration(f * float64(life) / 30))
}

// lastResort is how long before its end a certificate is renewed at the latest: a tenth
// of the lifetime, and at least 15 seconds or a third of it.
func lastResort(life time.Duration) time.Duration {
	return max(life/10, min(15*time.Second, life/3))
}

// hurryPause is the least time between two renewals of a certificate whose successor is
// due at once: six hours, or a tenth of a shorter lifetime, but five seconds.
func hurryPause(notBefore, notAfter time.Time) time.Duration {
	return max(min(6*time.Hour, notAfter.Sub(notBefore)/10), 5*time.Second)
}

// urgencyOf is the class of a renewal: urgent once half of the time between the point of
// renewal and expiry is over.
func urgencyOf(renewal, notAfter, now time.Time) fairqueue.Class {
	if !now.Before(renewal.Add(notAfter.Sub(renewal) / 2)) {
		return fairqueue.Urgent
	}
	return fairqueue.Routine
}
