package issuance

import (
	"context"
	"errors"
	"iter"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// follow reads the ledger and then the index, and from then on applies what other nodes
// write. It ends with the context or when the store is closed, whose error it returns.
func (s *Scheduler) follow(ctx context.Context) error {
	ledger, read := s.ledgerFollower(ctx)
	uploads, brought := s.uploadFollower()
	ended := make(chan error, 3)
	follow := func(f store.Follower) { ended <- store.Follow(ctx, s.cfg.Store, f) }
	go follow(ledger)
	go follow(uploads)
	// Holds and budgets, and what customers brought, are known before the first hostname
	// that is due.
	for _, known := range []chan struct{}{read, brought} {
		select {
		case <-known:
		case err := <-ended:
			return err
		}
	}
	go follow(s.indexFollower())
	<-ended
	<-ended
	return <-ended
}

// ledgerFollower follows the ledger; read is closed once it has been read.
func (s *Scheduler) ledgerFollower(ctx context.Context) (f store.Follower, read chan struct{}) {
	read = make(chan struct{})
	var once sync.Once
	return store.Follower{
		Prefix: LedgerPrefix,
		Page:   func(entries []store.KeyValue) { _ = s.ledger.learn(ctx, entries, s.now()) }, // on an error the hourly tidying deletes what is past
		Change: func(e *store.Event) {
			if e.Err == nil {
				s.ledger.apply(e.Key, e.Value, e.Revision, s.now())
			}
			s.entries.poke()
		},
		Reached: func(int64) { once.Do(func() { close(read) }) },
		Failed:  s.followFailed("following the holds and budgets of certificate authorities failed and is tried again"),
	}, read
}

// indexFollower follows the index of certificates. A dossier that the store does not have
// when the index is read again stays in memory: it may be one that could not be written
// while the store was away.
func (s *Scheduler) indexFollower() store.Follower {
	n := 0
	return store.Follower{
		Prefix: IndexPrefix, PageSize: loadPage,
		Begin: func() { n = 0 },
		Page: func(entries []store.KeyValue) {
			n += len(entries)
			for read := range s.decodeAhead(entries) {
				s.takeOver(read)
			}
		},
		End: func(int64) { s.entries.complete(n) },
		Change: func(e *store.Event) {
			if e.Value == nil && e.Err == nil {
				if l := s.entries.unlearn(strings.TrimPrefix(e.Key, IndexPrefix), e.Revision); l != nil {
					s.tell(l)
				}
				return
			}
			s.takeOver(s.decode([]store.KeyValue{{Key: e.Key, Value: e.Value, Revision: e.Revision, Err: e.Err}}))
		},
		Reached: s.progress.Reach,
		Failed:  s.followFailed("reading the index of certificates failed and is tried again; until it has been read once none is obtained"),
	}
}

func (s *Scheduler) followFailed(what string) func(error) {
	return func(err error) { s.log.Error(what, zap.Error(err)) }
}

// loadPage is how many dossiers are read from the store at once.
const loadPage = 10_000

// takeOver takes over a batch of dossiers from the store.
func (s *Scheduler) takeOver(read []learnt) {
	var changed []*learnt
	for i := range read {
		if l := &read[i]; s.entries.learn(l) {
			changed = append(changed, l)
		}
	}
	s.tell(changed...)
}

// decodeAhead yields the dossiers of a page in their order, a batch at a time. While one
// batch is taken over, the next ones are decoded, each by a goroutine, one for each core.
func (s *Scheduler) decodeAhead(page []store.KeyValue) iter.Seq[[]learnt] {
	return func(yield func([]learnt) bool) {
		var ahead []chan []learnt
		for batch := range slices.Chunk(page, batch) {
			decoded := make(chan []learnt, 1)
			ahead = append(ahead, decoded)
			go func() { decoded <- s.decode(batch) }()
			if len(ahead) > runtime.GOMAXPROCS(0) {
				if !yield(<-ahead[0]) {
					return
				}
				ahead = ahead[1:]
			}
		}
		for _, decoded := range ahead {
			if !yield(<-decoded) {
				return
			}
		}
	}
}

// decode decodes dossiers. One that cannot be read is reported and left out; it is
// written anew when its hostname is worked on.
func (s *Scheduler) decode(page []store.KeyValue) []learnt {
	out := make([]learnt, 0, len(page))
	for _, se := range page {
		hostname, r, err := "", dossier{}, se.Err
		if err == nil {
			hostname, r, err = decodeDossier(se.Key, se.Value)
		}
		if err != nil {
			if !store.Report(s.cfg.Store, se.Key, se.Revision, err) {
				s.log.Error("a dossier of the index of certificates cannot be read and is made anew", zap.Error(err))
			}
			continue
		}
		out = append(out, learnt{hostname: hostname, rec: r, revision: se.Revision})
	}
	return out
}

// tell acts on dossiers that other nodes have changed: a replaced certificate leaves
// memory, and OnChange is called.
func (s *Scheduler) tell(changed ...*learnt) {
	for _, l := range changed {
		if l.replaced { // the old certificate must not be served any longer
			s.evict(l.hostname)
		}
		s.cfg.OnChange(l.hostname)
	}
}

// keep writes a dossier to the store, or deletes it there if it is empty, and returns the
// revision. It tries for ten seconds; 0: in vain. Then only a restart loses it, which
// finds the certificate again in storage. Nothing is written once the term is over that
// the work was begun in: what another node has written since counts.
func (ts *tools) keep(ctx context.Context, term, hostname string, r *dossier) int64 {
	op := store.Op{Key: IndexPrefix + hostname, If: store.Any}
	if !r.empty() {
		op.Value = r.marshal()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	for {
		if term == "" || ts.cfg.Term() != term {
			ts.log.Info("what was found of a hostname is not kept, because this node was not live throughout", zap.String("hostname", hostname))
			return 0
		}
		revision, err := ts.cfg.Store.Write(ctx, op)
		if err == nil {
			return revision
		}
		if ctx.Err() != nil || errors.Is(err, store.ErrClosed) {
			ts.log.Error("keeping the index of certificates failed", zap.String("hostname", hostname), zap.Error(err))
			return 0
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}
