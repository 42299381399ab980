package hosts

import (
	"context"
	"runtime"
	"strings"
	"sync"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// Prefix is where the store keeps the records.
const Prefix = "domainrecords/"

// Follower says what Follow fills and tells.
type Follower struct {
	// Table is filled. Nobody else may change it.
	Table *Table
	// OnChange is told of every record that the table was loaded with, and of every
	// change after the table has it, in order, one at a time; may be nil. While it
	// works the follower waits.
	OnChange func(Change)
	// OnLoaded is called once, when the table first holds all records; may be nil.
	// OnChange is told of them afterwards.
	OnLoaded func()
	// OnTold is called once, after OnChange was told of all records that the table
	// was loaded with; may be nil.
	OnTold func()
	// PageSize is how many records are read at a time. Default: 256.
	PageSize int
	// Logger gets records that cannot be read. Default: none.
	Logger *zap.Logger
}

// Follow fills the table with all records and keeps it up with the store until
// the context ends or the store is closed, and returns that error; it goes on
// over every other. When it has fallen behind the store's history it reads
// everything again and tells the differences.
//
// A record that is damaged or cannot be decoded is logged and left as it was: at
// the start it is not served, for nothing of it can be believed; while running,
// the last state that was read stays in force until a whole one takes its place,
// the record is deleted, or the process starts anew.
func Follow(ctx context.Context, s store.Store, f Follower) error {
	if f.PageSize <= 0 {
		f.PageSize = pageRecords
	}
	if f.Logger == nil {
		f.Logger = zap.NewNop()
	}
	followed.add(f.Table)
	defer followed.remove(f.Table)
	ctx, cancel := context.WithCancel(ctx)
	var telling sync.WaitGroup
	defer telling.Wait()
	defer cancel()
	r := keeper{f: &f, store: s}
	defer r.load.wait()
	return store.Follow(ctx, s, store.Follower{
		Prefix: Prefix, PageSize: f.PageSize,
		Begin: r.begin, Room: r.room, Page: r.page, End: r.end,
		Change: r.change,
		Reached: func(revision int64) {
			f.Table.through.Store(nil) // before anybody is told that it is read
			f.Table.progress.Reach(revision)
			if !r.loaded {
				r.loaded = true
				r.first.upto = revision
				if f.OnLoaded != nil {
					f.OnLoaded()
				}
				telling.Go(func() { r.tellFirst(ctx) })
			}
		},
		Failed: func(err error) {
			f.Logger.Error("following the records in the store failed and is tried again", zap.Error(err))
		},
	})
}

// keeper brings the table to what the store holds, and tells of it.
type keeper struct {
	f     *Follower
	store store.Store
	// left are the hostnames that the table has, by the names of their records,
	// without those that the store still has, while all is read.
	left   map[string]string
	loaded bool
	load   loading
	// first is how far the records of the load are told. Its lock is held while
	// anything is told, or the table changed that tells.
	first firsts
}

func (r *keeper) begin() {
	if r.loaded {
		r.f.Logger.Info("reading all records again: the store's history does not reach from what was read to now")
	}
	r.f.Table.changed.forget()
	r.load.wait() // for what was read before reading failed
	if !r.loaded {
		r.load.ready(r.f.Table)
	}
	r.left = make(map[string]string)
	for h := range r.f.Table.All() {
		r.left[h.Name()] = h.Hostname
	}
}

// room returns the memory of the next page's values; nil once the table was loaded: what
// changes is told whole.
func (r *keeper) room() []byte {
	if r.loaded {
		return nil
	}
	return r.load.room()
}

func (r *keeper) page(entries []store.KeyValue) {
	if !r.loaded {
		r.load.page(r, entries)
		return
	}
	records := decodeAll(entries)
	r.first.mu.Lock()
	defer r.first.mu.Unlock()
	for i := range entries {
		e := &entries[i]
		name := strings.TrimPrefix(e.Key, Prefix)
		hostname, known := r.left[name]
		delete(r.left, name)
		if records[i].err != nil {
			r.unreadable(e.Key, e.Revision, records[i].err)
			continue
		}
		record := records[i].record
		if known && hostname != record.Spec.Name { // deleted meanwhile, and its name taken
			r.forget(name, hostname, e.Revision)
		}
		r.synchronizeOne(record, e.Revision)
	}
}

func (r *keeper) end(revision int64) {
	r.load.wait()
	r.load.done()
	r.first.mu.Lock()
	defer r.first.mu.Unlock()
	for name, hostname := range r.left {
		r.forget(name, hostname, revision)
	}
	r.left = nil
	r.f.Table.changed.begin(revision)
}

func (r *keeper) synchronizeOne(record *v1alpha3.DomainRecord, revision int64) {
	c := Change{Name: record.Name, Record: record, Revision: revision}
	h, known := r.f.Table.own(record.Spec.Name)
	before := int64(0)
	switch {
	case known && h.Name() != record.Name: // deleted meanwhile, and its hostname taken
		r.forget(h.Name(), h.Hostname, revision)
	case known && h.Revision == revision:
		return
	case known:
		c.Previous, before = remembered(h), h.Revision
	}
	r.f.Table.Set(FromRecord(record, revision))
	r.tell(c, before)
}

// forget takes a record that is gone out of the table, unless its hostname is
// another record's by now.
func (r *keeper) forget(name, hostname string, revision int64) {
	if h, ok := r.f.Table.own(hostname); ok && h.Name() == name {
		r.f.Table.deleteAt(hostname, revision)
		if r.loaded {
			r.tell(Change{Name: name, Previous: remembered(h), Revision: revision}, h.Revision)
		}
	}
}

// change brings one event into the table and tells of it.
func (r *keeper) change(e *store.Event) {
	r.first.mu.Lock()
	defer r.first.mu.Unlock()
	c := Change{Name: strings.TrimPrefix(e.Key, Prefix), Revision: e.Revision}
	var err error
	if e.Previous != nil {
		if c.Previous, err = decode(e.Key, e.Previous); err != nil {
			r.unreadable(e.Key, e.PreviousRevision, err)
		}
	}
	if e.Err != nil {
		r.unreadable(e.Key, e.Revision, e.Err)
		return
	}
	if e.Value != nil {
		if c.Record, err = decode(e.Key, e.Value); err != nil {
			r.unreadable(e.Key, e.Revision, err)
			return
		}
	}
	table := r.f.Table
	switch {
	case c.Record != nil:
		table.Set(FromRecord(c.Record, e.Revision))
	case c.Previous != nil:
		if h, ok := table.own(c.Previous.Spec.Name); ok && h.Name() == c.Name {
			table.deleteAt(h.Hostname, e.Revision)
		}
	default:
		for h := range table.All() { // what was deleted could not be read
			if h.Name() == c.Name {
				table.deleteAt(h.Hostname, e.Revision)
				c.Previous = remembered(h)
			}
		}
	}
	r.tell(c, e.PreviousRevision)
}

// unreadable has it noted that a record is left as it was.
func (r *keeper) unreadable(key string, revision int64, err error) {
	if !store.Report(r.store, key, revision, err) {
		r.f.Logger.Error("a stored record cannot be read and is left out",
			zap.String("key", key), zap.Int64("revision", revision), zap.Error(err))
	}
}

type decoded struct {
	record *v1alpha3.DomainRecord
	err    error
}

// decodeAll decodes on all cores.
func decodeAll(entries []store.KeyValue) []decoded {
	out := make([]decoded, len(entries))
	workers := min(runtime.GOMAXPROCS(0), 1+len(entries)/64)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w * len(entries) / workers; i < (w+1)*len(entries)/workers; i++ {
				if out[i].err = entries[i].Err; out[i].err == nil {
					out[i].record, out[i].err = decode(entries[i].Key, entries[i].Value)
				}
			}
		})
	}
	wg.Wait()
	return out
}
