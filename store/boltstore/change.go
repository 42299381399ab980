package boltstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/pack"
)

// A change in the file has the key
//
//	revision uint64, index uint32 within the revision, big endian
//
// and the value
//
//	checksum uint32, big endian
//	flags    byte
//	uvarint  revision of the value before, 0: there was none or, with
//	         flagDamaged, it is only what the value before was known by
//	uvarint  length of the key, and the key
//	uvarint  how many bytes at the beginning of the value before are the new value's
//	uvarint  how many bytes at its end are
//	the bytes between them; or, with flagPacked, the whole value before as package
//	pack keeps it, if that is shorter
//
// The new value is not there: it is the value before of the next change of the
// same key, or else the present one. The checksum covers all that the change
// says, both values in full, so one that was put together wrongly shows.
const (
	changeKeyBytes = 12
	changeHeader   = 5

	flagLast    = 1 << 0 // it is the last change of its revision
	flagDeleted = 1 << 1 // it deleted the key
	flagDamaged = 1 << 2 // the value before was damaged and is not there
	flagPacked  = 1 << 3 // the value before is packed; as of format 3
	flagsKnown  = flagLast | flagDeleted | flagDamaged | flagPacked
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errNonsense: what stands in the history is no change of ours.
var errNonsense = errors.New("no change of a key")

func encodeChangeKey(rev int64, index int) []byte {
	k := binary.BigEndian.AppendUint64(make([]byte, 0, changeKeyBytes), uint64(rev))
	return binary.BigEndian.AppendUint32(k, uint32(index))
}

func decodeChangeKey(k []byte) (rev int64, index int, err error) {
	if len(k) != changeKeyBytes {
		return 0, 0, fmt.Errorf("%w: a key of %d bytes", errNonsense, len(k))
	}
	rev = int64(binary.BigEndian.Uint64(k))
	if rev < store.FirstRevision {
		return 0, 0, fmt.Errorf("%w: revision %d", errNonsense, rev)
	}
	return rev, int(binary.BigEndian.Uint32(k[8:])), nil
}

func changeFlags(e *store.Event, last bool) byte {
	var flags byte
	if last {
		flags |= flagLast
	}
	if e.Value == nil {
		flags |= flagDeleted
	}
	if e.PreviousErr != nil {
		flags |= flagDamaged
	}
	return flags
}

// changeSum is the checksum of an event that stands at k.
func changeSum(k []byte, flags byte, e *store.Event) uint32 {
	sum := crc32.Update(0, castagnoli, k)
	head := binary.BigEndian.AppendUint64([]byte{flags}, uint64(e.PreviousRevision))
	head = binary.BigEndian.AppendUint32(head, uint32(len(e.Key)))
	head = binary.BigEndian.AppendUint32(head, uint32(len(e.Previous)))
	sum = crc32.Update(sum, castagnoli, head)
	sum = crc32.Update(sum, castagnoli, []byte(e.Key))
	sum = crc32.Update(sum, castagnoli, e.Previous)
	return crc32.Update(sum, castagnoli, e.Value)
}

// changes is what a transaction has changed.
type changes struct {
	events []store.Event
	// packed is for each how package pack keeps its previous value; nil: not at all.
	packed [][]byte
}

// encodeChange encodes what event e says beside its new value; packed is its previous
// value, packed, or nil; last: no more changes of its revision follow.
func encodeChange(k []byte, e *store.Event, packed []byte, last bool) []byte {
	flags := changeFlags(e, last)
	begin, end := shared(e.Previous, e.Value)
	middle := e.Previous[begin : len(e.Previous)-end]
	if packed != nil && len(packed) < len(middle) {
		begin, end, middle = 0, 0, packed
		flags |= flagPacked
	}
	raw := make([]byte, changeHeader, changeHeader+4*binary.MaxVarintLen64+len(e.Key)+len(middle))
	binary.BigEndian.PutUint32(raw, changeSum(k, flags, e))
	raw[4] = flags
	raw = binary.AppendUvarint(raw, uint64(e.PreviousRevision))
	raw = binary.AppendUvarint(raw, uint64(len(e.Key)))
	raw = append(raw, e.Key...)
	raw = binary.AppendUvarint(raw, uint64(begin))
	raw = binary.AppendUvarint(raw, uint64(end))
	return append(raw, middle...)
}

// shared returns how many bytes a and b begin with alike and, of the rest, how
// many they end with alike.
func shared(a, b []byte) (begin, end int) {
	most := min(len(a), len(b))
	const stride = 64
	for begin+stride <= most && bytes.Equal(a[begin:begin+stride], b[begin:begin+stride]) {
		begin += stride
	}
	for begin < most && a[begin] == b[begin] {
		begin++
	}
	a, b, most = a[begin:], b[begin:], most-begin
	for end+stride <= most && bytes.Equal(a[len(a)-end-stride:len(a)-end], b[len(b)-end-stride:len(b)-end]) {
		end += stride
	}
	for end < most && a[len(a)-end-1] == b[len(b)-end-1] {
		end++
	}
	return begin, end
}

// change is one read from the file, before its new value is known.
type change struct {
	event      store.Event // without its values
	index      int
	flags      byte
	sum        uint32
	begin, end uint64
	middle     []byte // in the file
}

func (c *change) last() bool    { return c.flags&flagLast != 0 }
func (c *change) deleted() bool { return c.flags&flagDeleted != 0 }
func (c *change) damaged() bool { return c.flags&flagDamaged != 0 }
func (c *change) packed() bool  { return c.flags&flagPacked != 0 }

func decodeChange(k, raw []byte) (change, error) {
	var c change
	var err error
	if c.event.Revision, c.index, err = decodeChangeKey(k); err != nil {
		return c, err
	}
	if len(raw) < changeHeader || raw[4]&^flagsKnown != 0 {
		return c, fmt.Errorf("%w: revision %d index %d", errNonsense, c.event.Revision, c.index)
	}
	c.sum, c.flags = binary.BigEndian.Uint32(raw), raw[4]
	rest := raw[changeHeader:]
	ok := true
	number := func() uint64 {
		n, size := binary.Uvarint(rest)
		if size <= 0 {
			ok = false
			return 0
		}
		rest = rest[size:]
		return n
	}
	before := number()
	if n := number(); ok && n > 0 && n <= uint64(len(rest)) {
		c.event.Key, rest = string(rest[:n]), rest[n:]
	} else {
		ok = false
	}
	c.begin, c.end = number(), number()
	if !ok || before >= uint64(c.event.Revision) || (before == 0 || c.damaged()) && c.begin|c.end|uint64(len(rest)) != 0 ||
		before == 0 && (c.deleted() || c.damaged()) || c.packed() && (before == 0 || c.damaged() || c.begin|c.end != 0) {
		return c, fmt.Errorf("%w: revision %d index %d", errNonsense, c.event.Revision, c.index)
	}
	c.event.PreviousRevision, c.middle = int64(before), rest
	return c, nil
}

// complete returns the event, given the value that it set; nil: it deleted the
// key.
func (c *change) complete(k, value []byte) (store.Event, error) {
	e := c.event
	e.Value = value
	size := uint64(len(value))
	if (value == nil) != c.deleted() || c.begin > size || c.end > size-c.begin {
		return e, fmt.Errorf("%w: revision %d of key %.60q does not fit what followed", errNonsense, e.Revision, e.Key)
	}
	switch {
	case c.damaged():
		e.PreviousErr = lost(e.Key, e.PreviousRevision)
	case c.packed():
		var err error
		if e.Previous, err = pack.Read(nil, c.middle); err != nil {
			return e, fmt.Errorf("%w: revision %d of key %.60q: %w", errNonsense, e.Revision, e.Key, err)
		}
	case e.PreviousRevision > 0:
		e.Previous = make([]byte, 0, c.begin+uint64(len(c.middle))+c.end)
		e.Previous = append(e.Previous, value[:c.begin]...)
		e.Previous = append(e.Previous, c.middle...)
		e.Previous = append(e.Previous, value[size-c.end:]...)
	}
	if changeSum(k, c.flags, &e) != c.sum {
		return e, fmt.Errorf("%w: revision %d of key %.60q has another checksum", errNonsense, e.Revision, e.Key)
	}
	return e, nil
}

// without returns what is left of the event if the value that it set is damaged. The
// value before cannot be told either, because it is kept as its difference from that.
func (c *change) without(damaged error) store.Event {
	e := c.event
	e.Err = damaged
	if e.PreviousRevision > 0 {
		e.PreviousErr = lost(e.Key, e.PreviousRevision)
	}
	return e
}

// lost says of a value of the past that it cannot be told any more.
func lost(key string, rev int64) error {
	return &store.DamagedError{Key: key, Revision: rev, Reason: "it was damaged, or what followed was"}
}
