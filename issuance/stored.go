package issuance

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"
)

// This file checks whether storage has the certificates that the index knows. Files may
// be removed, a volume not mounted, the store alone restored, or another storage
// configured; handshakes then fail whatever the index says. A certificate counts as
// missing only if storage says so; a storage that fails says nothing.

// storedTimeout is the time for one look into storage.
const storedTimeout = 5 * time.Second

// Stored looks whether storage has the certificate that Observe tells of, where
// handshakes load it, and notes what it found: Observe then tells it, and a missing
// certificate is ordered again. It returns when that is done, after storedTimeout at the
// latest, or when ctx ends. It does nothing while the hostname is in flight or if its
// certificate has expired.
func (s *Scheduler) Stored(ctx context.Context, hostname string) {
	s.storedUpload(ctx, hostname)
	j := s.snapshot(hostname)
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

// isNews reports whether the dossier does not say where the certificate is.
func (j *job) isNews(where whereabouts) bool {
	gone := j.rec.gone()
	return where == replacement || where == there && gone || where == missing && !gone
}

// noteInTime is noteStored, but returns after storedTimeout: storage may have stopped
// answering meanwhile.
func (s *Scheduler) noteInTime(ctx context.Context, j *job, where whereabouts) {
	_, _ = within(ctx, s.inventory.asking, func(ctx context.Context) (struct{}, error) { // the next look finds it again
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storedTimeout)
		defer cancel()
		s.noteStored(ctx, j, where)
		return struct{}{}, nil
	})
}

// noteStored writes into the dossier where the certificate is, which must be news. In
// place of a missing one it takes over another that storage has, or has one ordered.
func (s *Scheduler) noteStored(ctx context.Context, j *job, where whereabouts) {
	t, err := s.entries.seize(context.WithoutCancel(ctx), j.hostname, nil, func(e *entry) error {
		if e == nil || e.flight() != nil || e.serialNumber() != j.rec.Serial || e.gone() != j.rec.gone() {
			return errChanged
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
		case err != nil: // the files of another CA could not be read
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

// errChanged means that an entry has changed since its snapshot.
var errChanged = errors.New("the hostname has changed meanwhile")

// snapshot returns a job that only looks, for a hostname with an unexpired certificate
// that counts; nil: there is none, it is in flight, or no CA is configured.
func (s *Scheduler) snapshot(hostname string) *job {
	t, _ := s.entries.snapshot(hostname)
	return s.looker(t)
}

// settled is snapshot, but waits for who has the hostname in hand, for as long as a look
// into storage may take: a look, which knows soon.
func (s *Scheduler) settled(ctx context.Context, hostname string) *job {
	ctx, cancel := context.WithTimeout(ctx, storedTimeout)
	defer cancel()
	for {
		t, landed := s.entries.snapshot(hostname)
		if landed == nil {
			return s.looker(t)
		}
		select {
		case <-landed:
		case <-ctx.Done():
			return nil
		}
	}
}

// looker returns a job that only looks; nil: nothing was taken, no CA is configured, or
// the certificate does not count.
func (s *Scheduler) looker(t *taken) *job {
	if t == nil || len(t.cas) == 0 || !t.rec.proves(t.want) {
		return nil
	}
	return &job{tools: s.tools, hostname: t.want.Hostname, want: t.want, rec: t.rec, cas: t.cas}
}

// snapshot copies an entry that has an unexpired certificate and is not in flight; nil:
// there is none. If it is in flight, landed is closed when that ends.
func (es *entries) snapshot(hostname string) (t *taken, landed <-chan struct{}) {
	es.mu.Lock()
	defer es.mu.Unlock()
	e := es.of.get(hostname)
	if !es.loaded || e == nil || !e.has() || e.expired(es.now()) {
		return nil, nil
	}
	if e.flight() != nil {
		return nil, e.flight().done
	}
	t = &taken{want: e.want(), rec: e.dossier(), cas: es.issuers.cas()}
	if !e.wanted {
		t.want.UID, t.want.Owner = t.rec.UID, t.rec.Owner
	}
	return t, nil
}

// askUnlessMute is ask, but fails at once while storage does not answer (inventory.mute):
// a caller that waits occupies a place which others need.
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

// ask is whereabouts, but returns after storedTimeout.
func (s *Scheduler) ask(ctx context.Context, j *job) (whereabouts, error) {
	return within(ctx, s.inventory.asking, j.whereabouts)
}

// within runs do, which asks storage and so may never end, once one of the slots is free.
// It waits until ctx ends, and for storedTimeout at most, and then returns errMute; do
// keeps its slot until it ends.
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
