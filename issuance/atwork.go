package issuance

import (
	"time"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/internal/times"
	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
)

// stillWorking leaves an order to its CA until it is asked again.
func (j *job) stillWorking(c *ca, f *acme.Failure) landing {
	if j.rec.Order == nil { // cannot be: what a CA works on was placed
		return landing{rec: j.rec, looked: true}
	}
	now, before := j.now(), *j.rec.Order
	o, at := before, f.Working
	if o.Since == 0 {
		o.Since = now.Unix()
		count(c.Key, at.Method, outcomeWorking)
		j.log.Info("the certificate authority takes its time and is asked again", zap.String("hostname", j.hostname),
			zap.String("ca", c.Key), zap.String("challenge", at.Method), zap.Time("wants", f.Until))
	}
	if o.Method != at.Method {
		o.Method, o.Asked = at.Method, 0
	}
	if at.Begun {
		o.Begun = now.Unix()
	}
	o.Next = now.Add(askAgain(o.Asked, f.Until.Sub(now))).Unix()
	o.Asked++
	news := o.Since != before.Since || o.Method != before.Method || o.Elsewhere != before.Elsewhere || j.rec.Trouble.tells()
	j.rec.Order, j.rec.Trouble = &o, j.rec.Trouble.calmed(now)
	// How often it was asked is not worth a write each time.
	return landing{rec: j.rec, save: news || o.Begun != before.Begun, looked: true, quiet: !news}
}

// overdue reports whether a CA works for so long that others are asked, once.
func (j *job) overdue(c *ca) bool {
	o := j.rec.Order
	return o != nil && o.Since != 0 && !o.Elsewhere && j.now().Sub(times.Unix(o.Since)) > c.Auth.WaitTimeout()
}

// workingMend is what there is to do about an order that its CA works on.
const workingMend = "Nobody needs to do anything; if it stays so for hours, the operator asks that certificate authority, or adds another `issuer apoxy` line"

const (
	// The CA is asked again after firstAsk, doubled with each time up to lastAsk.
	firstAsk = 2 * time.Second
	lastAsk  = 2 * time.Minute
)

// askAgain is the pause before a CA is asked about an order once more, after it
// was found at work so many times. What the CA asks for lengthens it up to
// lastAsk, and no further.
func askAgain(found int, asked time.Duration) time.Duration {
	pause := min(firstAsk<<min(max(found, 0), 10), lastAsk)
	return max(pause, min(asked, lastAsk))
}
