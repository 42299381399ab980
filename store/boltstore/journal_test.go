package boltstore_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
)

// historical makes a store with some history, closes it and returns the first
// revision and the last.
func historical(t *testing.T, path string) (first, last int64) {
	t.Helper()
	s := openAt(t, path, boltstore.Options{})
	first = mustWrite(t, s, set("a", "1"))
	for i := range 20 {
		mustWrite(t, s, set("a", strings.Repeat("x", 20*i)), set(fmt.Sprint("b", i%3), "1"))
		last = mustWrite(t, s, store.Op{Key: fmt.Sprint("b", i%3), If: store.Any})
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return first, last
}

func historyKey(rev int64, index uint32) []byte {
	k := binary.BigEndian.AppendUint64(nil, uint64(rev))
	return binary.BigEndian.AppendUint32(k, index)
}

// change lets fn edit what stands at a key of the history.
func change(k []byte, fn func(raw []byte) []byte) func(h, apoxy, entries *bbolt.Bucket) error {
	return func(h, _, _ *bbolt.Bucket) error {
		raw := fn(append([]byte{}, h.Get(k)...))
		if raw == nil {
			return h.Delete(k)
		}
		return h.Put(k, raw)
	}
}

func TestAHistoryThatCannotBeTrueIsDropped(t *testing.T) {
	flip := func(at int) func([]byte) []byte {
		return func(raw []byte) []byte { raw[at] ^= 1; return raw }
	}
	gone := func([]byte) []byte { return nil }
	span := func(floor, upto uint64) []byte {
		return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, floor), upto)
	}
	const last = 42 // as historical leaves it
	for name, edit := range map[string]func(h, apoxy, entries *bbolt.Bucket) error{
		"the last change is missing":                     change(historyKey(last, 0), gone),
		"a revision in the middle is missing":            change(historyKey(10, 0), gone),
		"the last change of a revision is missing":       change(historyKey(11, 1), gone),
		"the first change of a revision is missing":      change(historyKey(11, 0), gone),
		"the first revision is missing":                  change(historyKey(2, 0), gone),
		"a checksum is wrong":                            change(historyKey(10, 0), flip(3)),
		"a change says that more follow":                 change(historyKey(10, 0), flip(4)),
		"a change has unknown flags":                     change(historyKey(10, 0), func(raw []byte) []byte { raw[4] |= 0x80; return raw }),
		"the revision before is wrong":                   change(historyKey(10, 0), flip(5)),
		"a key is wrong":                                 change(historyKey(10, 0), flip(7)),
		"a value before is wrong":                        change(historyKey(last, 0), func(raw []byte) []byte { raw[len(raw)-1] ^= 1; return raw }),
		"a change is cut off":                            change(historyKey(10, 0), func(raw []byte) []byte { return raw[:6] }),
		"a change is empty":                              change(historyKey(10, 0), func([]byte) []byte { return []byte{} }),
		"a change has a length beyond its end":           change(historyKey(10, 0), func(raw []byte) []byte { raw[6] = 0xFF; return raw }),
		"a change stands at a key that is none":          change([]byte("x"), func([]byte) []byte { return []byte("x") }),
		"a change stands beyond the present":             change(historyKey(last+1, 0), func([]byte) []byte { return []byte("x") }),
		"the span is missing":                            func(_, apoxy, _ *bbolt.Bucket) error { return apoxy.Delete([]byte("history")) },
		"the span is too short":                          func(_, apoxy, _ *bbolt.Bucket) error { return apoxy.Put([]byte("history"), []byte("1")) },
		"the span ends before it begins":                 func(_, apoxy, _ *bbolt.Bucket) error { return apoxy.Put([]byte("history"), span(last+1, last)) },
		"the span begins before what is there":           func(_, apoxy, _ *bbolt.Bucket) error { return apoxy.Put([]byte("history"), span(0, last)) },
		"an entry was changed, its revision too":         func(_, _, e *bbolt.Bucket) error { return e.Put([]byte("a"), sealed("a", 7, "z")) },
		"an entry was changed beneath its revision":      func(_, _, e *bbolt.Bucket) error { return e.Put([]byte("a"), sealed("a", last-1, "z")) },
		"a deleted entry is there":                       func(_, _, e *bbolt.Bucket) error { return e.Put([]byte("b1"), sealed("b1", last, "z")) },
		"the bucket holds a bucket":                      func(h, _, _ *bbolt.Bucket) error { _, err := h.CreateBucket(historyKey(last+1, 0)); return err },
		"a program that keeps no history wrote a change": func(_, _, e *bbolt.Bucket) error { return e.SetSequence(last + 1) },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "apoxy.db")
			first, at := historical(t, path)
			if at != last {
				t.Fatalf("the last revision is %d", at)
			}
			bolt(t, path, func(tx *bbolt.Tx) error {
				return edit(tx.Bucket([]byte("history")), tx.Bucket([]byte("apoxy")), tx.Bucket([]byte("entries")))
			})
			s := openAt(t, path, boltstore.Options{})
			for rev := first; rev < at; rev++ {
				if _, err := s.Watch(t.Context(), "", rev); !errors.Is(err, store.ErrExpired) {
					t.Fatalf("watching from revision %d: %v, want ErrExpired", rev, err)
				}
				if _, err := s.List(t.Context(), "", store.ListOptions{Revision: rev}); !errors.Is(err, store.ErrExpired) {
					t.Fatalf("listing at revision %d: %v, want ErrExpired", rev, err)
				}
			}
			// From here on it is kept again.
			begin := mustWrite(t, s, set("c", "1"))
			mustWrite(t, s, set("c", "2"))
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = openAt(t, path, boltstore.Options{})
			w, err := s.Watch(t.Context(), "", begin)
			if err != nil {
				t.Fatal(err)
			}
			if b, err := w.Next(t.Context()); err != nil || len(b.Events) != 1 || string(b.Events[0].Previous) != "1" {
				t.Errorf("%+v, %v; want the change from 1 to 2", b.Events, err)
			}
		})
	}
}

