package issuance

import (
	"time"

	"github.com/apoxy-dev/caddy-apoxy/internal/times"
	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
)

// backoffs are the pauses after failures in a row, by class; the last one repeats.
var backoffs = map[acme.Class][]time.Duration{
	acme.ClassPassing:  {5 * time.Second, 15 * time.Second, time.Minute, 3 * time.Minute, 10 * time.Minute, 30 * time.Minute, time.Hour},
	acme.ClassCustomer: {time.Minute, 5 * time.Minute, 20 * time.Minute, time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour},
	acme.ClassDNS:      {30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour},
	acme.ClassEdge:     {30 * time.Second, time.Minute, 2 * time.Minute},
	acme.ClassCAA:      {30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour},
	acme.ClassOperator: {time.Minute, 10 * time.Minute, time.Hour, 6 * time.Hour},
	acme.ClassLimited:  {10 * time.Minute, 30 * time.Minute, time.Hour, 3 * time.Hour},
}

// backoff is the pause after the n-th failure in a row (from 1) of a class; f in [0,1)
// lengthens it by up to a fifth. Zero means that there is no try by itself.
func backoff(c acme.Class, n int, f float64) time.Duration {
	steps := backoffs[c]
	if len(steps) == 0 {
		return 0
	}
	d := steps[min(max(n, 1), len(steps))-1]
	return d + time.Duration(f*float64(d)/5)
}

// sooner shortens the pause after a failure that ends at until: if another CA asked to
// wait and takes requests before, that one is tried then. It does not if the failure
// would occur at any CA.
func (ts *tools) sooner(hostname string, w Want, f *acme.Failure, until, now time.Time) time.Time {
	if !f.Elsewhere() {
		return until
	}
	for _, c := range candidates(ts.authorities(), w.CertificateAuthority) {
		h, held := ts.ledger.held(c, hostname, now)
		if !held || h.down {
			continue
		}
		// At least a minute, because the CA that failed is asked again, too.
		again := times.Later(h.Until, now.Add(time.Minute))
		if again = again.Add(resumeJitter(again.Sub(now), times.Fraction(hostname))); again.Before(until) {
			until = again
		}
	}
	return until
}

// resumeJitter spreads the hostnames that waited for the end of a hold, by f in [0,1):
// over a tenth of the hold, at least a second and at most two minutes.
func resumeJitter(held time.Duration, f float64) time.Duration {
	return time.Duration(f * float64(min(max(held/10, time.Second), 2*time.Minute)))
}
