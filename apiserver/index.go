package apiserver

import (
	"context"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// Index knows enough of every record to tell which ones a selector may select. It
// follows the store, so that it is a little behind it, or ahead of what is listed.
type Index interface {
	// WaitRevision returns once the index knows everything up to a revision of the
	// store, or with the context's error.
	WaitRevision(ctx context.Context, revision int64) error
	// Find returns, in the order of their bytes, names of records after a name: at
	// least all that the selectors select, up to most. It has looked at all names up
	// to upto, or if more is false at all there are. An error is the context's.
	Find(ctx context.Context, l labels.Selector, f fields.Selector, after string, most int) (names []string, upto string, more bool, err error)
	// ChangedSince returns the names of records after a name, and unless it is empty
	// not after upto, that were changed after a revision; ok is false if it does not
	// know of all of them.
	ChangedSince(revision int64, after, upto string) (names []string, ok bool)
	// CountAfter returns how many of the records that it knows come after a name.
	CountAfter(name string) int
}

// countPatience is how long a list waits for the index to count what it lists.
const countPatience = 50 * time.Millisecond

// estimates reports whether the index can tell how many records remain after a page: it
// knows those of the listing's revision.
func (l *listing) estimates(ctx context.Context) bool {
	index := l.s.cfg.Index
	if index == nil || l.limit == 0 || !l.sel.everything() {
		return false
	}
	at := l.reading
	if at == 0 {
		var err error
		if at, err = l.s.present(ctx); err != nil {
			return false // the list itself says why
		}
	}
	ctx, cancel := context.WithTimeout(ctx, countPatience)
	defer cancel()
	return index.WaitRevision(ctx, at) == nil
}

// after is how many records the index knows after a key, at least one: an estimate, as
// remainingItemCount is by its definition, for the listing may be of a revision before.
func (l *listing) after(key string) int64 {
	return max(int64(l.s.cfg.Index.CountAfter(strings.TrimPrefix(key, recordPrefix))), 1)
}

// indexPatience is how long a list waits for the index to know what it lists.
const indexPatience = time.Second

// narrowed reads, of the records after a key, those that the index does not rule out,
// as they were at the listing's revision: what it finds at present, and what was
// changed since. The selector decides by what is stored. upto is the key up to where
// nothing is left out. ok is false if the index cannot tell; then all must be read.
func (l *listing) narrowed(ctx context.Context, after string) (page store.ListResult, upto string, ok bool, err error) {
	index := l.s.cfg.Index
	if index == nil || l.sel.everything() {
		return page, "", false, nil
	}
	if page.Revision = l.reading; page.Revision == 0 {
		if page.Revision, err = l.s.present(ctx); err != nil {
			return page, "", false, err
		}
	}
	after = strings.TrimPrefix(after, recordPrefix)
	if _, ok := index.ChangedSince(page.Revision, after, after+"\x00"); !ok {
		return page, "", false, nil // before all records were read, and long after
	}
	patient, cancel := context.WithTimeout(ctx, indexPatience)
	err = index.WaitRevision(patient, page.Revision)
	cancel()
	if err != nil {
		return page, "", false, ctx.Err()
	}
	most := l.wanted()
	names, upto, more, err := index.Find(ctx, l.sel.labels, l.sel.fields, after, most)
	if err != nil {
		return page, "", false, err
	}
	if !more {
		upto = ""
	}
	changed, ok := index.ChangedSince(page.Revision, after, upto)
	if !ok {
		return page, "", false, nil
	}
	names = append(names, changed...)
	slices.Sort(names)
	if names = slices.Compact(names); len(names) > most+chunk {
		names, more = names[:most+chunk], true
		upto = names[len(names)-1]
	}
	for i := range names {
		names[i] = recordKey(names[i])
	}
	page.More = more
	page.KeyValues, _, err = l.s.cfg.Store.Read(ctx, names, page.Revision)
	return page, recordKey(upto), true, err
}

// wanted is how many records are worth being looked for in one go.
func (l *listing) wanted() int {
	if l.limit == 0 {
		return chunk
	}
	return min(chunk, max(l.limit-l.found, chunk/16))
}