func TestAFileWithoutHistoryOpens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "apoxy.db")
	first, last := historical(t, path)
	bolt(t, path, func(tx *bbolt.Tx) error {
		if err := tx.Bucket([]byte("apoxy")).Delete([]byte("history")); err != nil {
			return err
		}
		return tx.DeleteBucket([]byte("history"))
	})
	s := openAt(t, path, boltstore.Options{})
	if _, err := s.Watch(t.Context(), "", first); !errors.Is(err, store.ErrExpired) {
		t.Errorf("watching from before: %v, want ErrExpired", err)
	}
	if _, err := s.Watch(t.Context(), "", last); err != nil {
		t.Error(err)
	}
	mustWrite(t, s, set("c", "1"))
}

// TestTheHistoryInTheFileIsBounded counts the changes that the file holds.
func TestTheHistoryInTheFileIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "apoxy.db")
	count := func() (n int) {
		bolt(t, path, func(tx *bbolt.Tx) error { n = tx.Bucket([]byte("history")).Stats().KeyN; return nil })
		return n
	}
	fill := func(o boltstore.Options, writes, each int) {
		s := openAt(t, path, o)
		for i := range writes {
			var ops []store.Op
			for j := range each {
				ops = append(ops, set(fmt.Sprint("k", j), fmt.Sprint(i)))
			}
			mustWrite(t, s, ops...)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	fill(boltstore.Options{History: 1000}, 40, 100)
	if n := count(); n < 1000 || n > 1300 {
		t.Errorf("of 1000 changes to keep the file holds %d", n)
	}
	fill(boltstore.Options{History: 50}, 10, 10)
	if n := count(); n < 50 || n > 200 {
		t.Errorf("of 50 changes to keep the file holds %d", n)
	}
	fill(boltstore.Options{HistoryBytes: 30 * 120}, 400, 1)
	if n := count(); n < 20 || n > 200 {
		t.Errorf("of about 30 changes to keep the file holds %d", n)
	}
}
