package mirror

import (
	"bytes"
	"context"

	"go.etcd.io/bbolt"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// list is List at the copy's revision.
func (r *replica) list(ctx context.Context, prefix string, o store.ListOptions) (res store.ListResult, err error) {
	err = r.view(func(b *bbolt.Bucket, rev int64) error {
		if o.Revision != 0 && o.Revision != rev {
			return store.ErrExpired
		}
		res.Revision = rev
		c := b.Cursor()
		from := []byte(prefix)
		if o.After >= prefix && o.After != "" {
			from = append([]byte(o.After), 0)
		}
		begins := func(key []byte) bool { return key != nil && bytes.HasPrefix(key, []byte(prefix)) }
		k, raw := c.Seek(from)
		for ; begins(k) && (o.Limit <= 0 || len(res.KeyValues) < o.Limit); k, raw = c.Next() {
			kv, err := decode(string(k), raw)
			if err != nil {
				return err
			}
			res.KeyValues = append(res.KeyValues, kv)
		}
		if !begins(k) {
			return nil
		}
		res.More = true
		if o.Uncounted {
			return nil
		}
		if left, ok := r.counts.after(count{prefix: prefix, last: o.After, revision: rev}); ok {
			res.Remaining = left - int64(len(res.KeyValues))
		}
		if res.Remaining <= 0 { // it is not known, or the copy has changed under the same revision
			for res.Remaining = 0; begins(k); k, _ = c.Next() {
				if res.Remaining++; res.Remaining%1000 == 0 && ctx.Err() != nil {
					return ctx.Err()
				}
			}
		}
		r.counts.add(count{prefix: prefix, last: res.KeyValues[len(res.KeyValues)-1].Key, revision: rev, left: res.Remaining})
		return nil
	})
	return res, err
}

// read is Read at the copy's revision.
func (r *replica) read(keys []string, revision int64) (kvs []store.KeyValue, at int64, err error) {
	err = r.view(func(b *bbolt.Bucket, rev int64) error {
		if revision != 0 && revision != rev {
			return store.ErrExpired
		}
		at = rev
		for _, key := range keys {
			raw := b.Get([]byte(key))
			if raw == nil {
				continue
			}
			kv, err := decode(key, raw)
			if err != nil {
				return err
			}
			kvs = append(kvs, kv)
		}
		return nil
	})
	return kvs, at, err
}

// count is how many keys of a prefix are left after the last of a page.
type count struct {
	prefix, last string
	revision     int64
	left         int64
}

// counts are the latest of them, so that reading on does not count all the rest again at
// each page.
type counts struct {
	latest [16]count
	next   int
}

// after is how many keys were left where a page of c ended.
func (cs *counts) after(c count) (left int64, ok bool) {
	for _, known := range cs.latest {
		if c.last != "" && known.last == c.last && known.prefix == c.prefix && known.revision == c.revision {
			return known.left, true
		}
	}
	return 0, false
}

func (cs *counts) add(c count) {
	cs.latest[cs.next] = c
	cs.next = (cs.next + 1) % len(cs.latest)
}
