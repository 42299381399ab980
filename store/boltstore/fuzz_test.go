package boltstore

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/pack"
)

// FuzzChange reads anything as a change in the history of a file. What fits the
// value that followed is written as it was read, but for how much the two values
// are said to share; and a change that is written is read as the same.
func FuzzChange(f *testing.F) {
	for _, e := range []store.Event{
		{Revision: 7, Key: "a/b", Value: []byte("new"), Previous: nil},
		{Revision: 8, Key: "a/b", Value: []byte("newer value"), PreviousRevision: 7, Previous: []byte("older value")},
		{Revision: 9, Key: "a/b", PreviousRevision: 8, Previous: []byte("gone")},
		{Revision: 9, Key: "a/b", Value: []byte{}, PreviousRevision: 8, Previous: []byte{}},
		{Revision: 9, Key: "a/b", Value: []byte("1"), PreviousRevision: 8, Previous: bytes.Repeat([]byte("abcd"), 100)},
	} {
		k := encodeChangeKey(e.Revision, 3)
		f.Add(k, encodeChange(k, &e, pack.Value(e.Previous), true), e.Value, e.Value == nil)
	}
	f.Add(encodeChangeKey(5, 0), []byte("\x00\x00\x00\x00\x00\x04\x01a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x02x"), []byte("x"), false)
	f.Fuzz(func(t *testing.T, k, raw, value []byte, deleted bool) {
		if value == nil {
			value = []byte{}
		}
		if deleted {
			value = nil
		}
		c, err := decodeChange(k, raw)
		if err != nil {
			return
		}
		e, err := c.complete(k, value)
		if err != nil {
			// A right checksum is hard to guess: have it written.
			e.Previous = nil
			if e.PreviousRevision > 0 {
				e.Previous = bytes.Clone(c.middle)
			}
			if e.Value = value; e.Value == nil && e.PreviousRevision == 0 {
				return // what was not there cannot be deleted
			}
		}
		again := encodeChange(k, &e, pack.Value(e.Previous), c.last())
		d, err := decodeChange(k, again)
		if err != nil {
			t.Fatalf("%x: %+v is written as %x, which is %v", raw, e, again, err)
		}
		back, err := d.complete(k, e.Value)
		if diff := cmp.Diff(e, back, cmp.Comparer(sameBytes)); err != nil || diff != "" || d.last() != c.last() || d.index != c.index {
			t.Fatalf("%+v is written as %x and read as %+v (%v)", e, again, back, err)
		}
	})
}

// sameBytes tells nil, which is deleted or not there, from empty.
func sameBytes(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }
