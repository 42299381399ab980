// Package snapshot carries what a store holds, as of one revision, through a stream
// into another store, of whatever engine. Copies and backups are made of it. It knows
// the contract of store alone, and nothing of what the bytes mean.
//
// # The format
//
// The stream begins with a line of text that names the format and its version:
//
//	apoxy-backup 1
//
// A Zstandard stream (RFC 8878) follows it to the end. What that holds are records:
//
//	kind    byte
//	uvarint length of the key, and the key
//	uvarint length of the value, and the value
//
// The kinds, in the order in which they come:
//
//	h  once: the value is JSON that says which store this was, when, at which revision
//	v  a key and its value, in ascending order of the keys' bytes
//	d  a key whose value was damaged, among those; the value says what was wrong
//	!  in place of all that would follow: whoever wrote the stream had to give up; the
//	   value says why, and the key is "expired" if another attempt may do
//	z  once, the last: the value is the number of v records and of d records, each as
//	   uint64, big endian, and the SHA-256 of all before this record, the line included
//
// Nothing follows the last record. A stream without it was cut off, and one whose
// checksum differs was altered: ErrBroken. The checksum keeps accidents away, and no
// forger. Values may be private keys: whoever keeps a stream keeps it as such.
//
// # Filling a store
//
// Fill writes a stream into a store that is empty. While it does, the store has the key
// FillingKey: whoever finds it knows that the store is not whole (Whole says so), and a
// second Fill, that it may remove what is there and start over. Each write has the
// condition that the key is the writer's own still, so of two at a time one ends. After
// everything was read again and compared, FilledKey takes its place. From its revision on
// the store's history is its own: revisions before are those of another engine, as far as
// anybody remembers some.
package snapshot
