package ownership

import (
	"strings"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// Activity is what the shell knows of a record beside its status. The zero
// value is none.
type Activity struct {
	// LastWrite is when the record's spec or metadata was last written.
	LastWrite time.Time
	// LastHint is when something last suggested that its DNS has changed: a
	// query in the zone, a handshake, a request, a failed order.
	LastHint time.Time
	// Verified is how many verified records the installation has, on all its nodes.
	Verified int
}

// SettledRate is how many settled records with TLS an installation looks at a second,
// however many it has, on all its nodes together. Such a look asks six questions at most
// while all is as it was, and decides nothing: it is their certificates that prove them.
// HTTP-only records do not share it: what proves them is what is looked at, and the
// fleet brake must see those go together that do.
const SettledRate = 12

// SettledEvery is how long it takes to look at so many settled records once, at
// SettledRate: the least time between two looks at one of them.
func SettledEvery(verified int) time.Duration {
	return time.Duration(max(verified, 0)) * (time.Second / SettledRate)
}

// How often a record is looked at, in multiples of check_interval, whose default
// is 30 s; in brackets what that makes.
const (
	freshFor      = time.Hour // unsettled and this long untouched: still every check_interval
	backoffShare  = 24        // from then on a look each 24th of the time without a change
	unsettledMost = 720       // never seen right: at most every 6 h
	verifiedMost  = 120       // verified but not all in place: at most every hour
	waitingMost   = 2         // only a look-up keeps a certificate from being ordered: at most every minute
	waitingFor    = 24 * time.Hour
	tlsLeast      = 120 // settled with TLS: an hour
	tlsMost       = 360 // to three hours after three quiet days
	plainLeast    = 20  // settled HTTP-only: 10 min, or detach_after if that is shorter
	plainMost     = 360 // to three hours after three quiet days
)

// NextLook says when to look at a record again, from its status, after now.
// Jitter, 0 to 1, spreads records: up to a fifth early while something is
// expected to change, and around the interval where nothing is.
//
// Unsettled records are looked at every CheckInterval for an hour after the last
// write, change or hint, then ever more rarely, but for a day every minute where
// only a look-up keeps a certificate from being ordered. Those about to be detached are
// looked at every CheckInterval and at the moment that decides. What was judged
// for another zone is looked at within a CheckInterval. Settled ones with TLS share
// SettledRate looks a second, so that their interval stretches with their number: it is
// as above up to 43,200, and 23 hours at a million. A million HTTP-only ones that have
// been quiet for days are under 100 looks a second. A certificate's expiry is always
// looked at.
func NextLook(r *v1alpha3.DomainRecord, a Activity, s Settings, now time.Time, jitter float64) time.Time {
	jitter = min(max(jitter, 0), 1)
	check := s.CheckInterval
	if check <= 0 {
		check = DefaultCheckInterval
	}
	quiet := now.Sub(lastChange(r, a))
	var next time.Time
	switch {
	case elsewhere(r, s.Zone), r.Established().Overwritten:
		next = now.Add(early(check, jitter))
	case withdrawing(r):
		next = now.Add(early(check, jitter))
		if falls := r.Established().WithdrawnTime.Add(s.DetachAfter); falls.After(now) && falls.Before(next) {
			next = falls
		}
	case settled(r) && r.WantsTLS():
		every := between(quiet/backoffShare, tlsLeast*check, tlsMost*check)
		next = now.Add(around(max(every, SettledEvery(a.Verified)), jitter))
	case settled(r):
		least := max(min(plainLeast*check, s.DetachAfter), check)
		next = now.Add(around(between(quiet/backoffShare, least, plainMost*check), jitter))
	case quiet <= freshFor:
		next = now.Add(early(check, jitter))
	default:
		most := time.Duration(unsettledMost)
		switch {
		case waiting(r) && quiet <= waitingFor:
			most = waitingMost
		case verified(r):
			most = verifiedMost
		}
		next = now.Add(early(between(quiet/backoffShare, check, most*check), jitter))
	}
	if c := r.Status.Certificate; c != nil && c.NotAfter != nil && c.NotAfter.After(now) && c.NotAfter.Time.Before(next) {
		next = c.NotAfter.Time
	}
	if at := Expires(r, s); at.After(now) && at.Before(next) {
		next = at
	}
	return next
}

// Expires is when a record that was never verified is deleted; the zero time:
// never.
func Expires(r *v1alpha3.DomainRecord, s Settings) time.Time {
	if s.UnprovenTTL <= 0 || r.Proven() || r.CreationTimestamp.IsZero() {
		return time.Time{}
	}
	return r.CreationTimestamp.Add(s.UnprovenTTL)
}

// Defaults of the settings.
const (
	DefaultCheckInterval  = 30 * time.Second
	DefaultDetachAfter    = 10 * time.Minute
	DefaultFleetBrakeHold = time.Hour
)

func between(d, least, most time.Duration) time.Duration { return min(max(d, least), most) }

// early spreads an interval over its last fifth, so that it is never exceeded.
func early(d time.Duration, jitter float64) time.Duration {
	return d - time.Duration(0.2*jitter*float64(d))
}

// around spreads an interval from a twentieth early to a quarter late: on
// average a tenth longer.
func around(d time.Duration, jitter float64) time.Duration {
	return d + time.Duration((0.3*jitter-0.05)*float64(d))
}

// lastChange is when anything last happened to a record.
func lastChange(r *v1alpha3.DomainRecord, a Activity) time.Time {
	last := r.CreationTimestamp.Time
	later := func(t time.Time) {
		if t.After(last) {
			last = t
		}
	}
	if !settled(r) {
		later(a.LastHint)
	}
	later(a.LastWrite)
	for _, c := range r.Status.Conditions {
		if c.Type != v1alpha3.ConditionTargetReady && c.Type != v1alpha3.ConditionReady {
			later(c.LastTransitionTime.Time)
		}
	}
	for _, d := range r.Status.DNSRecords {
		if d.LastTransitionTime != nil {
			later(d.LastTransitionTime.Time)
		}
	}
	return last
}

// isTrue reports whether a condition of a record is True.
func isTrue(r *v1alpha3.DomainRecord, kind string) bool {
	c := r.Status.Condition(kind)
	return c != nil && c.Status == "True"
}

func verified(r *v1alpha3.DomainRecord) bool {
	return r.Verified()
}

// settled reports whether nothing more is expected of a record: all is True but
// perhaps the backend, which no look at DNS mends.
func settled(r *v1alpha3.DomainRecord) bool {
	return verified(r) && isTrue(r, v1alpha3.ConditionCNAMEConfigured) &&
		(!r.WantsTLS() || isTrue(r, v1alpha3.ConditionTLSReady)) &&
		r.Status.ObservedGeneration == r.Generation
}

// waiting reports whether a certificate could be ordered, as far as the conditions
// go, and issuance found otherwise right before the order, such as CAA records that
// cannot be looked up.
func waiting(r *v1alpha3.DomainRecord) bool {
	c := r.Status.Condition(v1alpha3.ConditionTLSReady)
	return r.WantsTLS() && c != nil && (c.Reason == v1alpha3.ReasonWaitingForDNS || c.Reason == v1alpha3.ReasonCertificateExpired) &&
		(isTrue(r, v1alpha3.ConditionACMEChallengeDelegationReady) || isTrue(r, v1alpha3.ConditionCNAMEConfigured))
}

// elsewhere reports whether the status of a record speaks of another zone, as
// after a start with a changed configuration.
func elsewhere(r *v1alpha3.DomainRecord, z Zone) bool {
	d := r.Status.DNSRecord(v1alpha3.PurposeOwnership)
	if d == nil || z.Name == "" {
		return false
	}
	rest, found := strings.CutSuffix(d.Value, v1alpha3.VerifyName(z.Name))
	return !found || rest != "" && !strings.HasSuffix(rest, ".")
}

// withdrawing reports whether a verified record has nothing left that it rests on.
func withdrawing(r *v1alpha3.DomainRecord) bool {
	known := r.Established()
	return known.Verified && known.WithdrawnTime != nil
}
