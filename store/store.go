// Package store is the contract that everything kept across restarts is kept
// under: an ordered map from keys to bytes with one monotonically rising
// revision, conditional atomic writes and a watch from any recent revision. It
// knows nothing of what the bytes mean, and its engines (boltstore, etcdstore)
// know nothing of who calls them. storetest holds the suite that every engine
// passes.
//
// The keyspace, by first segment; each belongs to one room:
//
//	domainrecords/NAME    the record as JSON (apiserver, controller)
//	hostnames/HOST        the name of the record that holds a hostname (apiserver)
//	released/HOST         the last verified holder of a hostname (ownership; written by apiserver and controller)
//	rrsets/ZONE/…         RRsets put into a zone through libdns or by a challenge (dnsprovider)
//	certificates/HOST     what is known of a stored certificate (issuance)
//	ledger/…              until when a CA, account or name must be left alone (issuance)
//	storage/…             what Caddy stores: certificates, keys, accounts (certstorage)
//	storage-locks/NAME    locks of storage, held in the session of a node; storage-keys/ID which encryption keys are in use (certstorage)
//	webhooks/queue/…      events that an endpoint is to be told of; webhooks/state/… how it fares (webhook)
//	setup/key             what links to set-up pages are signed with (setup)
//	domainconnect/key     the key pair that signs links to DNS providers (domainconnect)
//	timelines/UID         what became of a record (timeline)
//	nodes/NAME            a live node, mail/FROM/TO what one tells another, members/NAME all that there were (cluster)
//	identity/store        which store this is (store/mirror)
//	snapshot/…            that the store was filled from a copy or a backup, or is being filled (store/snapshot)
//
// Ephemeral tells which keys stay behind when a store is copied.
package store

import (
	"context"
	"errors"
	"fmt"
)

var (
	// ErrNotFound: no such key.
	ErrNotFound = errors.New("not found")
	// ErrExpired: the revision is older than the history that is kept. Read
	// the present state and begin again from its revision.
	ErrExpired = errors.New("revision is no longer kept")
	// ErrFutureRevision: the revision has not been reached yet.
	ErrFutureRevision = errors.New("revision lies in the future")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("store is closed")
	// ErrUnavailable: the engine cannot be reached or takes nothing at present; the
	// same may succeed later. See UnavailableError, which wraps it.
	ErrUnavailable = errors.New("the store is not available")
	// ErrDamaged: what is kept for the key is not what was written there. See
	// DamagedError, which wraps it.
	ErrDamaged = errors.New("stored value is damaged")
)

// ConflictError says which condition of a Write did not hold.
type ConflictError struct {
	// Key is the key whose condition failed.
	Key string
	// Revision is the revision that the key has instead; 0: it does not exist.
	Revision int64
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("key %q stands at revision %d", e.Key, e.Revision)
}

// UnavailableError says why an engine cannot do its work at present. It wraps
// ErrUnavailable.
type UnavailableError struct {
	// Engine is what is not available, such as "etcd at 192.0.2.1:2379".
	Engine string
	// Reason is a sentence without a full stop: what was seen and, if anybody but
	// time can mend it, how.
	Reason string
	// Unknown: it was a Write, and may have been written all the same.
	Unknown bool
}

func (e *UnavailableError) Error() string {
	if e.Unknown {
		return fmt.Sprintf("%s: %s; whether this was written is not known", e.Engine, e.Reason)
	}
	return e.Engine + ": " + e.Reason
}

func (e *UnavailableError) Unwrap() error { return ErrUnavailable }

// FirstRevision is that of an empty store, so that a List always has a revision
// that a Watch can go on from: 0 would mean the present.
const FirstRevision int64 = 1

// KeyValue is a key with its value.
type KeyValue struct {
	Key   string
	Value []byte
	// Revision is the store's revision at which the key was last written. That
	// of a damaged one may be wrong, but is the one that Op.If compares with.
	Revision int64
	// Err says that the value is damaged and wraps ErrDamaged; Value is nil
	// then. Nil: the value is what was written.
	Err error
}

// Conditions on a key's present revision, for Op.If; every other value above
// zero asks for exactly that revision.
const (
	// Any puts no condition on the key.
	Any int64 = -1
	// Absent asks that the key does not exist.
	Absent int64 = 0
)

