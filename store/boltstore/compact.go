package boltstore

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"
)

// compactBytes is how much one transaction of Compact writes, about.
const compactBytes = 4 << 20

// compactingSuffix ends the name of the file that is to take another's place.
const compactingSuffix = ".compacting"

// Compact writes the file at path anew without the room in it that is free, and returns
// its sizes in bytes before and after. Everything in it stays as it is, history and damaged
// values included. ErrLocked: somebody has it open. The new file is written beside it,
// compared, flushed and then put in its place, at once; whatever goes wrong before, the
// file is what it was.
func Compact(ctx context.Context, path string) (before, after int64, err error) {
	path, err = filepath.EvalSymlinks(path) // the file is replaced, and not the link
	if err != nil {
		return 0, 0, fmt.Errorf("compacting the store: %w", err)
	}
	// Until the new file is in its place the lock keeps everybody from writing to the old
	// one; who waits for it finds the new one then.
	db, file, err := open(path, DefaultLockTimeout, true)
	if err != nil {
		return 0, 0, err
	}
	defer db.Close()
	if err := guard(path, func() error { _, err := inspect(path, db, file, verifyTime); return err }); err != nil {
		return 0, 0, err
	}
	info, err := file.Stat()
	if err != nil {
		return 0, 0, fmt.Errorf("compacting the store: %w", err)
	}
	tmp := beside(path, compactingSuffix)
	if err := claim(tmp); err != nil {
		return 0, 0, err
	}
	defer func() { _ = os.Remove(tmp) }() // it has its place by then, or is waste
	if err := guard(path, func() error { return rewrite(ctx, db, tmp) }); err != nil {
		return 0, 0, fmt.Errorf("compacting %s: %w", path, err)
	}
	small, err := os.Stat(tmp)
	if err == nil {
		err = os.Chmod(tmp, info.Mode().Perm())
	}
	if err == nil {
		err = own(tmp, info)
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("compacting %s: %w", path, err)
	}
	return info.Size(), small.Size(), syncDir(filepath.Dir(path))
}

// rewrite copies all that db holds into the file tmp, compares it and flushes it.
func rewrite(ctx context.Context, db *bbolt.DB, tmp string) error {
	to, err := bbolt.Open(tmp, 0o600, &bbolt.Options{
		Timeout: DefaultLockTimeout, NoSync: true, NoStatistics: true, FreelistType: bbolt.FreelistMapType, PageSize: db.Info().PageSize,
	})
	if err != nil {
		return err
	}
	err = db.View(func(tx *bbolt.Tx) error {
		err := tx.ForEach(func(name []byte, b *bbolt.Bucket) error { return rewriteBucket(ctx, to, name, b) })
		if err != nil {
			return err
		}
		return to.View(func(other *bbolt.Tx) error { return compare(ctx, tx, other) })
	})
	if err == nil {
		err = to.Sync()
	}
	if closeErr := to.Close(); err == nil {
		err = closeErr
	}
	return err
}

// rewriteBucket copies one of the buckets, none of which holds another.
func rewriteBucket(ctx context.Context, to *bbolt.DB, name []byte, from *bbolt.Bucket) error {
	c := from.Cursor()
	for k, v := c.First(); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := to.Update(func(tx *bbolt.Tx) error {
			grow(tx)
			b, err := tx.CreateBucketIfNotExists(name)
			if err != nil {
				return err
			}
			b.FillPercent = 0.9 // keys come in order
			for size := 0; k != nil && size < compactBytes; k, v = c.Next() {
				if v == nil {
					return fmt.Errorf("%w: in bucket %q there is another", ErrCorrupt, name)
				}
				if err := b.Put(k, v); err != nil {
					return err
				}
				size += len(k) + len(v)
			}
			return b.SetSequence(from.Sequence())
		})
		if err != nil || k == nil {
			return err
		}
	}
}

// compare returns nil if both hold the same.
func compare(ctx context.Context, one, other *bbolt.Tx) error {
	return one.ForEach(func(name []byte, b *bbolt.Bucket) error {
		o := other.Bucket(name)
		if o == nil || o.Sequence() != b.Sequence() {
			return fmt.Errorf("bucket %q was written wrongly: check the disk", name)
		}
		c, d := b.Cursor(), o.Cursor()
		k, v := c.First()
		l, w := d.First()
		for n := 0; k != nil || l != nil; n++ {
			if n%1024 == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			if !bytes.Equal(k, l) || !bytes.Equal(v, w) {
				return fmt.Errorf("bucket %q was written wrongly: check the disk", name)
			}
			k, v = c.Next()
			l, w = d.Next()
		}
		return nil
	})
}
