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
)

// An entry in the file has its key, and the value
//
//	head     uint64, big endian: the revision, with the highest bit set
//	checksum uint32, big endian: CRC-32C of head, key and value, which does
//	         not begin from 0 but from the length of the key
//	the value
//
// Format 1 had neither the bit nor the checksum. What it wrote is read as it is
// until the committer has come by, which adds checksums a bounded number at a
// time beside other writes; when it is through, bucketMeta says so, and a value
// without a checksum is a damaged one from then on.
const (
	revisionBytes = 8
	sealBytes     = revisionBytes + 4
	sealedBit     = 1 << 63
)

var (
	// keySealed, in bucketMeta, is there once every value has a checksum.
	keySealed   = []byte("sealed")
	valueSealed = []byte("all")
)

// bucket is the one of the entries in a transaction.
type bucket struct {
	*bbolt.Bucket
	// sealed: every value has a checksum.
	sealed bool
}

func encodeValue(key string, rev int64, value []byte) []byte {
	raw := make([]byte, sealBytes+len(value))
	binary.BigEndian.PutUint64(raw, uint64(rev)|sealedBit)
	copy(raw[sealBytes:], value)
	binary.BigEndian.PutUint32(raw[revisionBytes:], sealSum([]byte(key), raw))
	return raw
}

// sealSum is the checksum of a raw value with a head.
func sealSum(key, raw []byte) uint32 {
	sum := crc32.Update(uint32(len(key)), castagnoli, raw[:revisionBytes])
	sum = crc32.Update(sum, castagnoli, key)
	return crc32.Update(sum, castagnoli, raw[sealBytes:])
}

// decode returns the revision and the value, which lies in raw, of what stands
// at key. The error is a *store.DamagedError; the revision is then the one that
// the entry is known by, and there is no value.
func (b bucket) decode(key, raw []byte) (int64, []byte, error) {
	damaged := func(rev int64, reason string) (int64, []byte, error) {
		if rev < store.FirstRevision || rev > int64(b.Sequence()) {
			rev = store.FirstRevision
		}
		return rev, nil, &store.DamagedError{Key: string(key), Revision: rev, Reason: reason}
	}
	if len(raw) < revisionBytes {
		return damaged(0, fmt.Sprintf("of what was kept %d bytes are left", len(raw)))
	}
	head := binary.BigEndian.Uint64(raw)
	rev, value := int64(head&^sealedBit), raw[revisionBytes:]
	if head&sealedBit != 0 {
		if len(raw) < sealBytes || sealSum(key, raw) != binary.BigEndian.Uint32(raw[revisionBytes:]) {
			return damaged(rev, "its checksum does not hold")
		}
		value = raw[sealBytes:]
	} else if b.sealed {
		return damaged(rev, "its checksum is missing")
	}
	if rev < store.FirstRevision || rev > int64(b.Sequence()) {
		return damaged(rev, fmt.Sprintf("it says that it was written at revision %d of %d", rev, b.Sequence()))
	}
	return rev, value, nil
}

// What one step of adding checksums reads at most, and the pause between two.
const (
	sealStepEntries = 1024
	sealStepBytes   = 1 << 20
	sealPause       = 10 * time.Millisecond
)

// upgrade makes a file of an earlier format one of this, so that an earlier
// program, which would take a checksum for a part of the value, refuses it.
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

// allSealed reports whether every value in the file has a checksum.
func allSealed(tx *bbolt.Tx) bool {
	meta := tx.Bucket(bucketMeta)
	return meta != nil && string(meta.Get(keySealed)) == string(valueSealed)
}

// sealer is how far the committer has come with adding checksums.
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

// seal adds checksums to the next values that have none, in one transaction.
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
		return s.db.Update(func(tx *bbolt.Tx) error {
			b := bucket{Bucket: tx.Bucket(bucketEntries)}
			unsealed, last := b.unsealed(s.sealer.after)
			after, done = last, last == nil
			for _, u := range unsealed {
				if err := b.Put(u.key, u.raw); err != nil {
					return err
				}
			}
			if done {
				if err := tx.Bucket(bucketMeta).Put(keySealed, valueSealed); err != nil {
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
		s.log.Warn("adding checksums to what an earlier version wrote failed", zap.String("file", s.path), zap.Error(err))
		s.failed(fmt.Errorf("adding checksums in %s: %w", s.path, err), applied)
	case done:
		s.sealer.pause = nil
		s.sealed.Store(true)
		s.log.Info("every stored value has a checksum now", zap.String("file", s.path))
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
// that have no checksum, with one; and the last key of the step, nil at the end.
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
		if len(raw) < revisionBytes || raw[0]&0x80 != 0 {
			continue
		}
		if rev, value, err := b.decode(k, raw); err == nil { // what is damaged stays so
			key := string(k)
			found = append(found, unsealed{[]byte(key), encodeValue(key, rev, value)})
		}
	}
	if k == nil {
		return found, nil
	}
	return found, last
}
