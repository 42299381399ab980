package controller

import (
	"time"

	"github.com/apoxy-dev/caddy-apoxy/internal/lru"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// track is where an item waits and whose places it takes. Every track has places
// of its own, so that none waits for what is slower. Those before trackJudge say
// how a registered domain has answered lately, and are what is remembered of it.
type track uint8

const (
	trackFast   track = iota // answers soon
	trackNew                 // nothing is known of it
	trackSlow                // answers, but late
	trackDoubt               // has not answered soon, and no look at it was finished yet
	trackDead                // did not answer at all
	trackJudge               // work that asks no DNS
	trackGlance              // work that asks little, for no longer than glanceFor
	tracks
)

// MemoryLimit bounds how many domains' tracks are remembered, and as many silences
// beside them, so that the living, however many, do not make the dead forgotten.
// MemoryFor and silenceFor bound how long; the latter is longer than a silent
// domain is left alone.
const (
	memoryLimit = 1 << 16
	memoryFor   = 10 * time.Minute
	silenceFor  = 24 * time.Hour
)

// SlowAfter is how long a look may take in the places of those that answer soon,
// unheardAfter how long one without any answer in the places of those that answer late.
const (
	slowAfter    = 300 * time.Millisecond
	unheardAfter = 2 * time.Second
)

// restMost is the longest that a silent domain is left alone. At five seconds a
// look, the default's 32 places serve 92,000 silent records in this time.
const restMost = 4 * time.Hour

// places is how many looks at a time a track has room for. The silent hold many
// of the resolver's slots for long, and get the fewest.
func places(l track, concurrency int) int {
	switch l {
	case trackFast, trackNew, trackGlance:
		return max(concurrency, 1)
	case trackDoubt, trackDead:
		return max(concurrency/8, 1)
	}
	return max(concurrency/4, 1)
}

// patience is how long a look may stay in a track; 0: to its end.
func patience(l track) time.Duration {
	switch l {
	case trackFast, trackNew:
		return slowAfter
	case trackSlow:
		return unheardAfter
	}
	return 0
}

// outlasting is where a look goes on whose track's patience is over.
func outlasting(l track, heard bool) track {
	switch {
	case patience(l) == 0:
		return l
	case heard:
		return trackSlow
	}
	return trackDoubt
}

// trackAfter is what to make of a domain after a look at one of its names: before is
// what was held of it. A silence that ends soon costs nobody anything (a resolver
// refuses, the registered domain is gone) unless it only repeats what was found
// a moment ago.
func trackAfter(before track, took time.Duration, heard bool) track {
	switch soon := took <= slowAfter; {
	case heard && soon:
		return trackFast
	case heard:
		return trackSlow
	case !soon:
		return trackDead
	case before == trackDoubt || before == trackDead:
		return before
	}
	return trackFast
}

// rest is how long a domain that has been silent for so long is left alone: as
// long again, up to restMost. So nobody waits longer for the end of an outage to
// be noticed than the outage has lasted.
func rest(silent time.Duration) time.Duration { return min(max(silent, 0), restMost) }

// memory is what is remembered of registered domains. It is bounded.
type memory struct {
	heard  *lru.Cache[track]
	silent *lru.Cache[time.Time] // since when; zero: something has happened, begin anew
}

func newMemory() memory {
	return memory{heard: lru.New[track](memoryLimit), silent: lru.New[time.Time](memoryLimit)}
}

// of is the track of a domain.
func (m *memory) of(domain string) track {
	if _, ok := m.silent.Get(domain); ok {
		return trackDead
	}
	if l, ok := m.heard.Get(domain); ok {
		return l
	}
	return trackNew
}

// put remembers the track of a domain.
func (m *memory) put(domain string, l track, now time.Time) {
	if l != trackDead {
		m.silent.Drop(domain)
		m.heard.Put(domain, l, memoryFor)
		return
	}
	m.heard.Drop(domain)
	since, ok := m.silent.Get(domain)
	if !ok || since.IsZero() {
		since = now
	}
	m.silent.Put(domain, since, silenceFor)
}

// recall takes a domain for silent that was so before a restart, as its records'
// statuses say, so that its first look, which may take seconds, is not made among
// those of the living. For how long it was silent nobody has kept: it is left alone
// as one that has fallen silent now.
func (m *memory) recall(domain string, now time.Time) {
	if _, ok := m.silent.Get(domain); !ok {
		m.put(domain, trackDead, now)
	}
}

// stir has a silent domain looked at often again, because something was heard of
// it, somebody asks, or a record was written. It stays among the silent.
func (m *memory) stir(domain string) {
	if since, ok := m.silent.Get(domain); ok && !since.IsZero() {
		m.silent.Put(domain, time.Time{}, silenceFor)
	}
}

// rest is how long the domain is left alone from now on.
func (m *memory) rest(domain string, now time.Time) time.Duration {
	since, ok := m.silent.Get(domain)
	if !ok || since.IsZero() {
		return 0
	}
	return rest(now.Sub(since))
}

// answered reports whether anything could be told.
func (s *sighting) answered() bool {
	return s.traffic.Outcome != ownership.CouldNotTell || s.challenge.Outcome != ownership.CouldNotTell ||
		s.ownership.Outcome != ownership.CouldNotTell
}
