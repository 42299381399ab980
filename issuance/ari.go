package issuance

import (
	"context"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/internal/times"
	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
	"github.com/apoxy-dev/caddy-apoxy/issuance/revocation"
)

// pollARI asks the CA for its renewal window (RFC 9773). Without an answer nothing is
// written, so that a CA that is down does not cost a write an hour for each certificate.
func (j *job) pollARI(ctx context.Context) landing {
	now := j.now()
	l := landing{rec: j.rec, unchanged: true}
	l.rec.ARI = &renewalInfo{}
	*l.rec.ARI = *j.rec.ARI
	l.rec.ARI.Poll = now.Add(time.Hour).Unix() // if anything fails
	c := caOf(j.cas, j.rec.CA)
	if c == nil {
		return l
	}
	if h, held := j.ledger.held(c, j.hostname, now); held {
		l.rec.ARI.Poll = h.Until.Add(resumeJitter(time.Hour, times.Fraction(j.hostname))).Unix()
		return l
	}
	st, err := c.Site(j.hostname).Load(ctx)
	if err != nil {
		return l
	}
	ctx, tr, done := acme.WithTrace(ctx, j.now, j.gate(c))
	defer done()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	info, err := c.Client.GetRenewalInfo(ctx, st.Leaf)
	if h := tr.Hold(); h != nil {
		j.limited(ctx, c, acme.Classify(h, j.hostname), j.hostname)
	}
	if err != nil {
		return l
	}
	l.rec.setARI(&info, revocation.PollARI(now, info.RetryAfter))
	l.rec.Loss = l.rec.Loss.madeGood(now)
	l.rec.schedule(j.hostname, c.ratio)
	l.save, l.unchanged = true, l.rec.Renewal == j.rec.Renewal
	return l
}
