package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

const (
	// feedPause is before the feed is begun again.
	feedPause = 100 * time.Millisecond
	// progressAfter is how long the history waits for a revision by itself, before etcd
	// is asked how far it is: changes of other prefixes are not told.
	progressAfter = 20 * time.Millisecond
)

// feed keeps the history up to date until the store is closed.
func (s *Store) feed() {
	for begun := false; ; {
		now, err := s.present(s.ctx)
		if err == nil {
			last, _, _ := s.hist.State()
			switch {
			case !begun:
				s.hist.Restart(max(0, now-s.depth))
				begun = true
			case now < last: // etcd was restored from a backup
				s.log.Error("etcd has gone back; everything is read anew", zap.Int64("from", last), zap.Int64("to", now))
				s.hist.Restart(now)
				s.guides.forget()
			}
			err = s.follow()
		}
		if s.ctx.Err() != nil {
			return
		}
		if err != nil && !errors.Is(err, store.ErrUnavailable) {
			s.log.Warn("watching etcd has ended; it is begun again", zap.Error(err))
		}
		select {
		case <-s.ctx.Done():
			return
		case <-time.After(feedPause):
		}
	}
}

// follow watches from where the history ends, until that breaks.
func (s *Store) follow() error {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	last, _, _ := s.hist.State()
	answers := s.client.Watch(clientv3.WithRequireLeader(ctx), s.prefix,
		clientv3.WithPrefix(), clientv3.WithRev(last+1), clientv3.WithPrevKV(), clientv3.WithProgressNotify())
	for answer := range answers {
		switch err := answer.Err(); {
		case answer.CompactRevision > 0:
			s.hist.Restart(answer.CompactRevision)
			return nil
		case err != nil:
			return s.health.judge(err, false)
		case answer.IsProgressNotify():
			s.publish(nil, answer.Header.Revision)
		case len(answer.Events) > 0:
			// A revision is never split over two answers: only WithFragment does.
			s.publish(answer.Events, answer.Events[len(answer.Events)-1].Kv.ModRevision)
		}
	}
	return fmt.Errorf("%s has ended the watch", s.health.engine)
}

// publish puts events into the history, which reaches up to a revision by that.
func (s *Store) publish(events []*clientv3.Event, upto int64) {
	if last, _, _ := s.hist.State(); upto < last {
		return // of a question that was asked before
	}
	changes := make([]store.Event, 0, len(events))
	for _, e := range events {
		if isOwn(string(e.Kv.Key[len(s.prefix):])) {
			continue
		}
		if e.PrevKv == nil && (e.Type == clientv3.EventTypeDelete || e.IsModify()) {
			// What was before is compacted: the history begins after this.
			changes = changes[:0]
			s.hist.Restart(e.Kv.ModRevision)
			continue
		}
		changes = append(changes, s.event(e))
	}
	if _, floor, _ := s.hist.State(); len(changes) > 0 && changes[0].Revision <= floor {
		changes = after(changes, floor)
	}
	s.hist.Publish(changes, upto)
}

// after returns the changes after a revision.
func after(changes []store.Event, rev int64) []store.Event {
	for len(changes) > 0 && changes[0].Revision <= rev {
		changes = changes[1:]
	}
	return changes
}

// event is a change in our terms.
func (s *Store) event(e *clientv3.Event) store.Event {
	now := store.Event{Key: string(e.Kv.Key[len(s.prefix):]), Revision: e.Kv.ModRevision}
	if e.Type == clientv3.EventTypePut {
		now.Value, now.Err = decode(now.Key, now.Revision, e.Kv.Value)
	}
	if e.PrevKv != nil {
		now.PreviousRevision = e.PrevKv.ModRevision
		now.Previous, now.PreviousErr = decode(now.Key, now.PreviousRevision, e.PrevKv.Value)
	}
	return now
}

// reach returns once the history has come to a revision that the store has.
func (s *Store) reach(ctx context.Context, rev int64) error {
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	for {
		short, done := context.WithTimeout(bounded, progressAfter)
		err := s.hist.Wait(short, rev)
		done()
		switch {
		case err == nil, errors.Is(err, store.ErrClosed):
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case bounded.Err() != nil:
			return &store.UnavailableError{Engine: s.health.engine, Reason: "its watch has not come to the present in time"}
		}
		_ = s.client.RequestProgress(clientv3.WithRequireLeader(s.ctx)) // no watch is open: it is tried again
	}
}
