// Package mirror keeps a copy of a store that is elsewhere on this machine's disk, so that
// a node that is cut off from it can start, answer and show what it last knew. The copy
// is read where store.AllowStale permits it and the store does not answer in time, and
// nowhere else: whoever decides something asks the store.
//
// The copy is a bbolt file of its own that follows the store's changes. It is never
// synced while it is used: after a crash of the machine, and where it cannot be read, it
// is thrown away and made anew. It has no value that store.Ephemeral names.
//
// A value is kept as
//
//	revision uint64, big endian
//	checksum uint32, CRC-32C over key, revision and plain value, big endian
//	the value, compressed with zstd
package mirror
