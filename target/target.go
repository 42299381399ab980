package target

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
)

// Target serves the requests of every record that points at it. Implementations
// are safe for concurrent use.
type Target interface {
	// Serve answers the request or returns an error as Caddy's handlers do.
	// next is what follows in the site; a target that answers does not call it.
	Serve(w http.ResponseWriter, r *http.Request, next Next) error
	// Health tells from memory whether the target can serve now, and why not.
	Health() Health
}

// RecordTarget is a target that can serve one record and not another.
type RecordTarget interface {
	Target
	// HealthOf is Health for the record whose placeholders value gives, such as
	// apoxy.record.annotations.KEY.
	HealthOf(value func(key string) (any, bool)) Health
}

// Next is the rest of a handler chain.
type Next interface {
	ServeHTTP(http.ResponseWriter, *http.Request) error
}

// Health is whether a target can serve, and why not.
type Health struct {
	Healthy bool
	// Unchecked: the target counts as healthy because nothing checks it.
	Unchecked bool
	// OfRecord: it is another one for each record; Registry.HealthOf tells it.
	OfRecord bool
	// Message is a sentence without a final full stop: what was seen. Empty
	// for a target that cannot be ill.
	Message string
}

// Ref names a target by the kind and name that a record's target.ref gives.
// The group of the ref is the record's own business.
type Ref struct {
	Kind, Name string
}

// Registry holds the targets of one configuration, of which it tells the health.
// Handlers add to it while they are provisioned; it is read only once the
// configuration is in force. A target may be defined more than once, as when
// several sites import the same snippet.
type Registry struct {
	targets atomic.Pointer[map[Ref][]Target]
	sites   atomic.Int64
}

// Add registers a target under ref, beside those already there.
func (g *Registry) Add(ref Ref, t Target) {
	for {
		old := g.targets.Load()
		next := map[Ref][]Target{}
		if old != nil {
			for r, ts := range *old {
				next[r] = ts
			}
		}
		next[ref] = append(slices.Clone(next[ref]), t)
		if g.targets.CompareAndSwap(old, &next) {
			return
		}
	}
}

func (g *Registry) all() map[Ref][]Target {
	if m := g.targets.Load(); m != nil {
		return *m
	}
	return nil
}

// Remove takes a target back that serves no record. It must be comparable.
func (g *Registry) Remove(ref Ref, t Target) {
	for {
		old := g.targets.Load()
		if old == nil {
			return
		}
		next := maps.Clone(*old)
		next[ref] = slices.DeleteFunc(slices.Clone(next[ref]), func(o Target) bool { return o == t })
		if len(next[ref]) == 0 {
			delete(next, ref)
		}
		if g.targets.CompareAndSwap(old, &next) {
			return
		}
	}
}

// AddSite counts a site that serves records, with whatever targets or with none, as
// where all that it serves is redirected. RemoveSite takes one back.
func (g *Registry) AddSite() { g.sites.Add(1) }

// RemoveSite undoes one AddSite.
func (g *Registry) RemoveSite() { g.sites.Add(-1) }

// Serves reports whether any site serves records.
func (g *Registry) Serves() bool { return g.sites.Load() > 0 }

// Health returns the health of the target named by ref, and whether there is
// one. A target defined more than once is healthy while any of its definitions is.
func (g *Registry) Health(ref Ref) (Health, bool) { return g.best(ref, Target.Health) }

// HealthOf is Health for the record whose placeholders value gives.
func (g *Registry) HealthOf(ref Ref, value func(key string) (any, bool)) (Health, bool) {
	return g.best(ref, func(t Target) Health {
		if t, ok := t.(RecordTarget); ok {
			return t.HealthOf(value)
		}
		return t.Health()
	})
}

func (g *Registry) best(ref Ref, health func(Target) Health) (Health, bool) {
	ts, ok := g.all()[ref]
	if !ok {
		return Health{Message: g.missing(ref)}, false
	}
	var first Health
	ofRecord := slices.ContainsFunc(ts, func(t Target) bool { _, is := t.(RecordTarget); return is })
	for i, t := range ts {
		h := health(t)
		h.OfRecord = ofRecord
		if h.Healthy {
			return h, true
		}
		if i == 0 {
			first = h
		}
	}
	return first, true
}

// Snapshot returns the health of every target, to be compared with a later one.
func (g *Registry) Snapshot() map[Ref]Health {
	m := make(map[Ref]Health, len(g.all()))
	for ref := range g.all() {
		m[ref], _ = g.Health(ref)
	}
	return m
}

// missing says that the configuration has no such target and what it has.
func (g *Registry) missing(ref Ref) string {
	var have []string
	for r := range g.all() {
		have = append(have, fmt.Sprintf("%s %q", r.Kind, r.Name))
	}
	slices.Sort(have)
	if len(have) == 0 {
		return "the configuration defines no targets"
	}
	const most = 8
	if len(have) > most {
		have = append(have[:most], fmt.Sprintf("and %d more", len(have)-most))
	}
	return "the configuration defines " + strings.Join(have, ", ")
}
