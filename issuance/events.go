package issuance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
	"golang.org/x/crypto/ocsp"

	"github.com/apoxy-dev/caddy-apoxy/internal/times"
	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
	"github.com/apoxy-dev/caddy-apoxy/issuance/certfiles"
)

const (
	// hookTimeout is how long emit waits for the handlers of an event.
	hookTimeout = 30 * time.Second
	// maxHooks is for how many events handlers may run at once: some may never end.
	maxHooks = 128
	// maxRevoked is how many certificates revocationsTold remembers.
	maxRevoked = 4096
)

var (
	errHooksSlow = fmt.Errorf("its handlers have not ended after %s", hookTimeout)
	errHooksMany = errors.New("too many handlers of earlier events have not ended")
)

// emit raises an event with the current configuration of a CA and waits for the handlers.
// The error is that of a handler, which aborts by it, or says that they take too long.
func (ts *tools) emit(ctx context.Context, c *ca, event string, data func() map[string]any) error {
	for _, now := range ts.authorities() {
		if now.Key == c.Key {
			c = now // handlers of a former configuration are not called any more
		}
	}
	cfg := c.cfg
	if cfg == nil || cfg.OnEvent == nil || cfg.ShouldEmitFunc != nil && !cfg.ShouldEmitFunc(event) {
		return nil
	}
	late := time.NewTimer(hookTimeout)
	defer late.Stop()
	select {
	case ts.hooks <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	case <-late.C:
		return errHooksMany
	}
	done, d := make(chan error, 1), data()
	go func() {
		defer func() { <-ts.hooks }()
		done <- cfg.OnEvent(context.WithoutCancel(ctx), event, d)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-late.C:
		return errHooksSlow
	}
}

// notify raises an event that no handler can abort, but only after the job has landed, so
// that its flight does not wait for handlers.
func (j *job) notify(c *ca, event string, data func() map[string]any) {
	j.after = append(j.after, func(ctx context.Context) {
		err := j.emit(ctx, c, event, data)
		if errors.Is(err, errHooksSlow) || errors.Is(err, errHooksMany) {
			j.log.Error("the handlers of an event were not called or have not ended", zap.String("event", event), zap.String("hostname", j.hostname), zap.Error(err))
		}
	})
}

// landed raises the events that notify was called for.
func (j *job) landed(ctx context.Context) {
	for _, raise := range j.after {
		raise(ctx)
	}
}

// Ordered tells of an order's end.
type Ordered struct {
	Hostname string
	// Obtained: there is a new certificate; else the try came to nothing.
	Obtained bool
	// CA is the key of the certificate authority that was asked, the last of several.
	CA string
	// Message says what came of it.
	Message string
}

// told has OnOrdered called once the job has landed.
func (j *job) told(o Ordered) {
	o.Hostname = j.hostname
	j.after = append(j.after, func(context.Context) { j.cfg.OnOrdered(o) })
}

// hooked is the state of an order's events.
type hooked struct {
	certfiles.Try
	announced bool          // cert_obtaining was raised
	asked     []string      // keys of the CAs that were asked
	fault     *acme.Failure // of the last of them
}

// hook prepares the events of an order. For a handshake certmagic raises them.
func (j *job) hook() *hooked {
	h := &hooked{Try: certfiles.Try{Hostname: j.hostname}, announced: j.rec.Order != nil} // it was raised when that order was placed
	if h.Renewal = j.rec.has() && !j.rec.gone(); h.Renewal {
		h.Remaining = times.Unix(j.rec.NotAfter).Sub(j.now())
	}
	return h
}

// announce raises cert_obtaining before the first order of a try.
func (j *job) announce(ctx context.Context, c *ca) *acme.Failure {
	h := j.hooks
	if h == nil {
		return nil
	}
	h.asked = append(h.asked, c.Key)
	if h.announced {
		return nil
	}
	err := j.emit(ctx, c, certfiles.EventObtaining, func() map[string]any { return h.Obtaining(j.rec.OCSP.IsRevoked(), j.rec.CA) })
	if err != nil {
		f := acme.Failed(acme.ClassOperator, "a handler of the event "+certfiles.EventObtaining+" keeps it from being obtained", err)
		f.Aborted, f.Mend = true, "The operator looks at what the `events` of the configuration run on "+certfiles.EventObtaining
		return f
	}
	h.announced = true
	return nil
}

// obtained raises cert_obtained once a certificate is stored.
func (j *job) obtained(ctx context.Context, c *ca, keys *storedKey) {
	h := j.hooks
	h.fault = nil
	der, err := keys.csr(ctx) // the key is the one that was certified
	if err != nil {
		j.log.Warn("an event is raised without its certificate request, which could not be made", zap.String("hostname", j.hostname), zap.Error(err))
	}
	j.told(Ordered{Obtained: true, CA: c.Key, Message: fmt.Sprintf("A certificate was obtained, valid until %s.", times.Stamp(times.Unix(j.rec.NotAfter)))})
	j.notify(c, certfiles.EventObtained, func() map[string]any { return h.Obtained(c.Key, der) })
}

// gaveUp raises cert_failed if a try that was announced came to nothing.
func (j *job) gaveUp(ctx context.Context) {
	h := j.hooks
	if !h.announced || h.fault == nil || h.fault.Aborted || h.fault.Class == acme.ClassWorking || ctx.Err() != nil || len(h.asked) == 0 {
		return
	}
	j.told(Ordered{CA: h.asked[len(h.asked)-1], Message: h.fault.Error()})
	j.notify(j.cas[0], certfiles.EventFailed, func() map[string]any { return h.Failed(h.asked, h.fault) })
}

// revoked raises cert_ocsp_revoked.
func (j *job) revoked(ctx context.Context, c *ca, r *ocsp.Response) {
	cert := certmagic.Certificate{Certificate: j.site(c).KeyPair(ctx), Names: []string{j.hostname}}
	j.notify(c, certfiles.EventRevoked, func() map[string]any { return certfiles.RevokedData(cert, r) })
}
