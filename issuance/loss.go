package issuance

import (
	"time"

	"github.com/apoxy-dev/caddy-apoxy/internal/times"
)

// loss notes that storage was found without the certificate that the index has. Times
// are Unix seconds.
type loss struct {
	// Since is when the certificate was missed first; 0: it is there again, or another
	// has taken its place.
	Since int64 `json:"since,omitempty"`
	// Last is when a certificate of the hostname was missed the last time.
	Last int64 `json:"last"`
	// Count is how many were, each within lossMemory of the one before.
	Count int `json:"count"`
}

// lossMemory is how long a loss counts.
const lossMemory = 24 * time.Hour

// freeLosses is how many lost certificates in a row are replaced as renewals, which
// count against neither the CA's limits nor our budget. Further ones count, so that a
// storage that keeps nothing does not cost a CA an order each time it is looked at.
const freeLosses = 2

// lossPauses are the pauses before another certificate is ordered, by loss.Count.
var lossPauses = [...]time.Duration{0, 10 * time.Second, time.Minute, 10 * time.Minute, time.Hour, 6 * time.Hour}

// gone reports whether storage lacks the certificate.
func (r *dossier) gone() bool { return r.Loss != nil && r.Loss.Since != 0 }

// miss notes that storage lacks the certificate, which is then due.
func (r *dossier) miss(now time.Time) {
	l := loss{Since: now.Unix(), Last: now.Unix(), Count: 1}
	if r.Loss.remembered(now) {
		l.Count += max(0, min(r.Loss.Count, len(lossPauses)))
	}
	r.Loss = &l
	r.Renewal = now.Add(lossPauses[min(l.Count, len(lossPauses))-1]).Unix()
}

// madeGood is what is kept of a loss once storage has a certificate again; nil: nothing.
func (l *loss) madeGood(now time.Time) *loss {
	if !l.remembered(now) {
		return nil
	}
	return &loss{Last: l.Last, Count: l.Count}
}

// remembered reports whether a loss still counts.
func (l *loss) remembered(now time.Time) bool {
	return l != nil && now.Sub(times.Unix(l.Last)) < lossMemory
}

// floor is the time, in Unix seconds, after which a certificate in storage must end to be
// taken over: the end of the dossier's, or now if that one is gone.
func (r *dossier) floor(now time.Time) int64 {
	if r.gone() {
		return now.Unix()
	}
	return r.NotAfter
}
