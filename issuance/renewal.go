package issuance

import (
	"time"

	"github.com/apoxy-dev/caddy-apoxy/internal/times"
	"github.com/apoxy-dev/caddy-apoxy/issuance/fairqueue"
	"github.com/apoxy-dev/caddy-apoxy/issuance/revocation"
)

// shortLived is the lifetime below which renewal is due at half of it.
const shortLived = 10 * 24 * time.Hour

// renewalTime is when a certificate is due. With the CA's window it is a point
// in it that depends only on the seed, so that it stays put over restarts and
// polls and differs between certificates. Without, it is two thirds of the
// lifetime, or half of one under ten days, or what the operator's ratio (of
// lifetime remaining; 0: none) says; a thirtieth of the lifetime after that
// point is used to spread what was issued together.
func renewalTime(notBefore, notAfter time.Time, ratio float64, ari revocation.Window, seed string) time.Time {
	life := notAfter.Sub(notBefore)
	if life <= 0 {
		return notAfter
	}
	f := times.Fraction(seed)
	if ari.Valid() {
		start, end := ari.Start, ari.End
		// A window that is wider than the lifetime says only that any time
		// will do; a point before the beginning would renew over and over.
		if start.Before(notBefore) && end.After(notBefore) {
			start = notBefore
		}
		// However late the window lies, there is time left for a second try.
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

// lastResort is the time before its end that a certificate is renewed in at
// the latest: a tenth of the lifetime, but 15 seconds for very short ones.
func lastResort(life time.Duration) time.Duration {
	return max(life/10, min(15*time.Second, life/3))
}

// hurryPause is how far apart renewals are that come at once: six hours, or a
// tenth of a very short lifetime.
func hurryPause(notBefore, notAfter time.Time) time.Duration {
	return max(min(6*time.Hour, notAfter.Sub(notBefore)/10), 5*time.Second)
}

// urgencyOf says how pressing a renewal is: urgent once half of the time
// between the point of renewal and expiry has gone by.
func urgencyOf(renewal, notAfter, now time.Time) fairqueue.Class {
	if !now.Before(renewal.Add(notAfter.Sub(renewal) / 2)) {
		return fairqueue.Urgent
	}
	return fairqueue.Routine
}
