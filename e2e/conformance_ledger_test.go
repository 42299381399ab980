package e2e

import (
	"fmt"
	"strconv"
	"sync"
	"testing"
)

// stepAnnotation counts the writes of a record: each write raises it by one, so
// whoever follows the record sees the numbers in their order, none missing.
const stepAnnotation = "conformance.test/step"

// ledger is what one follower has seen of every record, and what was wrong
// with that.
type ledger struct {
	name string

	mu      sync.Mutex
	records map[string]*page
	events  int
	// skipped counts the writes that never showed.
	skipped int
	wrong   []error
	// relists counts how often the follower began anew, told that the history
	// had gone; after that it may skip writes by right.
	relists int
}

type page struct {
	step     int
	revision int64
	gone     bool
}

func newLedger(name string) *ledger {
	return &ledger{name: name, records: map[string]*page{}}
}

// sighting is one event, or one item of a list.
type sighting struct {
	name, step, revision string
	deleted              bool
}

// see notes an event. Events that another writer of the record makes, such as
// the controller, repeat the step at a higher revision.
func (l *ledger) see(s sighting) { l.note(s, false) }

// relist notes an item of a list that was read anew because the history had
// gone: what lies between is skipped by right.
func (l *ledger) relist(s sighting) { l.note(s, true) }

func (l *ledger) note(s sighting, relisted bool) {
	revision, err := strconv.ParseInt(s.revision, 10, 64)
	step, stepErr := strconv.Atoi(s.step)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil || stepErr != nil {
		l.wrong = append(l.wrong, fmt.Errorf("%s: an event of %s has revision %q and step %q", l.name, s.name, s.revision, s.step))
		return
	}
	p := l.records[s.name]
	if p == nil {
		p = &page{step: -1}
		l.records[s.name] = p
	}
	if relisted && revision == p.revision {
		return
	}
	if s.deleted {
		step++ // the deletion is a step of its own; the event holds the state before
	}
	switch {
	case revision <= p.revision:
		l.wrong = append(l.wrong, fmt.Errorf("%s: %s was at revision %d, then an event brought %d", l.name, s.name, p.revision, revision))
	case step < p.step:
		l.wrong = append(l.wrong, fmt.Errorf("%s: %s went back from step %d to %d at revision %d", l.name, s.name, p.step, step, revision))
	case step > p.step+1 && p.step >= 0:
		l.skipped += step - p.step - 1
		if l.relists == 0 {
			l.wrong = append(l.wrong, fmt.Errorf("%s: %s went from step %d (revision %d) to %d (revision %d)", l.name, s.name, p.step, p.revision, step, revision))
		}
	}
	p.step, p.revision, p.gone = max(p.step, step), max(p.revision, revision), s.deleted
	l.events++
}

// missing notes that a list that was read anew no longer holds a record, which
// the writers delete at one known step.
func (l *ledger) missing(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.records[name]; p != nil && !p.gone {
		l.skipped += max(0, deletionStep-p.step-1)
		p.step, p.gone = deletionStep, true
	}
}

// begunAnew counts a relist.
func (l *ledger) begunAnew() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.relists++
}

// known are the names of the records that are there, as far as was seen.
func (l *ledger) known() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var names []string
	for name, p := range l.records {
		if !p.gone {
			names = append(names, name)
		}
	}
	return names
}

// behind tells which records have not been seen at their last step.
func (l *ledger) behind(names []string, last int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	behind, example := 0, ""
	for _, name := range names {
		if p := l.records[name]; p == nil || p.step != last || p.gone {
			behind++
			example = fmt.Sprintf("%s: %+v", name, p)
		}
	}
	if behind > 0 {
		return fmt.Errorf("%s has not seen the last step %d of %d records, such as %s", l.name, last, behind, example)
	}
	return nil
}

// unbroken demands that every write so far was seen one by one.
func (l *ledger) unbroken(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	t.Logf("%s: %d events one by one", l.name, l.events)
	if l.relists > 0 || l.skipped > 0 {
		t.Errorf("%s: began anew %d times and skipped %d writes while only connections broke", l.name, l.relists, l.skipped)
	}
}

// close fails the test over what was wrong, or more relists than were called
// for, and logs the numbers.
func (l *ledger) close(t *testing.T, relists int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	t.Logf("%s: %d events, %d relists, %d writes skipped by them", l.name, l.events, l.relists, l.skipped)
	if l.relists > relists {
		t.Errorf("%s: began anew %d times, want %d at most", l.name, l.relists, relists)
	}
	for _, err := range l.wrong[:min(5, len(l.wrong))] {
		t.Error(err)
	}
	if len(l.wrong) > 5 {
		t.Errorf("%s: and %d more", l.name, len(l.wrong)-5)
	}
}
