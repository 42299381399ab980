package caddyapoxy

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/hosts"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// inForce is the store as the API reads it: what it shows is in force on this
// node. Else who has read that a record is verified could still be refused by
// the handler in the moment before the table has heard of it.
type inForce struct {
	store.Store
	table *hosts.Table
	// since is the first revision of this store's own history. Clients may remember
	// earlier ones, of the engine that its data came from: they are expired, although
	// etcd has some like them.
	since *atomic.Int64
}

// inForceWait bounds the wait for a table that does not come on, and loadedWait that of a
// write for one that does not hold all records yet: clients wait 30 s, as a rule.
const (
	inForceWait = time.Second
	loadedWait  = 25 * time.Second
)

// errLoading is answered with 503.
var errLoading = &store.UnavailableError{Engine: "the table of hostnames", Reason: "not all records are read after the start, and writes wait for that: try again"}

// waitLoaded returns once the table holds all records. What is read before is in force,
// for the table reads it from the store too; what is written waits, so that nothing changes
// behind a reading of everything.
func (s inForce) waitLoaded(ctx context.Context) error {
	if s.table.Reached(store.FirstRevision) {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, loadedWait, errLoading)
	defer cancel()
	if s.table.WaitRevision(ctx, store.FirstRevision) != nil {
		return context.Cause(ctx)
	}
	return nil
}

func (s inForce) wait(ctx context.Context, revision int64) {
	if s.table.Reached(revision) || !s.table.Whole() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, inForceWait)
	defer cancel()
	_ = s.table.WaitRevision(ctx, revision) // late is better than nothing
}

// Report implements store.Reporter.
func (s inForce) Report(key string, revision int64, why error) bool {
	return store.Report(s.Store, key, revision, why)
}

// Get implements store.Store.
func (s inForce) Get(ctx context.Context, key string) (store.KeyValue, int64, error) {
	e, revision, err := s.Store.Get(ctx, key)
	if err == nil && strings.HasPrefix(key, hosts.Prefix) {
		s.wait(ctx, e.Revision)
	}
	return e, revision, err
}

// List implements store.Store.
func (s inForce) List(ctx context.Context, prefix string, o store.ListOptions) (store.ListResult, error) {
	if o.Revision > 0 && o.Revision < s.since.Load() {
		return store.ListResult{}, store.ErrExpired
	}
	res, err := s.Store.List(ctx, prefix, o)
	if err == nil {
		newest := int64(0) // not res.Revision: changes of other keys never come to the table
		for i := range res.KeyValues {
			newest = max(newest, res.KeyValues[i].Revision)
		}
		s.wait(ctx, newest)
	}
	return res, err
}

// Read implements store.Store.
func (s inForce) Read(ctx context.Context, keys []string, revision int64) ([]store.KeyValue, int64, error) {
	if revision > 0 && revision < s.since.Load() {
		return nil, 0, store.ErrExpired
	}
	entries, at, err := s.Store.Read(ctx, keys, revision)
	if err == nil {
		newest := int64(0) // as in List
		for i := range entries {
			newest = max(newest, entries[i].Revision)
		}
		s.wait(ctx, newest)
	}
	return entries, at, err
}

// Write implements store.Store. Who has written a record finds it in force.
func (s inForce) Write(ctx context.Context, ops ...store.Op) (int64, error) {
	if err := s.waitLoaded(ctx); err != nil {
		return 0, err
	}
	revision, err := s.Store.Write(ctx, ops...)
	if err == nil && slices.ContainsFunc(ops, func(op store.Op) bool { return !op.Check && strings.HasPrefix(op.Key, hosts.Prefix) }) {
		s.wait(ctx, revision)
	}
	return revision, err
}

// Watch implements store.Store.
func (s inForce) Watch(ctx context.Context, prefix string, after int64) (store.Watcher, error) {
	if after > 0 && after < s.since.Load() {
		return nil, store.ErrExpired
	}
	w, err := s.Store.Watch(ctx, prefix, after)
	if err != nil {
		return nil, err
	}
	return inForceWatcher{w, s}, nil
}

type inForceWatcher struct {
	store.Watcher
	s inForce
}

// Next implements store.Watcher.
func (w inForceWatcher) Next(ctx context.Context) (store.Batch, error) {
	b, err := w.Watcher.Next(ctx)
	if n := len(b.Events); err == nil && n > 0 {
		w.s.wait(ctx, b.Events[n-1].Revision)
	}
	return b, err
}
