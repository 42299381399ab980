package issuance

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/internal/times"
	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
)

// outcomes are those of classes of failures that are counted apart.
var outcomes = map[acme.Class]string{
	acme.ClassLimited: outcomeLimited, acme.ClassCAA: outcomeForbids, acme.ClassDNS: outcomeNotReady, acme.ClassEdge: outcomeNotReady,
}

// failed writes a failure into the dossier.
func (j *job) failed(ctx context.Context, c *ca, method string, f *acme.Failure) landing {
	if j.hooks != nil {
		j.hooks.fault = f
	}
	if ctx.Err() != nil { // stopped, not failed; a placed order is taken up again
		return landing{rec: j.rec, save: j.rec.Order != nil, looked: true, quiet: true}
	}
	if f.Class == acme.ClassWorking {
		return j.stillWorking(c, f)
	}
	now := j.now()
	count(c.Key, method, cmp.Or(outcomes[f.Class], outcomeFailed))
	j.log.Warn("no certificate was obtained", zap.String("hostname", j.hostname), zap.String("ca", c.Key),
		zap.String("challenge", method), zap.String("class", string(f.Class)), zap.String("reason", f.Message), zap.Error(f.Err))
	if f.Class == acme.ClassLimited || f.Account {
		switch {
		case f.Account:
			j.fault(ctx, c, f)
			j.rec.Order = nil // it is that account's
			return landing{rec: j.rec, save: true, looked: true}
		case !errors.Is(f.Err, errHeld):
			j.limited(ctx, c, f, j.hostname)
		}
		return landing{rec: j.rec, save: j.rec.Order != nil, looked: true}
	}
	t := &trouble{Class: f.Class, Count: 1, Message: f.Message, Mend: f.Mend, Method: method, UID: j.want.UID, Facts: factsOf(j.want)}
	if old := j.rec.Trouble; old != nil {
		t.Failed, t.Refused = old.Failed, old.Refused
		if old.Class == f.Class {
			t.Count = old.Count + 1
		}
	}
	if f.Class == acme.ClassCustomer || f.Class == acme.ClassCAA && method != "" {
		t.Failed = append(slices.Clone(t.Failed), now.Unix())
		t.Failed = t.Failed[max(len(t.Failed)-maxFailed, 0):]
		j.rec.Order = nil
	}
	if f.Class == acme.ClassRefused || f.Class == acme.ClassOperator || f.Spent {
		j.rec.Order = nil
	}
	if f.Class == acme.ClassRefused {
		j.refused(t, c)
	} else if d := backoff(f.Class, t.Count, times.Fraction(j.hostname+now.String())); d > 0 {
		t.Until = j.sooner(j.hostname, j.want, f, now.Add(d), now).Unix()
	}
	j.rec.Trouble = t
	return landing{rec: j.rec, save: true, looked: true}
}

// A CA that refuses a hostname for good is asked no more for it, by whatever way
// and for whatever reason the others fail, until a try is asked for, another
// record is made, or the record names its CA.

// usable are the candidates for a record that asks for the named CA, but those that
// have refused its hostname for good, unless all have or a try is asked for.
func usable(cas []*ca, named string, t *trouble, asked bool) []*ca {
	all := candidates(cas, named)
	if t == nil || len(t.Refused) == 0 || asked {
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
	others := slices.ContainsFunc(candidates(j.authorities(), j.want.CertificateAuthority), func(c *ca) bool { return !t.refusedBy(c) })
	if !others {
		return
	}
	t.Until = j.now().Unix()
	if old := j.rec.Trouble; old != nil && old.Class != acme.ClassRefused {
		t.Class, t.Count, t.Message, t.Mend, t.Method, t.Until = old.Class, old.Count, old.Message, old.Mend, old.Method, old.Until
	}
}
