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

// This file has each hostname shown the certificate of the record that serves
// it. certmagic looks for the exact name in memory, then for wildcards in
// memory, and only then into storage, where the exact name comes first again:
// what it shows depends on what happens to be in memory. So, before it looks,
// the exact certificate is brought into memory or taken out of it as the records
// say, and storage hides from handshakes what is not to be shown. The names and
// data of certmagic's events and its order of look-ups are internal to it;
// shown_test.go holds them in place.

// Shown says which certificate a handshake is shown.
type Shown uint8

const (
	// ShowAny leaves it to certmagic: there is one at most, or no record.
	ShowAny Shown = iota
	// ShowOwn is the certificate of exactly this name, although a wildcard
	// covers it.
	ShowOwn
	// HideOwn is any but the certificate of exactly this name: no verified
	// record has it.
	HideOwn
)

const (
	// eventHello is raised at the beginning of every handshake.
	eventHello = "tls_get_certificate"
	// eventCached is raised when a certificate has come into memory.
	eventCached = "cached_managed_cert"

	// ownTimeout bounds how long a handshake waits for its own certificate to be
	// read before it is shown the wildcard's.
	ownTimeout = 5 * time.Second
	// ownPause is how long one that could not be read is not read again.
	ownPause = 5 * time.Second
	// maxOwnFailures bounds the failures that are remembered.
	maxOwnFailures = 4096
)

// rules reports whether the records decide what handshakes with a configuration
// are shown. Without on-demand TLS nothing of theirs is shown.
func (f *Front) rules(cfg *certmagic.Config) bool { return f.Shows != nil && cfg.OnDemand != nil }

// listen has the events of certmagic pass by here on their way to who listens
// already. Those that nobody else listens to go no further: to raise one costs
// several times what is done here.
func (f *Front) listen(cfg *certmagic.Config, log *zap.Logger) {
	if !f.rules(cfg) {
		return
	}
	next, asked := cfg.OnEvent, cfg.ShouldEmitFunc
	others := func(event string) bool { return next != nil && (asked == nil || asked(event)) }
	cfg.ShouldEmitFunc = func(event string) bool { return event == eventHello || others(event) }
	cfg.OnEvent = func(ctx context.Context, event string, data map[string]any) error {
		if ctx == nil { // as that of a handshake without one
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

// repeats reports whether the revocation that an event tells of was told already.
func (f *Front) repeats(data map[string]any) bool {
	cert, ok := data["certificate"].(certmagic.Certificate)
	index := f.known()
	return ok && cert.Leaf != nil && index != nil && index.Told(cert)
}

// serverName is what a handshake asks for. The type of the payload is not
// exported, its fields are. Empty: nothing, or certmagic has changed.
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

// arrange has memory hold, of the exact certificate and the wildcard's, what the
// handshake that begins is to be shown. Should the exact one be unreadable, the
// wildcard's, which is valid for the hostname too, is better than none.
func (f *Front) arrange(ctx context.Context, cfg *certmagic.Config, hostname string, log *zap.Logger) {
	if hostname == "" || hostname[0] == '*' {
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

// recheck takes out of memory again what has just come in but is not to be
// shown any more: its record fell while it was read, and what evicts then came
// too early.
func (f *Front) recheck(ctx context.Context, cfg *certmagic.Config, data map[string]any) {
	sans, _ := data["sans"].([]string)
	for _, name := range sans {
		if f.Shows(ctx, name) == HideOwn {
			Evict(cfg, name)
		}
	}
}

// owns are the reads of hostnames' own certificates: one at a time for each
// hostname, and after a failure none for a while. The zero value is ready for
// use.
type owns struct {
	mu sync.Mutex
	of map[string]*own
}

// own is one read that is under way or has failed lately.
type own struct {
	ctx context.Context
	// done is closed when it has ended; again is then when it may be repeated.
	done  chan struct{}
	again time.Time
}

// do reads, or waits for who reads already, until ctx ends or ownTimeout is over.
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

// begin starts a read. It is for all who come, so it does not end with the
// first of them. o.mu must be held.
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
