package hosts

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// firsts is how far OnChange was told of the records that the table was loaded with.
type firsts struct {
	mu sync.Mutex
	// upto is the revision of the load: what was written later is told as it changes.
	upto int64
	// told is the key up to which all are told, in the order of keys, or told to be
	// changed or gone.
	told string
	// done: all are.
	done bool
	room []byte // for the values of a page
}

// firstPage is how many records are told of at a time, and firstRetry how long reading
// them rests after the store has failed.
const (
	firstPage  = 256
	firstRetry = 100 * time.Millisecond
)

// errBehind: a copy of the store answers that is older than what was loaded.
var errBehind = errors.New("what the store answers is older than what was loaded")

// tell has OnChange told of a change of a record that was last written at a revision
// before it, 0: it was not there. The first lock is held. If nothing was told of the
// record so far, that comes first.
func (r *keeper) tell(c Change, before int64) {
	if r.f.OnChange == nil {
		return
	}
	f := &r.first
	if c.Record != nil && c.Previous != nil && !f.done && before <= f.upto && Prefix+c.Name > f.told {
		r.f.OnChange(Change{Name: c.Name, Record: c.Previous, First: true, Revision: before})
	}
	r.f.OnChange(c)
}

// tellFirst has OnChange told of the records that the table was loaded with, while
// they are served and changed already: the store is read once more, a few at a time,
// so that no second copy of all is ever in memory.
func (r *keeper) tellFirst(ctx context.Context) {
	ctx, _ = store.AllowStale(ctx, 0)
	said := ""
	r.first.room = make([]byte, 0, pageRoom)
	for r.f.OnChange != nil {
		more, err := r.tellPage(ctx)
		if ctx.Err() != nil || errors.Is(err, store.ErrClosed) {
			return
		}
		if err == nil && !more {
			break
		}
		if err == nil {
			continue
		}
		if said != err.Error() {
			said = err.Error()
			r.f.Logger.Error("reading the records once more failed and is tried again", zap.Error(err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(firstRetry):
		}
	}
	r.first.mu.Lock()
	r.first.done, r.first.room = true, nil
	r.first.mu.Unlock()
	if r.f.OnTold != nil {
		r.f.OnTold()
	}
}

// tellPage tells of the next records, and returns whether there are more. Of what it
// reads it tells only what is as it was loaded: everything else is told as a change.
func (r *keeper) tellPage(ctx context.Context) (more bool, err error) {
	f := &r.first
	res, err := r.store.List(ctx, Prefix, store.ListOptions{After: f.told, Limit: min(firstPage, r.f.PageSize), Uncounted: true, Room: f.room})
	if err == nil && res.Revision < f.upto { // it lacks records
		err = errBehind
	}
	if err != nil || len(res.KeyValues) == 0 {
		return false, err
	}
	// What was read, changed or not, the table must have: a change that comes after
	// the page was passed would find that nothing had been told of its record.
	newest, table := int64(0), r.f.Table
	records := make([]decoded, len(res.KeyValues))
	for i := range res.KeyValues {
		e := &res.KeyValues[i]
		newest = max(newest, e.Revision)
		if e.Err == nil && e.Revision <= f.upto {
			records[i].record, records[i].err = decodeBrief(e.Key, e.Value)
		}
	}
	if err := table.WaitRevision(ctx, newest); err != nil {
		return false, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range res.KeyValues {
		e, record := &res.KeyValues[i], records[i].record
		if record == nil {
			continue
		}
		if h, ok := table.own(record.Spec.Name); ok && h.Revision == e.Revision && h.Name() == strings.TrimPrefix(e.Key, Prefix) {
			r.f.OnChange(Change{Name: record.Name, Record: record, First: true, Revision: e.Revision})
		}
	}
	f.told = res.KeyValues[len(res.KeyValues)-1].Key
	return res.More, nil
}
