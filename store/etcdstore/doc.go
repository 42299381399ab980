// Package etcdstore keeps a store.Store in etcd, below a prefix: the engine of a cluster
// of nodes. Whatever is acknowledged is held by a quorum of etcd's members. Every read
// is linearizable: it sees what any node's acknowledged write wrote before it began. The
// revision is etcd's own, which other users of the same etcd move on, too.
//
// One watch per process feeds the history that all watchers pull from. It resumes over
// broken connections and changes of leader. When etcd has compacted what it would need,
// or the history is bounded, watchers that are behind get store.ErrExpired.
//
// A value is kept as
//
//	checksum uint32, CRC-32C over key and plain value, big endian
//	encoding byte: 0 plain, 1 zstd
//	the value, plain or compressed
//
// The revision is not in the checksum, because etcd chooses it. Values from a size on
// are compressed, if that saves an eighth.
//
// A session is a lease that this process keeps alive at whichever member answers.
//
// Each write also sets a key of the engine's own, its slot, by which it is seen whether
// the write was done (see slot). So a write that is not answered is sent again, to other
// members, and one that failed is kept from being done later: the slot is set to
// something else before anything else succeeds. The way of a write is
//
//	Write → transaction (pure) → change: takes a slot → send: up to three attempts
//	      → release: the slot is free, or left to probe, which settles it
//
// The engine's own keys lie below the prefix and .etcdstore/, where no user of the store
// sees them, and vanish an hour after their process.
//
// Every call is bounded. One that etcd does not answer in time fails with
// store.ErrUnavailable, and until etcd answers again all others do at once.
package etcdstore
