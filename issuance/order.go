package issuance

import (
	"context"
	"errors"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/internal/times"
	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
	"github.com/apoxy-dev/caddy-apoxy/issuance/certfiles"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// lockPatience is for how long order tries to take the lock of a hostname. One try may
// take longer in some storages.
const lockPatience = 200 * time.Millisecond

// liveAgain is when a node that is not live looks again whether it is.
const liveAgain = time.Second

// order obtains a certificate, first or again.
func (j *job) order(ctx context.Context) landing {
	if !j.cfg.Live() {
		return landing{rec: j.rec, again: liveAgain, unchanged: true}
	}
	began, storage := j.now(), j.cas[0].Storage()
	locked, err := j.lock(ctx, storage)
	if err != nil {
		return j.failed(ctx, j.cas[0], "", acme.Failed(acme.ClassOperator, "locking in storage failed", err))
	}
	if !locked { // another node or a handshake has it
		return landing{rec: j.rec, again: 2 * time.Second, unchanged: true}
	}
	defer func() {
		if err := certfiles.Unlock(ctx, storage, j.hostname); err != nil {
			j.log.Error("unlocking in storage failed", zap.String("hostname", j.hostname), zap.Error(err))
		}
	}()
	if found, err := j.adopt(ctx); err == nil && found {
		j.evict(j.hostname)
		return landing{rec: j.rec, save: true, looked: true}
	}
	before := j.rec
	l := j.orderAnywhere(ctx, began)
	if l.rec.Trouble != nil && certfiles.LockLost(ctx, storage, j.hostname) { // another node goes on with it: what that keeps counts
		return landing{rec: before, again: liveAgain, unchanged: true}
	}
	return l
}

// lock takes the hostname's lock. It tries more than once, because handshakes near the
// end of a certificate hold it for a moment each. Another node holds it for longer.
func (j *job) lock(ctx context.Context, storage certmagic.Storage) (locked bool, err error) {
	for began := time.Now(); ; {
		locked, err = certfiles.TryLock(ctx, storage, j.hostname)
		if err != nil || locked || time.Since(began) >= lockPatience {
			return locked, err
		}
		select {
		case <-ctx.Done():
			return false, nil
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// orderAnywhere tries one CA after the other, until one succeeds or fails in a way that
// the next one would, too.
func (j *job) orderAnywhere(ctx context.Context, began time.Time) landing {
	var last landing
	var waits *landing // of a CA that is still working on its order
	for i, again := 0, false; i < len(j.cas); i++ {
		c := j.cas[i]
		l, f := j.orderAt(ctx, c, began)
		if f == nil {
			return l
		}
		last = l
		switch {
		case notNow(f), errors.Is(f, store.ErrUnavailable), ctx.Err() != nil:
			i = len(j.cas)
		case f.Class == acme.ClassWorking && j.overdue(c):
			o := *j.rec.Order
			o.Elsewhere = true
			l.rec.Order, l.save = &o, true
			waits, j.rec.Order = &l, nil
		case f.Class == acme.ClassCustomer && j.ways > 1 && !again && len(j.rec.Trouble.Failed) < maxFailed:
			again = true // once more, with another challenge type
			i--
		case !f.Elsewhere():
			i = len(j.cas)
		}
	}
	if waits != nil {
		return *waits
	}
	return last
}

// orderAt tries one CA. A nil Failure means that no other CA is to be asked: there is a
// certificate, stored or not.
func (j *job) orderAt(ctx context.Context, c *ca, began time.Time) (landing, *acme.Failure) {
	j.asks(c.Auth.Host())
	keys := &storedKey{ca: c, hostname: j.hostname, burnt: j.rec.burnt(), resume: j.rec.Order != nil && j.rec.Order.CA == c.Key}
	res, f := j.obtain(ctx, c, keys)
	switch {
	case f == nil:
	case notNow(f):
		return landing{rec: j.rec, save: j.rec.Order != nil, unchanged: true}, f
	default:
		return j.failed(ctx, c, j.method, f), f
	}
	switch err := j.store(ctx, c, keys, res); {
	case errors.Is(err, certfiles.ErrLockLost): // another node has it and goes on: what that keeps of the hostname counts
		return landing{rec: j.rec, again: liveAgain, unchanged: true}, nil
	case err != nil:
		return j.failed(ctx, c, res.Method, acme.Failed(acme.ClassOperator, "storing the certificate failed", err)), nil
	}
	j.evict(j.hostname)
	j.obtained(ctx, c, keys)
	j.issued(c, res, began)
	j.log.Info("certificate obtained", zap.String("hostname", j.hostname), zap.String("ca", c.Key),
		zap.String("challenge", res.Method), zap.Time("not_after", times.Unix(j.rec.NotAfter)))
	return landing{rec: j.rec, save: true, looked: true}, nil
}

// issued counts a certificate that was obtained.
func (j *job) issued(c *ca, res acme.Result, began time.Time) {
	count(c.Key, res.Method, outcomeIssued)
	issuanceDuration.Observe(j.now().Sub(began).Seconds())
}
