package issuance

import (
	"time"

	"github.com/apoxy-dev/caddy-apoxy/internal/times"
)

// loss is that storage was found without the certificate that the index has.
type loss struct {
	// Since is when it was missed first; 0: it is there again, or another took
	// its place.
	Since int64 `json:"since,omitempty"`
	// Last is when one was missed the last time, Count how many were, each within
	// lossMemory of the one before.
	Last  int64 `json:"last"`
	Count int   `json:"count"`
}

// lossMemory is how long a loss is held against the storage.
const lossMemory = 24 * time.Hour

// freeLosses is how many losses in a row are made good for free of a CA's limits
// and our budget, as the renewal of what was lost. After them a storage that
// keeps nothing would cost a CA an order for every look.
const freeLosses = 2

// lossPauses are the waits before another certificate is ordered, by how many
// were lost before.
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

// madeGood is what is remembered of a loss once there is a certificate again;
// nil: nothing.
func (l *loss) madeGood(now time.Time) *loss {
	if !l.remembered(now) {
		return nil
	}
	return &loss{Last: l.Last, Count: l.Count}
}

func (l *loss) remembered(now time.Time) bool {
	return l != nil && now.Sub(times.Unix(l.Last)) < lossMemory
}

// floor is how long a certificate in storage must last to be taken over: longer
// than the one of the dossier, or at all if that is gone.
func (r *dossier) floor(now time.Time) int64 {
	if r.gone() {
		return now.Unix()
	}
	return r.NotAfter
}