// Op is one change, or with Check set one condition alone, of a Write.
type Op struct {
	Key string
	// Value is what the key is set to; nil deletes it. Deleting a key that
	// does not exist is no error and changes nothing.
	Value []byte
	// If is the condition: Any, Absent or a revision.
	If int64
	// Check makes the Op a condition only: nothing is written at Key.
	Check bool
}

// ListOptions narrow a List.
type ListOptions struct {
	// After skips keys up to and including this one; empty: from the start.
	After string
	// Limit bounds the number of key-values; 0: all.
	Limit int
	// Revision asks for the state as it was exactly then; 0: now. Older than
	// the history: ErrExpired; above the present: ErrFutureRevision.
	Revision int64
	// Uncounted: Remaining is of no use to the caller and may be left 0.
	Uncounted bool
	// Room: values may be put into its capacity, rather than into memory of their own, and
	// end when the caller uses it again. Nil: each value stays.
	Room []byte
}

// ListResult is what a List found.
type ListResult struct {
	// KeyValues in the order of their keys' bytes.
	KeyValues []KeyValue
	// Revision is the store's revision that they were read at.
	Revision int64
	// More is true if Limit cut the list; Remaining is how many are left.
	More      bool
	Remaining int64
}

// Event is one change of one key.
type Event struct {
	Key string
	// Value is the new value; nil, unless Err is set: the key was deleted.
	Value []byte
	// Previous is the value before; nil, unless PreviousErr is set: the key did
	// not exist.
	Previous []byte
	// PreviousRevision is the revision of Previous; 0: the key did not exist.
	PreviousRevision int64
	// Revision is the store's revision of this change. Changes of one Write
	// share it.
	Revision int64
	// Err says that the new value is damaged, and PreviousErr that the one
	// before is; both wrap ErrDamaged, and Value or Previous is nil then.
	Err, PreviousErr error
}

// Batch is what a Watcher hands over: the events since the last, oldest first.
type Batch struct {
	Events []Event
	// Revision is up to where everything under the prefix has been handed
	// over: at least that of the last event, more when only other keys changed.
	Revision int64
}

// Watcher yields changes in their order, each exactly once. It holds no buffer
// of its own that a slow reader could let grow.
type Watcher interface {
	// Next waits for changes. ErrExpired: the reader fell behind the history
	// and must start again; ErrClosed: the store, or the watcher, was closed;
	// otherwise the context's error. A Batch may hold no events when only Revision moved on.
	// The Writes of one revision are never split over two batches.
	Next(ctx context.Context) (Batch, error)
	// Close releases what the watch holds.
	Close()
}

// Store keeps key-values. All methods are safe for concurrent use; values handed
// in or out must not be modified afterwards.
//
// An engine keeps a checksum with every value, over key, value and revision,
// and compares it whenever it reads. A value whose checksum does not hold is
// damaged. Its bytes are never handed out, and it harms nothing but itself: the
// store opens, and every other key, List, Watch and the history go on.
type Store interface {
	// Get returns the key-value at key and the store's present revision.
	// ErrNotFound if there is none (the revision is valid even then). For a
	// damaged value the error is a *DamagedError; the key-value then has Key,
	// Revision and Err, and the revision is valid.
	Get(ctx context.Context, key string) (KeyValue, int64, error)
	// List returns the key-values whose keys begin with prefix, those with a
	// damaged value among them, with Err set.
	List(ctx context.Context, prefix string, o ListOptions) (ListResult, error)
	// Read returns the key-values at keys, in their order and without those that do
	// not exist, as they were at a revision, 0: now, and that revision. Errors and
	// damaged values are as in List.
	Read(ctx context.Context, keys []string, revision int64) ([]KeyValue, int64, error)
	// Write applies all ops atomically, or none, and returns the revision they
	// share, once they are on disk (bolt) or held by a quorum (etcd). A Write
	// that changes nothing returns the present revision. *ConflictError if a
	// condition does not hold. Keys must not be empty nor repeat. A damaged
	// value is deleted and overwritten like any other.
	Write(ctx context.Context, ops ...Op) (int64, error)
	// Watch yields every change under prefix after the given revision; 0: from
	// the present on. ErrExpired and ErrFutureRevision as in List. A change
	// whose value was damaged since is told with Err or PreviousErr set.
	Watch(ctx context.Context, prefix string, after int64) (Watcher, error)
	// Close ends watches and releases the engine. Acknowledged writes are kept.
	Close() error
}
