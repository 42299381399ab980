// Package certstorage is a certmagic.Storage over a store.Store: certificates, private
// keys, accounts, staples and locks of Caddy's lie where records do, so that a cluster
// needs one engine only. It knows the contract of both sides and what certmagic's locks
// protect, and neither records nor Caddy.
//
// In the store:
//
//	storage/KEY         a value: header, and what Caddy stored, sealed if there is a key (value.go)
//	storage-keys/ID     a key of encryption was in use (keyring.go, start.go)
//	storage-locks/NAME  a lock, held in a session of its node (lease.go)
//
// Storage.Store → ready (are all keys at hand?) → conditions of the locks that the key
// belongs to (fence.go) → seal → one Write. Locks of one store are shared by all its
// Storages: a mutex per name in this process first, then, in an engine that several
// processes share, a key in the store. Locks.mu guards the table of locks and is never
// held over a call.
package certstorage
