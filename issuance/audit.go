package issuance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/issuance/certfiles"
)

// This file compares the index with storage at the start and whenever another storage is
// configured, before anything is ordered: if that was a mistake, the operator reads so
// in the log before CAs are asked for thousands of certificates.

const (
	// auditMost is how many certificates are looked for before orders begin. If the index
	// has more, so many are taken at random; if any of them is missing, the others are
	// looked for while orders go on.
	auditMost = 10_000
	// auditTimeout is how long orders wait for the comparison.
	auditTimeout = 30 * time.Second
	// auditConcurrency is how many looks are under way at once.
	auditConcurrency = 8
)

// many reports whether so many of the certificates that were looked for are missing that
// this is probably another storage: all, or ten and more than a tenth.
func many(missing, looked int) bool {
	return missing > 0 && (missing == looked || missing >= 10 && missing > looked/10)
}

// mountOf is a text that identifies the storages of CAs. If it changes they are compared
// with the index.
func mountOf(cas []*ca) string {
	var b strings.Builder
	for _, c := range cas {
		if c.cfg == nil {
			continue
		}
		st := certfiles.Unwrap(c.Storage())
		fmt.Fprintf(&b, "%s %T %s", c.Key, st, certfiles.NameOf(st))
		if _, named := st.(fmt.Stringer); !named { // its configuration identifies it
			config, _ := json.Marshal(st) // an error: its type does
			b.Write(config)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// auditor knows which storages the index was compared with. The zero value is ready for
// use.
type auditor struct {
	mu      sync.Mutex
	mounted string // the storages of the current configuration, see mountOf
	audited string // those that the index was compared with last
	running bool   // a comparison is under way
}

// mount notes the storages of the current configuration. It reports whether orders must
// wait until they are compared with the index.
func (a *auditor) mount(cas []*ca) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mounted = mountOf(cas)
	return a.waits()
}

// waits reports whether orders must wait. a.mu must be held.
func (a *auditor) waits() bool { return a.mounted != "" && a.mounted != a.audited }

// due returns the storages to compare now, and notes that this is under way; empty: none.
func (a *auditor) due() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.waits() || a.running {
		return ""
	}
	a.running = true
	return a.mounted
}

// done notes that storages were compared. It reports whether orders must wait for others.
func (a *auditor) done(mount string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.audited, a.running = mount, false
	return a.waits()
}

// audit compares the storages of mount with the index, and lets orders begin.
func (s *Scheduler) audit(ctx context.Context, mount string) {
	sample, recorded := s.sample(auditMost)
	found := s.lookFor(ctx, sample, auditTimeout)
	found.tell(s.log, recorded)
	s.markMissing(ctx, found.news)
	s.confMu.Lock()
	s.entries.admit(!s.audits.done(mount))
	s.confMu.Unlock()
	s.noteFound(ctx, found.news)
	if len(found.news) > 0 && recorded > len(sample) {
		all, _ := s.sample(recorded)
		for some := range slices.Chunk(all, auditMost) { // to keep few findings at a time
			found := s.lookFor(ctx, some, 0)
			s.markMissing(ctx, found.news)
			s.noteFound(ctx, found.news)
		}
	}
}

// sample returns up to most hostnames that have a certificate, at random, and how
// many there are.
func (s *Scheduler) sample(most int) (names []string, recorded int) {
	s.entries.each(func(e *entry) {
		if !e.has() {
			return
		}
		recorded++
		if len(names) < most {
			names = append(names, e.hostname)
		} else if i := rand.IntN(recorded); i < most {
			names[i] = e.hostname
		}
	})
	return names, recorded
}

// findings are the result of looking for certificates.
type findings struct {
	looked  int   // certificates that storage could tell of
	missing int   // those of them that are missing
	unread  int   // certificates that storage could not tell of
	err     error // why, of one of them
	example *job  // one of missing
	news    []sighted
}

// sighted is a certificate that is elsewhere than the dossier says.
type sighted struct {
	job   *job
	where whereabouts
}

// lookFor looks for the certificates of hostnames, for so long at most; 0: without limit.
// It ends early if storage does not answer at all.
func (s *Scheduler) lookFor(ctx context.Context, names []string, most time.Duration) *findings {
	if most > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, most)
		defer cancel()
	}
	var found findings
	var mu sync.Mutex
	var wg sync.WaitGroup
	defer wg.Wait()
	work := make(chan string)
	defer close(work)
	for range auditConcurrency {
		wg.Go(func() {
			for hostname := range work {
				j := s.settled(ctx, hostname)
				if j == nil {
					continue
				}
				where, err := s.ask(ctx, j)
				mu.Lock()
				found.add(j, where, err)
				mu.Unlock()
			}
		})
	}
	for _, hostname := range names {
		mu.Lock()
		mute := found.looked == 0 && found.unread > 2*auditConcurrency
		mu.Unlock()
		if mute || ctx.Err() != nil {
			break
		}
		work <- hostname
	}
	return &found
}

