package issuance

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
	"golang.org/x/crypto/ocsp"
)

// This file raises the events that certmagic raises when it obtains certificates,
// with the same data, so that what operators have hooked there works: certmagic
// itself raises them for handshakes alone here. Names and data are internal to it;
// events_test.go holds them in place.
const (
	eventObtaining = "cert_obtaining" // a handler may abort
	eventObtained  = "cert_obtained"
	eventFailed    = "cert_failed"
	eventRevoked   = "cert_ocsp_revoked"
)

const (
	// hookTimeout bounds how long work waits for the handlers of an event.
	hookTimeout = 30 * time.Second
	// maxHooks bounds the events whose handlers run: some may never end.
	maxHooks = 128
	// maxRevoked bounds the certificates whose revocation is known to be told.
	maxRevoked = 4096
)

var (
	errHooksSlow = fmt.Errorf("its handlers have not ended after %s", hookTimeout)
	errHooksMany = errors.New("too many handlers of earlier events have not ended")
)

// emit raises an event through the present configuration of a CA, and waits for
// its handlers. An error: one of them aborts, or they take too long.
func (s *Scheduler) emit(ctx context.Context, c *ca, event string, data func() map[string]any) error {
	for _, now := range s.authorities() {
		if now.key == c.key {
			c = now // the handlers of a former configuration hear nothing any more
		}
	}
	cfg := c.cfg
	if cfg == nil || cfg.OnEvent == nil || cfg.ShouldEmitFunc != nil && !cfg.ShouldEmitFunc(event) {
		return nil
	}
	late := time.NewTimer(hookTimeout)
	defer late.Stop()
	select {
	case s.hooks <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	case <-late.C:
		return errHooksMany
	}
	done, d := make(chan error, 1), data()
	go func() {
		defer func() { <-s.hooks }()
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

// notify has an event raised that no handler can abort, once the work has landed:
// neither its slot nor what others are told waits for handlers.
func (j *job) notify(c *ca, event string, data func() map[string]any) {
	j.after = append(j.after, func(ctx context.Context) {
		err := j.s.emit(ctx, c, event, data)
		if errors.Is(err, errHooksSlow) || errors.Is(err, errHooksMany) {
			j.s.log.Error("an event may not have been heard", zap.String("event", event), zap.String("hostname", j.hostname), zap.Error(err))
		}
	})
}

// landed raises the events of the work that has landed.
func (j *job) landed(ctx context.Context) {
	for _, raise := range j.after {
		raise(ctx)
	}
}

// hooked is an order with its events. tried and renewal are certmagic's data.
type hooked struct {
	announced bool // cert_obtaining was raised
	renewal   bool
	remaining time.Duration
	tried     []string
	fault     *failure // of the last CA
}

// hook prepares the events of an order; those of a handshake are certmagic's.
func (j *job) hook() *hooked {
	h := &hooked{announced: j.rec.Order != nil} // then it was when that was placed
	if h.renewal = j.rec.has() && !j.rec.gone(); h.renewal {
		h.remaining = unix(j.rec.NotAfter).Sub(j.s.now())
	}
	return h
}

// announce raises cert_obtaining before the first order of a try.
func (j *job) announce(ctx context.Context, c *ca) *failure {
	h := j.hooks
	if h == nil {
		return nil
	}
	h.tried = append(h.tried, c.key)
	if h.announced {
		return nil
	}
	err := j.s.emit(ctx, c, eventObtaining, func() map[string]any {
		if !h.renewal {
			return map[string]any{"identifier": j.hostname}
		}
		return map[string]any{"renewal": true, "identifier": j.hostname, "forced": j.rec.OCSP.revoked(), "remaining": h.remaining, "issuer": j.rec.CA}
	})
	if err != nil {
		return &failure{class: ClassOperator, aborted: true, err: err,
			message: "a handler of the event " + eventObtaining + " keeps it from being obtained: " + cut(err.Error(), 200),
			mend:    "The operator looks at what the `events` of the configuration run on " + eventObtaining}
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
		j.s.log.Warn("the certificate request of an event is left out", zap.String("hostname", j.hostname), zap.Error(err))
	}
	j.notify(c, eventObtained, func() map[string]any {
		data := map[string]any{
			"renewal": h.renewal, "identifier": j.hostname, "issuer": c.key,
			"storage_path":     certmagic.StorageKeys.CertsSitePrefix(c.key, j.hostname),
			"private_key_path": certmagic.StorageKeys.SitePrivateKey(c.key, j.hostname),
			"certificate_path": certmagic.StorageKeys.SiteCert(c.key, j.hostname),
			"metadata_path":    certmagic.StorageKeys.SiteMeta(c.key, j.hostname),
			"csr_pem":          pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}),
		}
		if h.renewal {
			data["remaining"] = h.remaining
		}
		return data
	})
}

// gaveUp raises cert_failed if a try that was announced came to nothing.
func (j *job) gaveUp(ctx context.Context) {
	h := j.hooks
	if !h.announced || h.fault == nil || h.fault.aborted || h.fault.class == ClassWorking || ctx.Err() != nil || len(h.tried) == 0 {
		return
	}
	j.notify(j.cas[0], eventFailed, func() map[string]any {
		data := map[string]any{"renewal": h.renewal, "identifier": j.hostname, "issuers": h.tried, "error": error(h.fault)}
		if h.renewal {
			data["remaining"] = h.remaining
		}
		return data
	})
}

// revoked raises cert_ocsp_revoked.
func (j *job) revoked(ctx context.Context, c *ca, r *ocsp.Response) {
	cert := certmagic.Certificate{Certificate: j.pair(ctx, c), Names: []string{j.hostname}}
	j.notify(c, eventRevoked, func() map[string]any {
		return map[string]any{"subjects": cert.Names, "certificate": cert, "reason": r.RevocationReason, "revoked_at": r.RevokedAt}
	})
}

// pair reads a certificate and its key; without the key, which certmagic puts away
// when it learns that it is compromised, the certificate alone.
func (j *job) pair(ctx context.Context, c *ca) tls.Certificate {
	st, p := bare(c.storage()), placeOf(j.rec.CA, j.hostname)
	key, _ := st.Load(ctx, p.key())
	chain, _ := st.Load(ctx, p.with(extChain))
	if b, ok := splitBundle(key); ok {
		chain = b.chain
	}
	if pair, err := tls.X509KeyPair(chain, key); err == nil {
		return pair
	}
	var alone tls.Certificate
	if leaf, err := leafOf(chain); err == nil {
		alone.Certificate, alone.Leaf = [][]byte{leaf.Raw}, leaf
	}
	return alone
}

// repeats reports whether the revocation that an event tells of was told already:
// certmagic, which asks responders for what it has in memory, may learn of it, too.
func (s *Scheduler) repeats(data map[string]any) bool {
	cert, ok := data["certificate"].(certmagic.Certificate)
	if !ok || cert.Leaf == nil {
		return false
	}
	serial := fmt.Sprintf("%s %x", cert.Leaf.Issuer, cert.Leaf.SerialNumber)
	s.mu.Lock()
	defer s.mu.Unlock()
	told := s.revokedTold[serial]
	if len(s.revokedTold) >= maxRevoked {
		clear(s.revokedTold)
	}
	s.revokedTold[serial] = true
	return told
}
