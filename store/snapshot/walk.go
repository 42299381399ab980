package snapshot

import (
	"context"
	"slices"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// A page has as many key-values as have been found to be about pageBytes, within
// these bounds: large values must not fill the memory.
const (
	leastPage = 16
	mostPage  = 1000
	pageBytes = 4 << 20
)

// walker yields what a store holds at one revision, in the order of the keys and
// without what is ephemeral. It reads page by page.
type walker struct {
	st store.Store
	// revision is the one read at, after the first call of next.
	revision int64
	after    string
	limit    int
	page     []store.KeyValue
	last     bool
}

// next returns the next key-value, damaged ones too; ok is false after the last.
func (w *walker) next(ctx context.Context) (kv store.KeyValue, ok bool, err error) {
	for len(w.page) == 0 {
		if w.last {
			return kv, false, nil
		}
		o := store.ListOptions{After: w.after, Limit: max(w.limit, leastPage), Revision: w.revision}
		var res store.ListResult
		err = patiently(ctx, func(bool) (err error) { res, err = w.st.List(ctx, "", o); return err })
		if err != nil {
			return kv, false, err
		}
		size := 0
		for i := range res.KeyValues {
			w.after = res.KeyValues[i].Key
			size += len(w.after) + len(res.KeyValues[i].Value)
		}
		w.revision, w.last, w.limit = res.Revision, !res.More, nextPage(o.Limit, size)
		w.page = slices.DeleteFunc(res.KeyValues, func(kv store.KeyValue) bool { return store.Ephemeral(kv.Key) })
	}
	kv, w.page = w.page[0], w.page[1:]
	return kv, true, nil
}

// nextPage is how many key-values to ask for after a page of limit had size bytes.
func nextPage(limit, size int) int {
	switch {
	case size > pageBytes:
		limit /= 2
	case size < pageBytes/2:
		limit *= 2
	}
	return min(max(limit, leastPage), mostPage)
}
