package hosts

import "context"

// Reached reports whether the table holds everything up to a revision.
func (t *Table) Reached(revision int64) bool { return t.progress.Revision() >= revision }

// WaitRevision returns once the table holds everything up to a revision of the
// store, or with the context's error.
func (t *Table) WaitRevision(ctx context.Context, revision int64) error {
	return t.progress.WaitRevision(ctx, revision)
}

// Revision is up to where the table has come; 0: nothing was read yet.
func (t *Table) Revision() int64 { return t.progress.Revision() }
