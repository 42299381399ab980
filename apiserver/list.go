package apiserver

import (
	"context"
	"errors"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// chunk is how many records are read from the store at a time.
const chunk = 500

// listing is a list being read, chunk by chunk, at one revision as long as the
// store keeps that. Then it goes on at the present: a list that fails because
// others write would never end where there is much to read. Its resourceVersion
// stays the first one, so that who watches from there misses nothing: what changed
// is told again, or answered with 410.
type listing struct {
	s        *Server
	sel      selector
	revision int64
	// reading is the revision that is read at: revision, or a later one; 0: the present.
	reading int64
	// limit is how many records are wanted; 0: all. found is how many there were.
	limit, found int
	// page is the chunk that was read last, upto the key up to where it has everything.
	page store.ListResult
	upto string
	// estimated: the index counts what remains, and not the store.
	estimated bool
	// continued is the token of the rest, after each; remaining how many
	// records that is, if known.
	continued string
	remaining *int64
}

// list opens a listing: its first chunk is read and what can be refused is.
func (s *Server) list(ctx context.Context, o listOptions) (*listing, error) {
	l := &listing{s: s, sel: o.selector, limit: s.clampLimit(o.Limit)}
	after, exact := "", false
	switch {
	case o.token != nil:
		after, l.reading = recordKey(o.token.After), max(o.token.Revision, o.token.Reading, 0)
	case o.revision > 0 && (o.ResourceVersionMatch == metav1.ResourceVersionMatchExact || o.ResourceVersionMatch == "" && o.Limit > 0):
		l.reading, exact = o.revision, true
	default:
		if entry, ok, err := s.direct(ctx, o.selector); ok || err != nil {
			l.page, l.revision = entry, entry.Revision
			if err == nil && l.revision < o.revision {
				err = store.ErrFutureRevision
			}
			return l, err
		}
	}
	var err error
	if exact {
		err = l.read(ctx, after)
	} else {
		err = l.next(ctx, after)
	}
	switch {
	case err != nil:
		return nil, err
	case l.reading < o.revision && !exact:
		return nil, fmt.Errorf("listing records: %w", store.ErrFutureRevision)
	}
	l.revision = l.reading
	if o.token != nil && o.token.Revision > 0 {
		l.revision = o.token.Revision
	}
	return l, nil
}

// next reads the chunk after a key, at the present if the revision is not kept any
// more.
func (l *listing) next(ctx context.Context, after string) error {
	err := l.read(ctx, after)
	for range 3 { // a copy can be read at its own revision alone, and that moves on
		if !errors.Is(err, store.ErrExpired) {
			break
		}
		l.reading = 0
		err = l.read(ctx, after)
	}
	return err
}

// read reads the chunk after a key.
func (l *listing) read(ctx context.Context, after string) error {
	page, upto, ok, err := l.narrowed(ctx, after)
	if !ok && err == nil {
		l.estimated = l.estimates(ctx)
		page, err = l.s.cfg.Store.List(ctx, recordPrefix, store.ListOptions{
			After: after, Limit: l.chunk(), Revision: l.reading, Uncounted: l.estimated || l.limit == 0 || !l.sel.everything(),
		})
		if n := len(page.KeyValues); n > 0 {
			upto = page.KeyValues[n-1].Key
		}
	}
	if err != nil {
		return fmt.Errorf("listing records after %q: %w", after, err)
	}
	l.page, l.upto, l.reading = page, upto, page.Revision
	return nil
}

func (s *Server) clampLimit(n int64) int {
	if n <= 0 {
		return 0
	}
	return int(min(n, int64(s.cfg.Limits.Page)))
}

func (l *listing) chunk() int {
	if l.limit > 0 && l.sel.everything() {
		return l.limit
	}
	return chunk
}

// direct answers selectors that name one record or hostname by look-up instead
// of a scan. ok is false for other selectors.
func (s *Server) direct(ctx context.Context, sel selector) (res store.ListResult, ok bool, err error) {
	if name, exact := sel.exact(v1alpha3.FieldName); exact {
		e, rev, err := s.cfg.Store.Get(ctx, recordKey(name))
		return one(e, rev, err)
	}
	host, exact := sel.exact(v1alpha3.FieldHostname)
	if !exact {
		return res, false, nil
	}
	for range 3 {
		e, rev, err := s.cfg.Store.Get(ctx, hostnameKey(host))
		if errors.Is(err, store.ErrDamaged) {
			return res, false, nil // the records themselves tell
		}
		if err != nil {
			return one(e, rev, err)
		}
		if e, rev, err = s.cfg.Store.Get(ctx, recordKey(string(e.Value))); err == nil || errors.Is(err, store.ErrDamaged) {
			return one(e, rev, err)
		}
		if !errors.Is(err, store.ErrNotFound) {
			return res, true, err
		}
		// Deleted between the two: whoever holds the hostname now is asked.
	}
	return res, false, nil
}

func one(e store.KeyValue, rev int64, err error) (store.ListResult, bool, error) {
	res := store.ListResult{Revision: rev}
	switch {
	case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrDamaged):
		return res, true, nil
	case err != nil:
		return res, true, err
	}
	res.KeyValues = []store.KeyValue{e}
	return res, true, nil
}

