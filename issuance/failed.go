package issuance

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/internal/times"
	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// outcomes are those of classes of failures that are counted apart.
var outcomes = map[acme.Class]string{
	acme.ClassLimited: outcomeLimited, acme.ClassCAA: outcomeForbids, acme.ClassDNS: outcomeNotReady, acme.ClassEdge: outcomeNotReady,
}

// failed logs and counts a failure at a CA and writes it into the dossier, with when to
// try again. method is the challenge type that was tried, empty for none.
func (j *job) failed(ctx context.Context, c *ca, method string, f *acme.Failure) landing {
	if j.hooks != nil {
		j.hooks.fault = f
	}
	if ctx.Err() != nil { // it was stopped and did not fail; a placed order is resumed
		return landing{rec: j.rec, save: j.rec.Order != nil, looked: true, unchanged: true}
	}
	if errors.Is(f, store.ErrUnavailable) { // no failure of the hostname's, its CA's or its storage's: order and key stay
		j.log.Warn("the store did not answer in the middle of an order, which is gone on with once it does", zap.String("hostname", j.hostname), zap.Error(f))
		return landing{rec: j.rec, save: j.rec.Order != nil, looked: true, unchanged: true, again: liveAgain}
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
			j.rec.Order = nil // it belongs to that account
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
		if at := j.want.opens(now); !at.IsZero() && at.Unix() < t.Until && (f.Class == acme.ClassEdge || f.Class == acme.ClassDNS) {
			t.Until = at.Unix() // no CA was asked, and what was in the way is not in that one's
		}
	}
	j.rec.Trouble = t
	return landing{rec: j.rec, save: true, looked: true}
}

// usable are the CAs to ask for a record that names one, or none. A CA that has refused
// the hostname for good is left out, unless all have, or asked: a retry was asked for.
// Another record, or one that names another CA, begins anew: see renewedBy.
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

// refused notes in a new trouble that a CA has refused for good. While there are other
// CAs the hostname is tried there: at once, or when the pause after their last failure
// is over, which then is the failure that is told.
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
