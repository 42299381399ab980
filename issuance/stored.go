package issuance

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/internal/times"
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
	wait, cancel := context.WithTimeout(ctx, storedTimeout)
	defer cancel()
	select {
	case s.storing <- struct{}{}:
	case <-wait.Done():
		return // the next look finds it again
	}
	noted := make(chan struct{})
	go func() {
		defer func() { <-s.storing }()
		defer close(noted)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storedTimeout)
		defer cancel()
		s.noteStored(ctx, j, where)
	}()
	select {
	case <-noted:
	case <-wait.Done():
	}
}

// noteStored takes over where a certificate is, if that is news.
func (s *Scheduler) noteStored(ctx context.Context, j *job, where whereabouts) {
	if !j.isNews(where) {
		return
	}
	e := s.seizeSeen(j)
	if e == nil {
		return // something else has happened to it, and is seen
	}
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
				zap.String("expected", j.expected()), zap.String("storage", j.storageName()), zap.String("serial", j.rec.Serial))
		default:
			j.evict()
		}
	}
	s.land(context.WithoutCancel(ctx), e, l)
}

// glimpse copies what is known of a hostname with an unexpired certificate; nil:
// there is none, it is being worked on, or no authority is configured.
func (s *Scheduler) glimpse(hostname string) *job {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[hostname]
	if !s.loaded || e == nil || !e.has() || e.flight != nil {
		return nil
	}
	if _, notAfter := e.times(); !s.now().Before(times.Unix(notAfter)) {
		return nil
	}
	j := &job{s: s, hostname: e.hostname, want: e.want(), rec: e.record(), cas: s.cas()}
	if !e.wanted {
		j.want.UID, j.want.Owner = j.rec.UID, j.rec.Owner
	}
	if len(j.cas) == 0 || !j.rec.proves(j.want) {
		return nil
	}
	return j
}

// seizeSeen takes a hostname up if it is still as it was glimpsed; nil: it is not.
func (s *Scheduler) seizeSeen(j *job) *entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[j.hostname]
	if e == nil || e.flight != nil || e.serialNumber() != j.rec.Serial || e.gone() != j.rec.gone() {
		return nil
	}
	s.unplace(e)
	e.flight = &flight{began: s.now(), cancel: func() {}, done: make(chan struct{})}
	s.looking++
	j.rec, j.flight = e.record(), e.flight
	return e
}

// askUnlessMute is ask, but while storage answers nothing for one look in each
// storedTimeout alone: whoever looks has a place that others wait for.
func (s *Scheduler) askUnlessMute(ctx context.Context, j *job) (whereabouts, error) {
	s.mu.Lock()
	now := s.now()
	mute := now.Before(s.muteUntil) && s.muteUntil.Sub(now) <= storedTimeout // else the clock was set back
	if !mute && !s.muteUntil.IsZero() {
		s.muteUntil = now.Add(storedTimeout) // this one finds out for the others
	}
	s.mu.Unlock()
	if mute {
		return unsure, errMute
	}
	where, err := s.ask(ctx, j)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !errors.Is(err, errMute):
		s.muteUntil = time.Time{}
	case ctx.Err() == nil:
		s.muteUntil = s.now().Add(storedTimeout)
	}
	return where, err
}

// ask is whereabouts, for as long as is waited for storage.
func (s *Scheduler) ask(ctx context.Context, j *job) (whereabouts, error) {
	ctx, cancel := context.WithTimeout(ctx, storedTimeout)
	select {
	case s.storing <- struct{}{}:
	case <-ctx.Done():
		cancel()
		return unsure, errMute
	}
	type answer struct {
		where whereabouts
		err   error
	}
	done := make(chan answer, 1)
	go func() {
		defer func() { <-s.storing }()
		defer cancel()
		where, err := j.whereabouts(ctx)
		done <- answer{where, err}
	}()
	select {
	case a := <-done:
		return a.where, a.err
	case <-ctx.Done():
		select {
		case a := <-done:
			return a.where, a.err
		default:
			return unsure, errMute
		}
	}
}

// doubted notes that storage could not tell, or could again, and reports whether
// that is news. The words stay those of the first time: others, such as with the
// number of a port in them, would cost a write of the status with every look.
func (s *Scheduler) doubted(j *job, err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, was := s.doubts[j.hostname]
	if err == nil {
		delete(s.doubts, j.hostname)
		return was
	}
	if !was && s.entries[j.hostname] != nil {
		s.doubts[j.hostname] = intern(j.storageName() + ": " + words.Cut(err.Error(), 150))
	}
	if now := s.now(); now.Sub(s.doubtTold) >= doubtPause {
		s.doubtTold = now
		s.log.Warn("storage could not tell whether it has a certificate; what was known holds", zap.String("hostname", j.hostname),
			zap.String("storage", j.storageName()), zap.Error(err))
	}
	return !was
}
