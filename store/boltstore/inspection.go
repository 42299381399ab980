package boltstore

import (
	"fmt"
	"runtime"
	"strconv"
	"time"

	"go.etcd.io/bbolt"
	"go.uber.org/zap"
)

// What one step of the inspection reads at most, and how much longer than a step the
// pause after it is: a fifth of one core, and of the disk, is for it at most.
const (
	inspectLeaves = 256
	inspectPause  = 4
)

// inspectRest looks at the pages that there was no time for when the file was opened, some
// at a time. Of damage it has the store take no more writes, which could destroy more: at
// the opening the file would have been refused.
func (s *Store) inspectRest() {
	for _, name := range [][]byte{bucketEntries, bucketHistory} {
		for from, done := []byte(nil), false; !done; {
			began := time.Now()
			var err error
			if from, err = s.inspectSome(name, from); err != nil {
				s.log.Error("the store's file is damaged and takes no more writes: put a backup in its place",
					zap.String("file", s.path), zap.ByteString("bucket", name), zap.Error(err))
				s.hist.Lose(fmt.Errorf("%s: %w: %w; %s", s.path, ErrCorrupt, err, mend))
				return
			}
			done = from == nil
			select {
			case <-s.stop:
				return
			case <-time.After(inspectPause * time.Since(began)):
			}
		}
	}
}

// inspectSome looks at the next pages of a bucket, from that of a key on, and returns the
// key to go on from; nil: there is nothing left.
func (s *Store) inspectSome(name, from []byte) (next []byte, err error) {
	err = s.view(func(b bucket) error {
		tx := b.Tx()
		in := s.file.Load()
		if b.Bucket = tx.Bucket(name); b.Bucket == nil || b.Root() == 0 || tx.DB() != in.db {
			return nil // of a file that was compacted meanwhile all pages are new
		}
		pageSize := tx.DB().Info().PageSize
		next, err = verifySome(in.file, pageSize, uint64(tx.Size())/uint64(pageSize), uint64(b.Root()), from, inspectLeaves)
		return err
	})
	return next, err
}

// mapped is how much address space the file is mapped into from the start, in bytes: it
// is moved when it outgrows that, and then writers wait for readers. It is not memory.
func mapped(readOnly bool) int {
	if readOnly || strconv.IntSize < 64 || runtime.GOOS == "windows" {
		return 0 // windows makes the file as large
	}
	return 16 << 30
}

// Bounds of how much a file grows by at a time, which is a sixteenth.
const (
	leastGrowth = 256 << 10
	mostGrowth  = 16 << 20
)

// grow has bbolt lengthen the file by what suits its size, if the transaction has to.
func grow(tx *bbolt.Tx) {
	tx.DB().AllocSize = int(min(max(tx.Size()/16, leastGrowth), mostGrowth))
}
