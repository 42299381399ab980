// Package boltstore keeps a store.Store in one bbolt file: the default engine.
// Whatever is acknowledged has been flushed to the disk; writers that come
// together share one flush. Recent changes are kept for watches and for reading
// the past, in memory and, by the same transaction that makes them, in the file:
// they outlive a restart, however it came. The package knows nothing of what the
// bytes mean.
//
// The file holds three buckets. "apoxy" says whose file it is: its key "format"
// holds the format version in decimal, its key "history" the revisions that the
// third bucket reaches from and to, its keys "sealed" and "packed" that every
// value has a checksum and is packed. "entries" maps every key to the revision that it was last written at,
// a checksum and the value, packed if that is shorter (seal.go has the layout); the bucket's sequence is the
// store's revision. A value whose checksum does not hold is marked where it is
// read and keeps neither the store from opening nor anything else from its work.
// "history" holds the recent changes, each without its new value (change.go has the
// layout). A history that does not fit the entries, such as after a program without
// one has written to the file, is dropped; it never keeps a store from opening.
//
// Goroutines: the committer writes, one transaction for all who wait (write.go), brings
// values to the present format (seal.go) and, between two groups, has a compacted file
// take the old one's place (shrink.go). Beside it the pages that were left at the opening
// are looked at (inspection.go), and whether to compact is asked (due.go).
package boltstore
