package hosts

import (
	"context"
	"runtime"
	"strings"
	"sync"

	"go.uber.org/zap"
	"k8s.io/apimachinery/pkg/types"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// Prefix is where the store keeps the records.
const Prefix = "domainrecords/"

// Change is one change of one record.
type Change struct {
	// Name is the record's metadata.name.
	Name string
	// Record is the record as it is now; nil: it was deleted.
	Record *v1alpha3.DomainRecord
	// Previous is the record before; nil: there was none, or it is the first
	// that is heard of the record. After a resynchronization a deleted record's
	// Previous holds only what the table knew: metadata and spec. That of a
	// deleted record which could never be read is nil.
	Previous *v1alpha3.DomainRecord
	// Revision is the store's revision of the change.
	Revision int64
}

// Follower says what Follow fills and tells.
type Follower struct {
	// Table is filled. Nobody else may change it.
	Table *Table
	// OnChange is told of every change after the table has it, in order, one
	// at a time; may be nil. While it works the follower waits.
	OnChange func(Change)
	// OnLoaded is called once, when the table first holds all records; may be nil.
	OnLoaded func()
	// PageSize is how many records are read at a time. Default: 1000.
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
	if f.Logger == nil {
		f.Logger = zap.NewNop()
	}
	followed.add(f.Table)
	defer followed.remove(f.Table)
	r := reading{f: &f, store: s}
	return store.Follow(ctx, s, store.Follower{
		Prefix: Prefix, PageSize: f.PageSize,
		Begin: r.begin, Page: r.page, End: r.end,
		Change:  func(e *store.Event) { f.apply(s, e) },
		Reached: r.reached,
		Failed: func(err error) {
			f.Logger.Error("following the records in the store failed and is tried again", zap.Error(err))
		},
	})
}

// reading brings the table to what the store holds at one revision.
type reading struct {
	f     *Follower
	store store.Store
	// left are the hostnames that the table has, by the names of their records,
	// without those that the store still has.
	left   map[string]string
	loaded bool
}

func (r *reading) begin() {
	if r.loaded {
		r.f.Logger.Info("reading all records again: the store's history does not reach from what was read to now")
	}
	r.f.Table.changed.forget()
	r.left = make(map[string]string)
	for h := range r.f.Table.All() {
		r.left[h.Name()] = h.Hostname
	}
}

func (r *reading) page(entries []store.KeyValue) {
	records := decodeAll(entries)
	for i := range entries {
		e := &entries[i]
		name := strings.TrimPrefix(e.Key, Prefix)
		hostname, known := r.left[name]
		delete(r.left, name)
		if records[i].err != nil {
			r.f.unreadable(r.store, e.Key, e.Revision, records[i].err)
			continue
		}
		record := records[i].record
		if known && hostname != record.Spec.Name { // deleted meanwhile, and its name taken
			r.f.forget(name, hostname, e.Revision)
		}
		r.f.synchronizeOne(record, e.Revision)
	}
}

func (r *reading) end(revision int64) {
	for name, hostname := range r.left {
		r.f.forget(name, hostname, revision)
	}
	r.left = nil
	r.f.Table.changed.begin(revision)
}

func (r *reading) reached(revision int64) {
	r.f.Table.progress.Reach(revision)
	if !r.loaded {
		r.loaded = true
		if r.f.OnLoaded != nil {
			r.f.OnLoaded()
		}
	}
}

func (f *Follower) synchronizeOne(r *v1alpha3.DomainRecord, revision int64) {
	var previous *v1alpha3.DomainRecord
	h, known := f.Table.Get(r.Spec.Name)
	switch {
	case known && h.Name() != r.Name: // deleted meanwhile, and its hostname taken
		f.forget(h.Name(), h.Hostname, revision)
	case known && h.Revision == revision:
		return
	case known:
		previous = remembered(h)
	}
	f.Table.Set(FromRecord(r, revision))
	f.tell(Change{Name: r.Name, Record: r, Previous: previous, Revision: revision})
}

// forget takes a record that is gone out of the table, unless its hostname is
// another record's by now.
func (f *Follower) forget(name, hostname string, revision int64) {
	if h, ok := f.Table.Get(hostname); ok && h.Name() == name {
		f.Table.deleteAt(hostname, revision)
		f.tell(Change{Name: name, Previous: remembered(h), Revision: revision})
	}
}

// remembered makes a record of what the table knew.
func remembered(h *Host) *v1alpha3.DomainRecord {
	r := &v1alpha3.DomainRecord{}
	r.Name, r.UID = h.Name(), types.UID(h.UID())
	r.Labels, r.Annotations = h.Labels(), h.Annotations()
	ttl := int32(h.TTL)
	r.Spec.Name, r.Spec.TTL = h.Hostname, &ttl
	if redirect := h.Redirect(); redirect != nil {
		r.Spec.Target.Redirect = redirect.DeepCopy()
	} else {
		r.Spec.Target.Ref = h.Target().Ref()
	}
	if h.TLS {
		r.Spec.TLS = &v1alpha3.DomainRecordTLS{}
	}
	r.Status.Phase = h.Phase()
	return r
}

// apply brings one event into the table.
func (f *Follower) apply(s store.Store, e *store.Event) {
	c := Change{Name: strings.TrimPrefix(e.Key, Prefix), Revision: e.Revision}
	var err error
	if e.Previous != nil {
		if c.Previous, err = decode(e.Key, e.Previous); err != nil {
			f.unreadable(s, e.Key, e.PreviousRevision, err)
		}
	}
	if e.Err != nil {
		f.unreadable(s, e.Key, e.Revision, e.Err)
		return
	}
	if e.Value != nil {
		if c.Record, err = decode(e.Key, e.Value); err != nil {
			f.unreadable(s, e.Key, e.Revision, err)
			return
		}
	}
	switch {
	case c.Record != nil:
		f.Table.Set(FromRecord(c.Record, e.Revision))
	case c.Previous != nil:
		if h, ok := f.Table.Get(c.Previous.Spec.Name); ok && h.Name() == c.Name {
			f.Table.deleteAt(h.Hostname, e.Revision)
		}
	default:
		for h := range f.Table.All() { // what was deleted could not be read
			if h.Name() == c.Name {
				f.Table.deleteAt(h.Hostname, e.Revision)
				c.Previous = remembered(h)
			}
		}
	}
	f.tell(c)
}

func (f *Follower) tell(c Change) {
	if f.OnChange != nil {
		f.OnChange(c)
	}
}

// unreadable has it noted that a record is left as it was.
func (f *Follower) unreadable(s store.Store, key string, revision int64, err error) {
	if !store.Report(s, key, revision, err) {
		f.Logger.Error("a stored record cannot be read and is left out",
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
