package e2e

import (
	"sync"
	"time"
)

// outages are the times at which the process was dead by the test's own hand.
type outages struct {
	mu    sync.Mutex
	spans []outage
}

type outage struct{ from, to time.Time } // to is zero while it lasts

func (o *outages) begin() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.spans = append(o.spans, outage{from: time.Now()})
}

func (o *outages) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.spans[len(o.spans)-1].to = time.Now()
}

// excuses reports whether what began at a time, and ends now, met an outage, or its
// aftermath of so long: a resolver tells for some time that it had no answer.
func (o *outages) excuses(began time.Time, aftermath time.Duration) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range o.spans {
		if s.to.IsZero() || began.Before(s.to.Add(aftermath)) {
			return true // earlier ones are over for all that is still going on
		}
	}
	return false
}
