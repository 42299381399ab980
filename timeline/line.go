package timeline

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/apoxy-dev/caddy-apoxy/internal/words"
)

const (
	// Most is how many events are kept of a record.
	Most = 64
	// maxWord and maxMessage bound the texts of an event, in bytes.
	maxWord    = 64
	maxMessage = 200
)

// Event is something that became of a record, to the second.
type Event struct {
	At time.Time
	// Type is what it is of, From and To what that was before and is since, if it has
	// such states, and Reason why, each a word.
	Type, From, To, Reason string
	// Message is for people; empty: the words say it all.
	Message string
	// Count is how often it happened with nothing else of its Type between, and Last when
	// it did so last; Message is of then.
	Count int
	Last  time.Time
}

// Line is what is known of one record, its oldest event first.
type Line struct {
	Hostname string
	// Created is when the record was; the zero time: not known.
	Created time.Time
	Events  []Event
}

// Add adds an event and reports whether that changed the line. One that it has already is
// not added again, so that what may have been written can be written once more. Of more
// than Most, the oldest goes of those that are not the first of their kind: the beginning
// of the story stays.
func (l *Line) Add(e Event) bool {
	if e = bounded(e); e.Type == "" {
		return false
	}
	at := len(l.Events)
	for i := len(l.Events) - 1; i >= 0; i-- {
		o := &l.Events[i]
		if o.At.After(e.At) {
			at = i
		}
		if o.same(e) && !e.At.Before(o.At) && !e.At.After(o.Last) {
			return false
		}
	}
	if o := l.last(e.Type); o != nil && o.same(e) && e.At.After(o.Last) {
		o.Count, o.Last, o.Message = o.Count+e.Count, e.Last, e.Message
		return true
	}
	l.Events = slices.Insert(l.Events, at, e)
	for len(l.Events) > Most {
		at := l.dispensable()
		l.Events = slices.Delete(l.Events, at, at+1)
	}
	return true
}

// last is the latest event of a type; nil: there is none.
func (l *Line) last(of string) *Event {
	for i := len(l.Events) - 1; i >= 0; i-- {
		if l.Events[i].Type == of {
			return &l.Events[i]
		}
	}
	return nil
}

// dispensable is the place of the event that is missed least: the oldest that repeats an
// earlier one or, if none does, the second.
func (l *Line) dispensable() int {
	for i := range l.Events {
		if slices.ContainsFunc(l.Events[:i], l.Events[i].same) {
			return i
		}
	}
	return min(1, len(l.Events)-1)
}

// same reports whether two events say the same, but for when.
func (e *Event) same(o Event) bool {
	return e.Type == o.Type && e.From == o.From && e.To == o.To && e.Reason == o.Reason
}

// bounded is an event as it is kept.
func bounded(e Event) Event {
	e.Type, e.From, e.To, e.Reason = word(e.Type), word(e.From), word(e.To), word(e.Reason)
	e.Message = text(e.Message, maxMessage)
	e.At, e.Last = seconds(e.At), seconds(e.Last)
	e.Count = min(max(e.Count, 1), maxCount)
	if e.Count == 1 || e.Last.Before(e.At) {
		e.Last = e.At
	}
	return e
}

func word(s string) string { return text(s, maxWord) }

// text is a foreign text without what a terminal would obey, of n bytes at most.
func text(s string, n int) string {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
	if len(s) > n {
		s = words.Cut(s, n-len("…"))
	}
	return s
}

// seconds is a time to the second and within what can be kept.
func seconds(t time.Time) time.Time {
	return time.Unix(min(max(t.Unix(), 0), maxTime), 0).UTC()
}
