package issuance

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/internal/words"
)

// This file asks storage for what the index remembers: files are removed, a
// volume is not mounted, the store alone is restored, or another storage is
// configured, and handshakes then fail whatever the index says. Only an
// affirmative "there is none" counts; a storage that fails says nothing.

const (
	// storedTimeout bounds a look into storage for one hostname.
	storedTimeout = 5 * time.Second
	// storedConcurrency bounds those under way: a storage may never answer.
	storedConcurrency = 32
	// storedPause is the time between two of them for handshakes for one hostname.
	storedPause = time.Second
	// maxStored bounds the hostnames of which that is remembered.
	maxStored = 4096
	// doubtPause is the time between two log lines about a storage that fails.
	doubtPause = time.Minute
)

// errMute: storage says nothing.
var errMute = errors.New("it does not answer")

// inventory is what is known of storage beside what it holds.
type inventory struct {
	asking chan struct{} // held by each look into storage

	mu        sync.Mutex
	doubts    map[string]string // why storage could not tell of a hostname
	doubtTold time.Time
	muteUntil time.Time            // looks do not ask storage, which answered nothing; zero: it did
	heard     map[string]time.Time // hostnames, when handshakes had storage looked at
}

func newInventory() *inventory {
	return &inventory{asking: make(chan struct{}, storedConcurrency), doubts: map[string]string{}, heard: map[string]time.Time{}}
}

// doubt is why storage could not tell of a hostname, empty if it could.
func (i *inventory) doubt(hostname string) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.doubts[hostname]
}

// forget ends the doubt about a hostname.
func (i *inventory) forget(hostname string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.doubts, hostname)
}

// mute reports whether storage is left alone because it answers nothing. If not and
// it did not answer the last time, who asks finds out for the others.
func (i *inventory) mute(now time.Time) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	mute := now.Before(i.muteUntil) && i.muteUntil.Sub(now) <= storedTimeout // else the clock was set back
	if !mute && !i.muteUntil.IsZero() {
		i.muteUntil = now.Add(storedTimeout)
	}
	return mute
}

// answered notes whether storage did.
func (i *inventory) answered(ok bool, now time.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.muteUntil = now.Add(storedTimeout); ok {
		i.muteUntil = time.Time{}
	}
}

// again reports whether a handshake for a hostname has storage looked at once more.
func (i *inventory) again(hostname string, now time.Time) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	last, known := i.heard[hostname]
	if !known && len(i.heard) >= maxStored {
		for name, at := range i.heard {
			if now.Sub(at) >= storedPause {
				delete(i.heard, name)
			}
		}
	}
	if known && now.Sub(last) < storedPause || !known && len(i.heard) >= maxStored {
		return false
	}
	i.heard[hostname] = now
	return true
}

// Stored looks whether storage has the certificate that Observe tells of, where
// handshakes load it. Observe tells of what it found from then on; a certificate
// that is missing is due at once. It returns when that is noted, or after
// storedTimeout, or with ctx. Where the certificate has expired, or the hostname
// is being worked on, nothing is looked at.
func (s *Scheduler) Stored(ctx context.Context, hostname string) {
	j := s.glimpse(hostname)
	if j == nil {
		return
	}
	where, err := s.askUnlessMute(ctx, j)
	if ctx.Err() != nil {
		return
	}
	if s.doubted(j, err) {
		s.cfg.OnChange(hostname)
	}
	if err == nil && j.isNews(where) {
		s.noteInTime(ctx, j, where)
	}
}

// isNews reports whether a certificate is elsewhere than is known.
func (j *job) isNews(where whereabouts) bool {
	gone := j.rec.gone()
	return where == replacement || where == there && gone || where == missing && !gone
}

// noteInTime is noteStored, for as long as is waited for storage: it may have
// stopped answering since it told.
func (s *Scheduler) noteInTime(ctx context.Context, j *job, where whereabouts) {
	_, _ = within(ctx, s.inventory.asking, func(ctx context.Context) (struct{}, error) { // the next look finds it again
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storedTimeout)
		defer cancel()
		s.noteStored(ctx, j, where)
		return struct{}{}, nil
	})
}

