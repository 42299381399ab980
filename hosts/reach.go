package hosts

import "context"

// reach notes that the table holds everything up to a revision of the store.
func (t *Table) reach(revision int64) {
	t.reached.Store(revision)
	t.reachMu.Lock()
	defer t.reachMu.Unlock()
	if t.reachMore != nil {
		close(t.reachMore)
		t.reachMore = nil
	}
}

// Reached reports whether the table holds everything up to a revision.
func (t *Table) Reached(revision int64) bool { return t.reached.Load() >= revision }

// WaitRevision returns once the table holds everything up to a revision of the
// store, or with the context's error.
func (t *Table) WaitRevision(ctx context.Context, revision int64) error {
	for !t.Reached(revision) {
		t.reachMu.Lock()
		if t.reachMore == nil {
			t.reachMore = make(chan struct{})
		}
		more := t.reachMore
		t.reachMu.Unlock()
		if t.Reached(revision) {
			return nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
