package boltstore

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
)

// What Shrink copies, in its order: all there is, what was written meanwhile, the rest.

type pair struct{ k, v []byte }

// copy copies what a bucket holds after a key, a bounded part at a time.
func (sh *shrinking) copy(ctx context.Context, name, after []byte) error {
	for done := false; !done; {
		began := time.Now()
		var pairs []pair
		err := sh.from.db.View(func(tx *bbolt.Tx) error {
			b := tx.Bucket(name)
			if b == nil {
				done = true
				return nil
			}
			c := b.Cursor()
			k, v := c.Seek(after)
			if k != nil && after != nil && bytes.Equal(k, after) {
				k, v = c.Next()
			}
			size := 0
			for ; k != nil && len(pairs) < shrinkEntries && size < shrinkBytes; k, v = c.Next() {
				if v == nil {
					return fmt.Errorf("%w: in bucket %q there is another", ErrCorrupt, name)
				}
				pairs = append(pairs, pair{bytes.Clone(k), clone(v)})
				size += len(k) + len(v)
			}
			done = k == nil
			return nil
		})
		if err == nil && len(pairs) > 0 {
			after = pairs[len(pairs)-1].k
			err = sh.put(name, pairs)
		}
		if err != nil {
			return err
		}
		if bytes.Equal(name, bucketHistory) {
			sh.past = after
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(shrinkPause * time.Since(began)):
		}
	}
	return nil
}

// put writes pairs into a bucket of the new file; one without a value is deleted.
func (sh *shrinking) put(name []byte, pairs []pair) error {
	err := sh.to.db.Update(func(tx *bbolt.Tx) error {
		grow(tx)
		b, err := tx.CreateBucketIfNotExists(name)
		if err != nil {
			return err
		}
		b.FillPercent = 0.9 // most come in order
		return putAll(b, pairs)
	})
	for i := range pairs {
		sh.unflushed += len(pairs[i].k) + len(pairs[i].v)
	}
	if err == nil && sh.unflushed >= shrinkFlush {
		sh.unflushed = 0
		err = sh.to.db.Sync()
	}
	return err
}

func putAll(b *bbolt.Bucket, pairs []pair) error {
	for _, p := range pairs {
		var err error
		if p.v == nil {
			err = b.Delete(p.k)
		} else {
			err = b.Put(p.k, p.v)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// catchUp copies what was written meanwhile, until that is little, and flushes.
func (sh *shrinking) catchUp(ctx context.Context) error {
	for range shrinkRounds {
		keys := sh.touched.take()
		for n := 0; len(keys) > 0; keys = keys[n:] {
			n = min(len(keys), shrinkEntries)
			pairs, err := sh.present(keys[:n])
			if err == nil {
				err = sh.put(bucketEntries, pairs)
			}
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				return err
			}
		}
		if err := sh.copy(ctx, bucketHistory, sh.past); err != nil {
			return err
		}
		if err := sh.to.db.Sync(); err != nil {
			return err
		}
		sh.touched.mu.Lock()
		left := len(sh.touched.keys)
		sh.touched.mu.Unlock()
		if left <= shrinkFew {
			return nil
		}
	}
	return errOutrun
}

// present reads what the old file has for keys.
func (sh *shrinking) present(keys []string) ([]pair, error) {
	pairs := make([]pair, 0, len(keys))
	err := sh.from.db.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketEntries)
		for _, k := range keys {
			pairs = append(pairs, pair{[]byte(k), bytes.Clone(b.Get([]byte(k)))})
		}
		return nil
	})
	return pairs, err
}

// rest writes what is left to the new file, and flushes it.
func (sh *shrinking) rest(pairs []pair) error {
	sh.to.db.NoSync = false
	return sh.from.db.View(func(from *bbolt.Tx) error {
		return sh.to.db.Update(func(to *bbolt.Tx) error {
			grow(to)
			b, err := to.CreateBucketIfNotExists(bucketEntries)
			if err == nil {
				err = putAll(b, pairs)
			}
			if err == nil {
				err = b.SetSequence(from.Bucket(bucketEntries).Sequence())
			}
			if err != nil {
				return err
			}
			if err := sh.restOfHistory(from, to); err != nil {
				return err
			}
			meta, err := to.CreateBucketIfNotExists(bucketMeta)
			if err != nil {
				return err
			}
			return from.Bucket(bucketMeta).ForEach(func(k, v []byte) error { return meta.Put(k, v) })
		})
	})
}

// restOfHistory copies the changes after those that were copied; what became waste
// meanwhile is swept like any other.
func (sh *shrinking) restOfHistory(from, to *bbolt.Tx) error {
	b := from.Bucket(bucketHistory)
	if b == nil {
		return nil
	}
	into, err := to.CreateBucketIfNotExists(bucketHistory)
	if err != nil {
		return err
	}
	c := b.Cursor()
	for k, v := c.Seek(sh.past); k != nil; k, v = c.Next() {
		if err := into.Put(k, v); err != nil {
			return err
		}
	}
	return nil
}
