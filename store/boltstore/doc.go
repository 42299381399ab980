// Package boltstore keeps a store.Store in one bbolt file: the default engine.
// Whatever is acknowledged has been flushed to the disk; writers that come
// together share one flush. Recent changes are kept in memory for watches and
// for reading the past, and end with the process: after a restart only the
// present revision can be watched from. The package knows nothing of what the
// bytes mean.
//
// The file holds two buckets. "apoxy" says whose file it is: its key "format"
// holds the format version in decimal. "entries" maps every key to eight
// big-endian bytes of the revision that it was last written at, followed by the
// value; the bucket's sequence is the store's revision.
package boltstore
