package edgefunction

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/apoxy-dev/caddy-apoxy/internal/words"
)

const (
	// streakEnds is how long no request may end in a fault until faults are no
	// longer spoken of.
	streakEnds = 5 * time.Minute
	// unwell is how many requests in a row must end in faults of the function's
	// own until it counts as unhealthy.
	unwell = 10
	// maxSaid bounds what is said of one fault, in bytes.
	maxSaid = 300
)

var faultsTotal = prometheus.NewCounterVec(prometheus.CounterOpts{
	Name: "apoxy_edgefunction_faults_total",
	Help: "Requests that a function failed, by the function's name and the kind of fault.",
}, []string{"function", "kind"})

// Collectors are the metrics of all functions.
func Collectors() []prometheus.Collector { return []prometheus.Collector{faultsTotal} }

// record is what is known of how a function does.
type record struct {
	name   string
	failed atomic.Int64 // faults in a row

	mu       sync.Mutex
	broken   error     // of the last compilation
	since    time.Time // when the program in force was compiled; zero: never
	check    error     // of the last health check
	begun    time.Time // the streak of faults; zero: none
	last     time.Time // its latest fault
	examples []Fault   // the first of each kind in it
}

func (r *record) compiled(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.broken = err; err == nil {
		r.since = time.Now()
		r.begun, r.examples, r.check = time.Time{}, nil, nil
		r.failed.Store(0)
	}
}

func (r *record) checked(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.check = err
}

// served notes that the function did what it should.
func (r *record) served() {
	if r.failed.Load() != 0 { // written seldom: every request of every core comes by here
		r.failed.Store(0)
	}
}

// fault notes that a request ended in a fault. What clients can bring about alone
// is counted, and says nothing of the function's health.
func (r *record) fault(f *Fault) {
	kind := f.Kind
	faultsTotal.WithLabelValues(r.name, string(kind)).Inc()
	if kind == FaultTooLarge {
		return
	}
	if kind != FaultBusy {
		r.failed.Add(1)
	}
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.end(now)
	if r.begun.IsZero() {
		r.begun = now
	}
	r.last = now
	if !slices.ContainsFunc(r.examples, func(f Fault) bool { return f.Kind == kind }) {
		r.examples = append(r.examples, *f)
	}
}

// end ends the streak of faults if it is over.
func (r *record) end(now time.Time) {
	if !r.begun.IsZero() && now.Sub(r.last) > streakEnds {
		r.begun, r.examples = time.Time{}, nil
		r.failed.Store(0)
	}
}

// Health tells whether the function can serve, and says in a sentence without a
// final full stop what was seen. The same state is said in the same words, however
// many requests it meets.
func (f *Function) Health() (well bool, message string) {
	r := &f.record
	r.mu.Lock()
	defer r.mu.Unlock()
	r.end(time.Now())
	switch {
	case r.broken != nil && r.since.IsZero():
		return false, "its file does not compile: " + says(r.broken)
	case r.broken != nil:
		return false, fmt.Sprintf("its file no longer compiles: %s; what it held at %s is served on", says(r.broken), moment(r.since))
	case r.since.IsZero():
		return false, "its file is being compiled"
	case r.check != nil:
		return false, fmt.Sprintf("its health check on %s fails: %s", f.check.Path, says(r.check))
	}
	compiled := "compiled from " + f.file + " at " + moment(r.since)
	if r.begun.IsZero() {
		return true, compiled
	}
	var kinds []string
	for _, e := range r.examples {
		kinds = append(kinds, says(&e))
	}
	message = fmt.Sprintf("%s; since %s requests fail (%s)", compiled, moment(r.begun), strings.Join(kinds, "; "))
	return r.failed.Load() < unwell, message
}

// says is an error in one bounded line. Errors that were joined are parted by semicolons.
func says(err error) string {
	if gone := (*os.PathError)(nil); errors.As(err, &gone) {
		return gone.Path + ": " + gone.Err.Error()
	}
	lines := strings.FieldsFunc(strings.TrimSpace(err.Error()), func(r rune) bool { return r == '\n' || r == '\r' })
	return words.Cut(strings.Join(lines, "; "), maxSaid)
}

func moment(t time.Time) string { return t.UTC().Format(time.RFC3339) }