// each calls fn with every selected record's JSON, its resourceVersion in it,
// up to the limit. What is damaged is left out, and what fn says does not decode.
func (l *listing) each(ctx context.Context, fn func(raw []byte) error) error {
	for {
		for i, e := range l.page.KeyValues {
			raw, err := l.item(&e)
			if raw == nil && err == nil {
				continue
			}
			if err == nil {
				err = fn(raw)
			}
			if errors.Is(err, errUndecodable) {
				l.s.undecodable(e.Key, e.Revision, err)
				continue
			}
			if err != nil {
				return err
			}
			if l.found++; l.found == l.limit {
				l.finish(e.Key, i)
				return nil
			}
		}
		if !l.page.More {
			return nil
		}
		if err := l.next(ctx, l.upto); err != nil {
			return err
		}
	}
}

// item is an entry as it is handed out; nil: it is not selected, or damaged.
func (l *listing) item(e *store.KeyValue) ([]byte, error) {
	if e.Err != nil {
		return nil, nil
	}
	ok, err := l.sel.matches(e.Value)
	if err == nil && !ok {
		return nil, nil
	}
	var raw []byte
	if err == nil {
		raw, err = withRevision(e.Value, e.Revision)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUndecodable, err)
	}
	return raw, nil
}

// finish notes where the next page begins: after the i-th entry.
func (l *listing) finish(key string, i int) {
	left := int64(len(l.page.KeyValues)-1-i) + l.page.Remaining
	if i == len(l.page.KeyValues)-1 && !l.page.More {
		return
	}
	l.continued = continueToken{Revision: l.revision, Reading: l.reading, After: strings.TrimPrefix(key, recordPrefix)}.String()
	if l.sel.everything() {
		if l.estimated {
			left = l.after(key)
		}
		l.remaining = &left
	}
}

func (l *listing) collectNames(ctx context.Context) ([]string, error) {
	var names []string
	err := l.each(ctx, func(raw []byte) error {
		var name string
		err := readMember(raw, &name, "metadata", "name")
		names = append(names, name)
		return err
	})
	return names, err
}

// listOrWatch answers GET …/domainrecords.
func (c *call) listOrWatch() error {
	c.verb = "list"
	o, err := c.listOptions()
	if err != nil {
		return err
	}
	if o.Watch {
		c.verb = "watch"
		return c.watch(o)
	}
	if c.media, err = negotiate(c.r, listOffers, false); err != nil {
		return err
	}
	ctx := c.r.Context()
	patient, stale := store.AllowStale(ctx, stalePatience)
	l, err := c.s.list(patient, o)
	if err != nil {
		return err
	}
	if c.warnStale(stale) {
		ctx = patient // the rest of it may be, too
	}
	w := newListWriter(c, c.s.itemEncoder(c.media, o.include))
	if l.limit > 0 {
		if err := l.each(ctx, w.hold); err != nil {
			return err
		}
		return w.finish(metav1.ListMeta{
			ResourceVersion: formatRevision(l.revision), Continue: l.continued, RemainingItemCount: l.remaining,
		})
	}
	if err := w.begin(metav1.ListMeta{ResourceVersion: formatRevision(l.revision)}); err != nil {
		return err
	}
	if err := l.each(ctx, w.add); err != nil {
		return w.abort(err)
	}
	return w.end()
}
