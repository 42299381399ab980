package boltstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"time"

	"go.etcd.io/bbolt"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/pack"
)

// An entry in the file has its key, and the value
//
//	head     uint64, big endian: the revision, with the highest bit set, and
//	         the one below it if the value is packed
//	checksum uint32, big endian: CRC-32C of head, key, what follows and, if it
//	         is packed, the value, which does not begin from 0 but from the
//	         length of the key
//	the value, as it is or as package pack keeps it
//
// Format 2 packed nothing, and format 1 had neither bit nor checksum. What they
// wrote is read as it is until the committer has come by, which adds checksums
// and packs a bounded number at a time beside other writes; when it is through,
// bucketMeta says so, and a value without a checksum is a damaged one from then on.
const (
	revisionBytes = 8
	sealBytes     = revisionBytes + 4
	sealedBit     = 1 << 63
	packedBit     = 1 << 62
)

var (
	// keySealed, in bucketMeta, is there once every value has a checksum.
	keySealed   = []byte("sealed")
	valueSealed = []byte("all")
	// keyPacked, in bucketMeta, is there once every value is packed that gets shorter.
	keyPacked   = []byte("packed")
	valuePacked = []byte("all")
)

// bucket is the one of the entries in a transaction.
type bucket struct {
	*bbolt.Bucket
	// sealed: every value has a checksum.
	sealed bool
}

// encodeValue returns the entry of a value; packed is what pack.Value makes of it.
func encodeValue(key string, rev int64, value, packed []byte) []byte {
	head, kept, unpacked := uint64(rev)|sealedBit, value, []byte(nil)
	if packed != nil {
		head, kept, unpacked = head|packedBit, packed, value
	}
	raw := make([]byte, sealBytes+len(kept))
	binary.BigEndian.PutUint64(raw, head)
	copy(raw[sealBytes:], kept)
	binary.BigEndian.PutUint32(raw[revisionBytes:], sealSum([]byte(key), raw, unpacked))
	return raw
}

// sealSum is the checksum of a raw value with a head; unpacked is the value if raw has
// it packed.
func sealSum(key, raw, unpacked []byte) uint32 {
	sum := crc32.Update(uint32(len(key)), castagnoli, raw[:revisionBytes])
	sum = crc32.Update(sum, castagnoli, key)
	sum = crc32.Update(sum, castagnoli, raw[sealBytes:])
	return crc32.Update(sum, castagnoli, unpacked)
}

// packedIn returns what package pack has kept in an entry; nil: the value is not packed.
func packedIn(raw []byte) []byte {
	if len(raw) < sealBytes || raw[0]&(sealedBit>>56) == 0 || raw[0]&(packedBit>>56) == 0 {
		return nil
	}
	return raw[sealBytes:]
}

// revision returns the revision of an entry: that which it is known by if it is damaged.
func (b bucket) revision(raw []byte) int64 {
	if len(raw) < revisionBytes {
		return store.FirstRevision
	}
	head := binary.BigEndian.Uint64(raw)
	if head&sealedBit != 0 {
		head &^= sealedBit | packedBit
	}
	if head < uint64(store.FirstRevision) || head > b.Sequence() {
		return store.FirstRevision
	}
	return int64(head)
}

// decode returns the revision and the value of what stands at key. The value outlives
// the transaction and is never nil: that would mean deleted. The error is a
// *store.DamagedError; the revision is then the one that the entry is known by, and
// there is no value.
func (b bucket) decode(key, raw []byte) (int64, []byte, error) { return b.decodeIn(nil, key, raw) }

// decodeIn is decode into room, if that is not nil and large enough.
func (b bucket) decodeIn(room, key, raw []byte) (int64, []byte, error) {
	rev := b.revision(raw)
	damaged := func(reason string) (int64, []byte, error) {
		return rev, nil, &store.DamagedError{Key: string(key), Revision: rev, Reason: reason}
	}
	if len(raw) < revisionBytes {
		return damaged(fmt.Sprintf("of what was kept %d bytes are left", len(raw)))
	}
	head := binary.BigEndian.Uint64(raw)
	if head&sealedBit == 0 {
		switch {
		case b.sealed:
			return damaged("its checksum is missing")
		case head != uint64(rev):
			return damaged(fmt.Sprintf("it says that it was written at revision %d of %d", head, b.Sequence()))
		}
		return rev, cloneIn(room, raw[revisionBytes:]), nil
	}
	if len(raw) < sealBytes {
		return damaged("its checksum does not hold")
	}
	kept, unpacked := raw[sealBytes:], []byte(nil)
	if head&packedBit != 0 {
		var err error
		if unpacked, err = pack.Read(room, kept); err != nil {
			return damaged(err.Error())
		}
	}
	if sealSum(key, raw, unpacked) != binary.BigEndian.Uint32(raw[revisionBytes:]) {
		return damaged("its checksum does not hold")
	}
	if at := head &^ (sealedBit | packedBit); at != uint64(rev) {
		return damaged(fmt.Sprintf("it says that it was written at revision %d of %d", at, b.Sequence()))
	}
	if head&packedBit == 0 {
		unpacked = cloneIn(room, kept)
	}
	return rev, unpacked, nil
}