func (a *findings) add(j *job, where whereabouts, err error) {
	if err != nil || where == unsure {
		a.unread, a.err = a.unread+1, err
		return
	}
	a.looked++
	if where == missing {
		a.missing++
		if a.example == nil || j.hostname < a.example.hostname {
			a.example = j
		}
	}
	if j.isNews(where) {
		a.news = append(a.news, sighted{j, where})
	}
}

// tell logs in one line what is missing; recorded is how many certificates the index has.
func (a *findings) tell(log *zap.Logger, recorded int) {
	if a.unread > 0 && !errors.Is(a.err, context.Canceled) {
		log.Error("storage could not tell of all certificates on record whether it has them; what was known before still counts", zap.Int("unread", a.unread),
			zap.Int("looked_for", a.looked+a.unread), zap.Int("recorded", recorded), zap.Error(a.err))
	}
	if a.missing == 0 {
		return
	}
	fields := []zap.Field{zap.Int("missing", a.missing), zap.Int("looked_for", a.looked), zap.Int("recorded", recorded),
		zap.String("example", a.example.hostname), zap.String("expected", a.example.keyFile()), zap.String("ca", a.example.rec.CA)}
	if c := a.example.home(); c == nil {
		log.Error("certificates on record are of a certificate authority that is not configured any more, so that no handshake finds them, and others are ordered", fields...)
		return
	}
	fields = append(fields, zap.String("storage", a.example.storageName()))
	if many(a.missing, a.looked) {
		log.Error("another storage? certificates on record are not in it, and others are ordered: "+
			"if that is a mistake, configure the right one and reload, and they count again", fields...)
		return
	}
	log.Warn("a few certificates on record are not in storage, and others are ordered", fields...)
}

// markMissing notes which certificates are missing, in memory only: a restart finds them
// again sooner than they could all be written.
func (s *Scheduler) markMissing(ctx context.Context, news []sighted) {
	for _, n := range news {
		switch {
		case ctx.Err() != nil:
			return
		case n.where == missing && s.mark(n.job):
			s.cfg.OnChange(n.job.hostname)
		}
	}
}

// noteFound notes what else was found. Each costs reads of storage and a write of the
// store. Orders do not wait for that, because each looks into storage itself.
func (s *Scheduler) noteFound(ctx context.Context, news []sighted) {
	for _, n := range news {
		if ctx.Err() != nil {
			return
		}
		if n.where != missing {
			s.noteStored(ctx, n.job, n.where)
		}
	}
}

// mark notes that a certificate is missing, if the entry has not changed since its
// snapshot.
func (s *Scheduler) mark(j *job) bool {
	return s.entries.amend(j.hostname, func(e *entry, r *dossier) bool {
		if r.Serial != j.rec.Serial || r.gone() {
			return false
		}
		r.miss(s.now())
		return true
	})
}
