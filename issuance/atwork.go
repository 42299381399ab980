package issuance

import (
	"time"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/internal/times"
	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
)

// stillWorking notes in the dossier that a CA is still working on an order, and when to
// ask it again.
func (j *job) stillWorking(c *ca, f *acme.Failure) landing {
	if j.rec.Order == nil { // it cannot be: a CA works on what was placed
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
	news := o.Since != before.Since || o.Method != before.Method || o.Elsewhere != before.Elsewhere || j.rec.Trouble.visible()
	j.rec.Order, j.rec.Trouble = &o, j.rec.Trouble.calmed(now)
	// That it was asked once more is not written: a restart may ask sooner.
	return landing{rec: j.rec, save: news || o.Begun != before.Begun, looked: true, unchanged: !news}
}

// overdue reports whether a CA has been working on an order for so long (WaitTimeout)
// that the other CAs are to be asked. They are asked once.
func (j *job) overdue(c *ca) bool {
	o := j.rec.Order
	return o != nil && o.Since != 0 && !o.Elsewhere && j.now().Sub(times.Unix(o.Since)) > c.Auth.WaitTimeout()
}

// workingMend says who must act about an order that its CA is working on.
const workingMend = "Nobody needs to do anything; if it stays so for hours, the operator asks that certificate authority, or adds another `issuer apoxy` line"

const (
	// The CA is asked again after firstAsk, doubled with each time up to lastAsk.
	firstAsk = 2 * time.Second
	lastAsk  = 2 * time.Minute
)

// askAgain is the pause before a CA is asked about an order again, after it was found at
// work so many times. A longer pause that the CA asks for counts up to lastAsk.
func askAgain(found int, asked time.Duration) time.Duration {
	pause := min(firstAsk<<min(max(found, 0), 10), lastAsk)
	return max(pause, min(asked, lastAsk))
}