// noteStored takes over where a certificate is, which is news (isNews).
func (s *Scheduler) noteStored(ctx context.Context, j *job, where whereabouts) {
	t, err := s.entries.seize(context.WithoutCancel(ctx), j.hostname, nil, func(e *entry) error {
		if e == nil || e.flight != nil || e.serialNumber() != j.rec.Serial || e.gone() != j.rec.gone() {
			return errElse
		}
		return nil
	})
	if err != nil {
		return
	}
	j.rec = t.rec
	l := landing{rec: j.rec, save: true, looked: true}
	if where == there {
		l.rec.Loss = l.rec.Loss.madeGood(s.now())
		l.rec.schedule(j.hostname, j.ratio())
		s.log.Info("a certificate that was missed is in storage again", zap.String("hostname", j.hostname), zap.String("serial", j.rec.Serial))
	} else {
		before := j.rec
		j.rec.miss(s.now())
		found, err := j.adopt(ctx)
		switch l.rec = j.rec; {
		case err != nil: // another place could not be read
			l.rec, l.save = before, false
		case !found:
			s.log.Error("the certificate of a hostname is not in storage any more, and another is ordered", zap.String("hostname", j.hostname),
				zap.String("expected", j.keyFile()), zap.String("storage", j.storageName()), zap.String("serial", j.rec.Serial))
		default:
			j.evict(j.hostname)
		}
	}
	s.land(t, l)
}

// errElse: something else has happened to a hostname, and is seen.
var errElse = errors.New("it is not as it was seen")

// glimpse copies what is known of a hostname with an unexpired certificate; nil:
// there is none, it is being worked on, or no authority is configured.
func (s *Scheduler) glimpse(hostname string) *job {
	t, ok := s.entries.glimpse(hostname)
	if !ok || len(t.cas) == 0 || !t.rec.proves(t.want) {
		return nil
	}
	return &job{tools: s.tools, hostname: t.want.Hostname, want: t.want, rec: t.rec, cas: t.cas}
}

// glimpse copies what is known of a hostname with an unexpired certificate that is
// not being worked on; false: there is none.
func (es *entries) glimpse(hostname string) (t taken, ok bool) {
	es.mu.Lock()
	defer es.mu.Unlock()
	e := es.of[hostname]
	if !es.loaded || e == nil || !e.has() || e.flight != nil || e.expired(es.now()) {
		return t, false
	}
	t = taken{want: e.want(), rec: e.dossier(), cas: es.issuers.cas()}
	if !e.wanted {
		t.want.UID, t.want.Owner = t.rec.UID, t.rec.Owner
	}
	return t, true
}

// askUnlessMute is ask, but while storage answers nothing for one look in each
// storedTimeout alone: whoever looks has a place that others wait for.
func (s *Scheduler) askUnlessMute(ctx context.Context, j *job) (whereabouts, error) {
	if s.inventory.mute(s.now()) {
		return unsure, errMute
	}
	where, err := s.ask(ctx, j)
	if mute := errors.Is(err, errMute); !mute || ctx.Err() == nil {
		s.inventory.answered(!mute, s.now())
	}
	return where, err
}

// ask is whereabouts, for as long as is waited for storage.
func (s *Scheduler) ask(ctx context.Context, j *job) (whereabouts, error) {
	return within(ctx, s.inventory.asking, j.whereabouts)
}

// within does something with storage that may never end, once one of the slots is
// free. It is waited for as long as ctx lasts, and storedTimeout at most; errMute: in
// vain.
func within[T any](ctx context.Context, slots chan struct{}, do func(context.Context) (T, error)) (out T, err error) {
	ctx, cancel := context.WithTimeout(ctx, storedTimeout)
	select {
	case slots <- struct{}{}:
	case <-ctx.Done():
		cancel()
		return out, errMute
	}
	done := make(chan struct{})
	var got T
	var failed error
	go func() {
		defer func() { <-slots }()
		defer cancel()
		defer close(done)
		got, failed = do(ctx)
	}()
	select {
	case <-done:
		return got, failed
	case <-ctx.Done():
		select {
		case <-done:
			return got, failed
		default:
			return out, errMute
		}
	}
}

// doubted notes that storage could not tell, or could again, and reports whether
// that is news. The words stay those of the first time: others, such as with the
// number of a port in them, would cost a write of the status with every look.
func (s *Scheduler) doubted(j *job, err error) bool {
	i := s.inventory
	i.mu.Lock()
	defer i.mu.Unlock()
	_, was := i.doubts[j.hostname]
	if err == nil {
		delete(i.doubts, j.hostname)
		return was
	}
	if !was {
		i.doubts[j.hostname] = intern(j.storageName() + ": " + words.Cut(err.Error(), 150))
	}
	if now := s.now(); now.Sub(i.doubtTold) >= doubtPause {
		i.doubtTold = now
		s.log.Warn("storage could not tell whether it has a certificate; what was known holds", zap.String("hostname", j.hostname),
			zap.String("storage", j.storageName()), zap.Error(err))
	}
	return !was
}
