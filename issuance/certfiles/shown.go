package certfiles

import (
	"context"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// This file makes certmagic show each hostname the certificate of the record that
// serves it. By itself certmagic looks for the exact name in memory, then for wildcards
// in memory, and only then in storage, where the exact name comes first again. So what
// it shows would depend on what happens to be in memory. Therefore, before it looks,
// the exact certificate is loaded into memory or removed from it as the records say,
// and the wrapped storage hides from handshakes what is not to be shown. certmagic's
// events and its order of look-ups are internal to it; shown_test.go notices changes.

// Shown says which certificate a handshake is shown.
type Shown uint8

const (
	// ShowAny leaves it to certmagic, because there is one certificate at most, or no
	// record.
	ShowAny Shown = iota
	// ShowOwn is the certificate of exactly this name, although a wildcard covers it.
	ShowOwn
	// HideOwn is any certificate but that of exactly this name, because no verified
	// record has the name.
	HideOwn
)

const (
	// eventHello is raised at the beginning of every handshake.
	eventHello = "tls_get_certificate"
	// eventCached is raised when a certificate has been loaded into memory.
	eventCached = "cached_managed_cert"

	// ownTimeout is how long a handshake waits for its own certificate to be read
	// before it is shown the wildcard's.
	ownTimeout = 5 * time.Second
	// ownPause is the time between a read that failed and the next try.
	ownPause = 5 * time.Second
	// maxOwnFailures is how many failed reads are remembered.
	maxOwnFailures = 4096
)

// rules reports whether the records decide what handshakes with a configuration are
// shown: without on-demand TLS its certificates are not those of records.
func (f *Front) rules(cfg *certmagic.Config) bool { return f.Shows != nil && cfg.OnDemand != nil }

// listen puts a handler before the one that a configuration has for certmagic's events.
// Of the beginnings of handshakes the latter hears only if it asked for them, because
// passing one on costs several times as much as what is done here.
func (f *Front) listen(cfg *certmagic.Config, log *zap.Logger) {
	if !f.rules(cfg) {
		return
	}
	next, asked := cfg.OnEvent, cfg.ShouldEmitFunc
	others := func(event string) bool { return next != nil && (asked == nil || asked(event)) }
	cfg.ShouldEmitFunc = func(event string) bool { return event == eventHello || others(event) }
	cfg.OnEvent = func(ctx context.Context, event string, data map[string]any) error {
		if ctx == nil { // a handshake may have none
			ctx = context.Background()
		}
		if event == eventCached {
			f.recheck(ctx, cfg, data)
		}
		if event == EventRevoked && f.repeats(data) {
			return nil
		}
		if next != nil && (event != eventHello || others(event)) {
			if err := next(ctx, event, data); err != nil {
				return err
			}
		}
		if event == eventHello {
			f.arrange(ctx, cfg, serverName(data), log)
		}
		return nil
	}
}

// repeats reports whether a revocation event was raised before for its certificate.
func (f *Front) repeats(data map[string]any) bool {
	cert, ok := data["certificate"].(certmagic.Certificate)
	index := f.known()
	return ok && cert.Leaf != nil && index != nil && index.RevocationTold(cert)
}

// serverName is the server name that a handshake asks for; empty: it asks for none, or
// certmagic has changed the event. The event's type is not exported, its fields are.
func serverName(data map[string]any) string {
	v := reflect.ValueOf(data["client_hello"])
	if v.Kind() != reflect.Struct {
		return ""
	}
	if name := v.FieldByName("ServerName"); name.Kind() == reflect.String {
		return strings.ToLower(strings.TrimSpace(name.String())) // as certmagic does
	}
	return ""
}

// arrange loads the exact certificate of a hostname into memory, or removes it, as the
// handshake that begins is to be shown. If it cannot be read, certmagic shows the
// wildcard's, which is valid for the hostname too.
func (f *Front) arrange(ctx context.Context, cfg *certmagic.Config, hostname string, log *zap.Logger) {
	if hostname == "" || hostname[0] == '*' {
		return
	}
	if f.arrangeUpload(ctx, cfg, hostname, log) == hostname {
		return
	}
	switch f.Shows(ctx, hostname) {
	case ShowOwn:
		if InMemory(cfg, hostname) {
			return
		}
		f.owns.do(ctx, hostname, func(ctx context.Context) error {
			err := loadOwn(ctx, cfg, hostname)
			if err != nil && log != nil {
				log.Error("a hostname's own certificate cannot be read; that of its wildcard is shown",
					zap.String("hostname", hostname), zap.Duration("next_try_in", ownPause), zap.Error(err))
			}
			return err
		})
	case HideOwn:
		if InMemory(cfg, hostname) {
			Evict(cfg, hostname)
		}
	}
}

// recheck removes from memory a certificate that has just been loaded, if it is not to
// be shown any more: its record may have lost its proof while it was read, so that the
// eviction for that came too early.
func (f *Front) recheck(ctx context.Context, cfg *certmagic.Config, data map[string]any) {
	sans, _ := data["sans"].([]string)
	for _, name := range sans {
		if f.Shows(ctx, name) == HideOwn || f.hides(ctx, name) {
			Evict(cfg, name)
		}
	}
}

// owns are the reads of hostnames' own certificates: one at a time for each hostname,
// and none within ownPause of a failure. The zero value is ready for use.
type owns struct {
	mu sync.Mutex
	of map[string]*own
}

// own is one read that is under way or has failed lately.
type own struct {
	ctx   context.Context // of the read; ends after ownTimeout
	done  chan struct{}   // closed when the read has ended
	again time.Time       // after a failure: when to read again; zero: under way
}

// do reads, or waits for the read that is under way, until ctx ends or ownTimeout is
// over.
func (o *owns) do(ctx context.Context, hostname string, read func(context.Context) error) {
	now := time.Now()
	o.mu.Lock()
	one := o.of[hostname]
	if one != nil && !one.again.IsZero() && !now.Before(one.again) {
		one = nil
	}
	if one == nil {
		one = o.begin(ctx, hostname, read)
	}
	o.mu.Unlock()
	select {
	case <-one.done:
	case <-one.ctx.Done():
	case <-ctx.Done():
	}
}

// begin starts a read, which other handshakes may wait for, too: so it does not end with
// the first one's ctx. o.mu must be held.
func (o *owns) begin(ctx context.Context, hostname string, read func(context.Context) error) *own {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ownTimeout)
	one := &own{ctx: ctx, done: make(chan struct{})}
	if o.of == nil {
		o.of = map[string]*own{}
	}
	o.of[hostname] = one
	go func() {
		defer cancel()
		err := read(ctx)
		o.mu.Lock()
		defer o.mu.Unlock()
		defer close(one.done)
		if err == nil || !o.room() {
			delete(o.of, hostname)
			return
		}
		one.again = time.Now().Add(ownPause)
	}()
	return one
}

// room reports whether one more failure may be remembered. o.mu must be held.
func (o *owns) room() bool {
	if len(o.of) < maxOwnFailures {
		return true
	}
	now := time.Now()
	for hostname, one := range o.of {
		if !one.again.IsZero() && !now.Before(one.again) {
			delete(o.of, hostname)
		}
	}
	return len(o.of) < maxOwnFailures
}