// What one step of adding checksums and packing reads at most, and the pause between two.
const (
	sealStepEntries = 1024
	sealStepBytes   = 1 << 20
	sealPause       = 10 * time.Millisecond
)

// upgrade makes a file of an earlier format one of this, so that an earlier
// program, which would take a checksum for a part of the value, or a packed value
// for the value, refuses it.
func upgrade(db *bbolt.DB) error {
	err := db.Update(func(tx *bbolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		if version, err := strconv.Atoi(string(meta.Get(keyFormat))); err == nil && version >= format {
			return errUnchanged
		}
		return meta.Put(keyFormat, []byte(strconv.Itoa(format)))
	})
	if errors.Is(err, errUnchanged) {
		return nil
	}
	return err
}

// upgraded reports whether every value in the file has a checksum, and whether every one
// is packed.
func upgraded(tx *bbolt.Tx) (sealed, packed bool) {
	meta := tx.Bucket(bucketMeta)
	return meta != nil && string(meta.Get(keySealed)) == string(valueSealed),
		meta != nil && string(meta.Get(keyPacked)) == string(valuePacked)
}

// sealer is how far the committer has come with adding checksums and packing.
type sealer struct {
	after []byte // the last key that was looked at
	pause *time.Timer
}

// due yields when the next step is; nil, never, once nothing is left to do.
func (s *sealer) due() <-chan time.Time {
	if s.pause == nil {
		return nil
	}
	return s.pause.C
}

// seal packs the next values, and adds checksums to those that have none, in one transaction.
// Neither their revisions nor the store's change, and no change is told.
func (s *Store) seal() {
	_, _, lost := s.hist.State()
	if lost != nil {
		s.sealer.pause = nil
		return
	}
	var after []byte
	done, applied := false, false
	err := guard(s.path, func() error {
		return s.file.Load().db.Update(func(tx *bbolt.Tx) error {
			grow(tx)
			b := bucket{Bucket: tx.Bucket(bucketEntries)}
			unsealed, last := b.unsealed(s.sealer.after)
			after, done = last, last == nil
			for _, u := range unsealed {
				if err := b.Put(u.key, u.raw); err != nil {
					return err
				}
			}
			if done {
				meta := tx.Bucket(bucketMeta)
				if err := errors.Join(meta.Put(keySealed, valueSealed), meta.Put(keyPacked, valuePacked)); err != nil {
					return err
				}
			} else if len(unsealed) == 0 {
				return errUnchanged
			}
			applied = true
			return nil
		})
	})
	switch {
	case err != nil && !errors.Is(err, errUnchanged):
		s.sealer.pause = nil // gone on with when the file is opened next
		s.log.Warn("bringing what an earlier version wrote to the present format failed", zap.String("file", s.path), zap.Error(err))
		s.failed(fmt.Errorf("bringing %s to format %d: %w", s.path, format, err), applied)
	case done:
		s.sealer.pause = nil
		s.sealed.Store(true)
		s.log.Info("every stored value is in the present format now", zap.String("file", s.path))
	case applied:
		s.sealer.after = after
		s.sealer.pause.Reset(sealPause)
	default: // all were done before a restart: on to the next
		s.sealer.after = after
		s.sealer.pause.Reset(0)
	}
}

type unsealed struct{ key, raw []byte }

// unsealed returns, of the entries that follow the key after, those of one step
// that have no checksum or can be packed, brought to the present format; and the last
// key of the step, nil at the end.
func (b bucket) unsealed(after []byte) (found []unsealed, last []byte) {
	c := b.Cursor()
	k, raw := c.Seek(after)
	if k != nil && string(k) == string(after) {
		k, raw = c.Next()
	}
	for n, size := 0, 0; k != nil && n < sealStepEntries && size < sealStepBytes; k, raw = c.Next() {
		n++
		size += len(k) + len(raw)
		last = append(last[:0], k...)
		if len(raw) < revisionBytes || packedIn(raw) != nil {
			continue
		}
		rev, value, err := b.decode(k, raw)
		if err != nil {
			continue // what is damaged stays so
		}
		if packed := pack.Value(value); packed != nil || raw[0]&0x80 == 0 {
			key := string(k)
			found = append(found, unsealed{[]byte(key), encodeValue(key, rev, value, packed)})
		}
	}
	if k == nil {
		return found, nil
	}
	return found, last
}
