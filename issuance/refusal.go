package issuance

import (
	"slices"

	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
)

// A CA that refuses a hostname for good is asked no more for it, by whatever way
// and for whatever reason the others fail, until a try is asked for, another
// record is made, or the record names its CA.

// refusedBy reports whether a CA has refused the hostname for good.
func (t *trouble) refusedBy(c *ca) bool { return t != nil && slices.Contains(t.Refused, c.Key) }

// usable are the candidates for an entry but those that have refused its
// hostname for good, unless all have or a try is asked for. s.mu must be held.
func (s *Scheduler) usable(e *entry) []*ca {
	all, t := s.candidates(e.asks()), e.trouble()
	if t == nil || len(t.Refused) == 0 || e.soon {
		return all
	}
	if left := slices.DeleteFunc(slices.Clone(all), t.refusedBy); len(left) > 0 {
		return left
	}
	return all
}

// refused notes in a new trouble that a CA has refused for good. As long as there
// are others it is they who decide when the hostname is tried again, and why not.
func (j *job) refused(t *trouble, c *ca) {
	if !t.refusedBy(c) {
		t.Refused = append(slices.Clone(t.Refused), c.Key)
	}
	j.s.mu.Lock()
	others := slices.ContainsFunc(j.s.candidates(j.want.CertificateAuthority), func(c *ca) bool { return !t.refusedBy(c) })
	j.s.mu.Unlock()
	if !others {
		return
	}
	t.Until = j.s.now().Unix()
	if old := j.rec.Trouble; old != nil && old.Class != acme.ClassRefused {
		t.Class, t.Count, t.Message, t.Mend, t.Method, t.Until = old.Class, old.Count, old.Message, old.Mend, old.Method, old.Until
	}
}
