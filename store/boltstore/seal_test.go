package boltstore_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
	"github.com/apoxy-dev/caddy-apoxy/store/pack"
)

// sealed is how format 2 and, where nothing gets shorter, format 3 keep a value, put
// together anew from its description.
func sealed(key string, rev uint64, value string) []byte { return kept(key, rev|1<<63, value, "") }

// packed is how format 3 keeps a value that gets shorter.
func packed(key string, rev uint64, value string) []byte {
	return kept(key, rev|1<<63|1<<62, string(pack.Value([]byte(value))), value)
}

func kept(key string, head uint64, follows, unpacked string) []byte {
	raw := binary.BigEndian.AppendUint64(nil, head)
	covered := bytes.Join([][]byte{raw, []byte(key), []byte(follows), []byte(unpacked)}, nil)
	raw = binary.BigEndian.AppendUint32(raw, crc32.Update(uint32(len(key)), crc32.MakeTable(crc32.Castagnoli), covered))
	return append(raw, follows...)
}

// flip changes a bit of what the file keeps for key: of the byte at an offset,
// from the end if negative.
func flip(t *testing.T, path, key string, at int) {
	t.Helper()
	bolt(t, path, func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte("entries"))
		raw := bytes.Clone(b.Get([]byte(key)))
		if len(raw) == 0 {
			t.Fatalf("the file has no %q", key)
		}
		raw[(at+len(raw))%len(raw)] ^= 1
		return b.Put([]byte(key), raw)
	})
}

func TestValuesAreKeptAsDescribed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "apoxy.db")
	s := openAt(t, path, boltstore.Options{})
	long := strings.Repeat("its value, again and again, ", 30)
	rev := mustWrite(t, s, set("a/key", "its value"), set("b", ""), set("c", long))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	bolt(t, path, func(tx *bbolt.Tx) error {
		for key, value := range map[string]string{"a/key": "its value", "b": ""} {
			if got, want := tx.Bucket([]byte("entries")).Get([]byte(key)), sealed(key, uint64(rev), value); !bytes.Equal(got, want) {
				t.Errorf("%q is kept as %x, want %x", key, got, want)
			}
		}
		if got, want := tx.Bucket([]byte("entries")).Get([]byte("c")), packed("c", uint64(rev), long); !bytes.Equal(got, want) || len(got) > len(long)/4 {
			t.Errorf("what gets shorter is kept as %x, want %x", got, want)
		}
		if got := tx.Bucket([]byte("apoxy")).Get([]byte("format")); string(got) != "3" {
			t.Errorf("format %q", got)
		}
		return nil
	})
}

// TestEveryDamagedByteShows changes each byte that the file keeps for a key, and
// whatever else may happen to a value. Nothing but that key is touched by it.
func TestEveryDamagedByteShows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "apoxy.db")
	first, last := historical(t, path)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var raw []byte
	bolt(t, path, func(tx *bbolt.Tx) error {
		raw = bytes.Clone(tx.Bucket([]byte("entries")).Get([]byte("a")))
		return nil
	})
	with := map[string][]byte{
		"nothing left":                             {},
		"cut off":                                  raw[:len(raw)-1],
		"no checksum":                              append(bytes.Clone(raw[:4]), 0, 0, 0, 0, 'z'),
		"less than a checksum":                     raw[:9],
		"another key's":                            sealed("b", 5, "z"),
		"another key's, packed":                    packed("b", 5, strings.Repeat("z", 500)),
		"packed, of a revision that never was":     packed("a", 1<<40, strings.Repeat("z", 500)),
		"packed, in an encoding that nobody knows": kept("a", 5|3<<62, "\xffzzzz", "zzzz"),
		"packed, without a checksum of the value":  kept("a", 5|3<<62, string(pack.Value(make([]byte, 500))), ""),
		"packed, and nothing follows":              kept("a", 5|3<<62, "", ""),
		"packed, and says that it has 2 GiB":       kept("a", 5|3<<62, "\x02\xff\xff\xff\xff\x07\x00", ""),
		"a value said to be packed":                kept("a", 5|3<<62, "z", "z"),
		"a revision that never was":                sealed("a", 1<<40, "z"),
		"a value without a checksum":               append(historyKey(7, 0)[:8], 'z'),
		"something longer in its place":            bytes.Repeat([]byte("z"), 5000),
	}
	for i := range raw {
		b := bytes.Clone(raw)
		b[i] ^= 0x40
		with[fmt.Sprint("another byte ", i)] = b
		b = bytes.Clone(raw)
		b[i] ^= 0x80
		with[fmt.Sprint("another bit of byte ", i)] = b
	}
	for name, instead := range with {
		write(t, path, whole)
		bolt(t, path, func(tx *bbolt.Tx) error { return tx.Bucket([]byte("entries")).Put([]byte("a"), instead) })
		s, err := boltstore.Open(path, boltstore.Options{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if e, _, err := s.Get(t.Context(), "a"); !errors.Is(err, store.ErrDamaged) || e.Revision < 1 || e.Revision > last {
			t.Errorf("%s: Get: %+v, %v", name, e, err)
		}
		// The history reaches back as before; what it says of other keys is true.
		for rev := first; rev <= last; rev++ {
			res, err := s.List(t.Context(), "", store.ListOptions{Revision: rev})
			if err != nil {
				t.Fatalf("%s: list at revision %d: %v", name, rev, err)
			}
			for _, e := range res.KeyValues {
				if e.Key == "a" && e.Err == nil || e.Key != "a" && (e.Err != nil || string(e.Value) != "1") {
					t.Errorf("%s: at revision %d: %+v", name, rev, e)
				}
			}
		}
		w, err := s.Watch(t.Context(), "", first)
		if err != nil {
			t.Fatalf("%s: watch: %v", name, err)
		}
		batch, err := w.Next(t.Context())
		if err != nil || batch.Revision != last || len(batch.Events) != 60 {
			t.Errorf("%s: %d events up to %d, %v; want 60 up to %d", name, len(batch.Events), batch.Revision, err, last)
		}
		for _, e := range batch.Events {
			if (e.Key == "a") != (e.Err != nil) {
				t.Errorf("%s: event %+v", name, e)
			}
		}
		mustWrite(t, s, store.Op{Key: "a", If: store.Any})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A damaged key stands at a place that nothing was written to; the change that
// deleted what once was there is whole, and so is the rest of the history.
func TestADamagedKeyHarmsNoHistory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "apoxy.db")
	first, last := historical(t, path)
	bolt(t, path, func(tx *bbolt.Tx) error { return tx.Bucket([]byte("entries")).Put([]byte("b1"), sealed("c1", 9, "z")) })
	s := openAt(t, path, boltstore.Options{})
	res, err := s.List(t.Context(), "b1", store.ListOptions{Revision: last - 1})
	if err != nil || len(res.KeyValues) != 1 || string(res.KeyValues[0].Value) != "1" {
		t.Errorf("b1 before it was deleted: %+v, %v", res.KeyValues, err)
	}
	if _, err := s.Watch(t.Context(), "", first); err != nil {
		t.Error(err)
	}
}

// old makes a file of an earlier format with n values: of format 1, without checksums, or
// of format 2. Nothing is packed in either, and both lack the marks of what came later.
func old(t *testing.T, path string, format, n int) {
	t.Helper()
	ours(t, path, n)
	bolt(t, path, func(tx *bbolt.Tx) error {
		meta, b := tx.Bucket([]byte("apoxy")), tx.Bucket([]byte("entries"))
		var keys [][]byte
		if err := b.ForEach(func(k, _ []byte) error { keys = append(keys, bytes.Clone(k)); return nil }); err != nil {
			return err
		}
		for _, k := range keys {
			rev, value := opened(t, b.Get(k))
			plain := sealed(string(k), rev, string(value))
			if format == 1 {
				plain = append(binary.BigEndian.AppendUint64(nil, rev), value...)
			}
			if err := b.Put(k, plain); err != nil {
				return err
			}
		}
		if format == 1 {
			if err := meta.Delete([]byte("sealed")); err != nil {
				return err
			}
		}
		return errors.Join(meta.Put([]byte("format"), []byte(fmt.Sprint(format))), meta.Delete([]byte("packed")))
	})
}

// opened is what an entry of format 2 or 3 says.
func opened(t *testing.T, raw []byte) (rev uint64, value []byte) {
	t.Helper()
	head := binary.BigEndian.Uint64(raw)
	value = raw[12:]
	if head&(1<<62) != 0 {
		var err error
		if value, err = pack.Read(nil, value); err != nil {
			t.Fatal(err)
		}
	}
	return head &^ (3 << 62), value
}

// outdated counts the values that are not as format 3 keeps them, and tells whether the
// file says that there are none.
func outdated(t *testing.T, path string) (n int, said bool) {
	t.Helper()
	bolt(t, path, func(tx *bbolt.Tx) error {
		meta := tx.Bucket([]byte("apoxy"))
		said = meta.Get([]byte("sealed")) != nil && meta.Get([]byte("packed")) != nil
		return tx.Bucket([]byte("entries")).ForEach(func(k, raw []byte) error {
			if raw[0]&0x80 == 0 {
				n++
				return nil
			}
			rev, value := opened(t, raw)
			want := sealed(string(k), rev, string(value))
			if pack.Value(value) != nil {
				if bytes.Equal(raw, want) {
					n++ // as format 2 keeps it
					return nil
				}
				want = packed(string(k), rev, string(value))
			}
			if !bytes.Equal(raw, want) {
				t.Errorf("%q is kept as %x, want %x", k, raw, want)
			}
			return nil
		})
	})
	return n, said
}

// wholeOf reads all entries without what differs between formats.
func wholeOf(t *testing.T, s store.Store) []string {
	t.Helper()
	res, err := s.List(t.Context(), "", store.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	out := []string{fmt.Sprint("revision ", res.Revision)}
	for _, e := range res.KeyValues {
		out = append(out, fmt.Sprintf("%s %d %x %v", e.Key, e.Revision, e.Value, e.Err))
	}
	return out
}

func TestAFileOfAnEarlierFormatIsBroughtOn(t *testing.T) {
	for _, format := range []int{1, 2} {
		t.Run(fmt.Sprint("format ", format), func(t *testing.T) { isBroughtOn(t, format) })
	}
}

func isBroughtOn(t *testing.T, format int) {
	const n = 20000 // some twenty steps
	path := filepath.Join(t.TempDir(), "apoxy.db")
	old(t, path, format, n)
	reader, err := boltstore.Open(path, boltstore.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	want := wholeOf(t, reader)
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	if left, _ := outdated(t, path); left != n {
		t.Fatalf("opening for reading changed the file: %d of %d values are as they were", left, n)
	}
	// It is gone on with wherever it was interrupted, with writes in between.
	rounds := 0
	for said := false; !said; rounds++ {
		s := openAt(t, path, boltstore.Options{})
		if rounds < 2 { // before much is done, however slow the machine is
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			_, said = outdated(t, path)
			continue
		}
		if got := wholeOf(t, s); !slices.Equal(got, want) {
			t.Fatalf("round %d: other entries than before", rounds)
		}
		watcher, err := s.Watch(t.Context(), "", 0)
		if err != nil {
			t.Fatal(err)
		}
		mustWrite(t, s, set("b", fmt.Sprint(rounds)))
		if b, err := watcher.Next(t.Context()); err != nil || len(b.Events) != 1 {
			t.Errorf("round %d: events %+v, %v", rounds, b.Events, err)
		}
		want = wholeOf(t, s)
		time.Sleep(time.Duration(rounds) * 5 * time.Millisecond) // some steps; how many does not matter
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		var left int
		if left, said = outdated(t, path); said && left != 0 {
			t.Fatalf("the file says that all were brought on, %d were not", left)
		}
		if rounds > 1000 {
			t.Fatalf("%d values are not brought on yet", left)
		}
	}
	if rounds < 2 {
		t.Error("all was done in one round: the steps are too large to be interrupted")
	}
	bolt(t, path, func(tx *bbolt.Tx) error { // it loses the bit that tells of a checksum
		b := tx.Bucket([]byte("entries"))
		raw := bytes.Clone(b.Get([]byte("a/00007")))
		raw[0] &= 0x7f
		return b.Put([]byte("a/00007"), raw)
	})
	s := openAt(t, path, boltstore.Options{})
	if _, _, err := s.Get(t.Context(), "a/00007"); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("a value whose checksum went missing: %v", err)
	}
}

// TestBringingAFileOnIsKilled kills a process, again and again, that opens a
// file of an earlier format.
func TestBringingAFileOnIsKilled(t *testing.T) {
	const n = 8000                                   // some eight steps
	if path := os.Getenv("SEAL_STORE"); path != "" { // the child
		if _, err := boltstore.Open(path, boltstore.Options{LockTimeout: 10 * time.Second}); err != nil {
			t.Fatal(err)
		}
		fmt.Println("opened")
		select {}
	}
	for _, format := range []int{1, 2} {
		t.Run(fmt.Sprint("format ", format), func(t *testing.T) { isKilled(t, format, n) })
	}
}

func isKilled(t *testing.T, format, n int) {
	path := filepath.Join(t.TempDir(), "apoxy.db")
	old(t, path, format, n)
	before := -1
	for round := 0; ; round++ {
		cmd := exec.Command(os.Args[0], "-test.run=^TestBringingAFileOnIsKilled$", "-test.v")
		cmd.Env = append(os.Environ(), "SEAL_STORE="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		said := make([]byte, 4096)
		for got := ""; !strings.Contains(got, "opened"); {
			k, err := out.Read(said)
			if err != nil {
				t.Fatalf("the process ended: %v after %q", err, got)
			}
			got += string(said[:k])
		}
		time.Sleep(time.Duration(round) * 5 * time.Millisecond) // wherever that hits it
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		left, done := outdated(t, path)
		reader, err := boltstore.Open(path, boltstore.Options{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		res, err := reader.List(t.Context(), "", store.ListOptions{})
		if err != nil || len(res.KeyValues) != n || slices.ContainsFunc(res.KeyValues, func(e store.KeyValue) bool { return e.Err != nil }) {
			t.Fatalf("round %d: %d entries, %v", round, len(res.KeyValues), err)
		}
		if err := reader.Close(); err != nil {
			t.Fatal(err)
		}
		if before >= 0 && left > before {
			t.Fatalf("round %d: %d values that are not brought on, and %d before", round, left, before)
		}
		if before = left; done {
			if left != 0 || round == 0 {
				t.Errorf("done in round %d with %d left", round, left)
			}
			return
		}
	}
}

func TestOpenedForReadingAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "apoxy.db")
	if _, err := boltstore.Open(path, boltstore.Options{ReadOnly: true}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that does not exist: %v", err)
	}
	ours(t, path, 10)
	before := sum(t, path)
	s := openAt(t, path, boltstore.Options{ReadOnly: true})
	if _, err := s.Write(t.Context(), set("a", "1")); !errors.Is(err, boltstore.ErrReadOnly) {
		t.Errorf("Write: %v", err)
	}
	other := openAt(t, path, boltstore.Options{ReadOnly: true})
	if got := wholeOf(t, other); len(got) != 11 {
		t.Errorf("%d lines", len(got))
	}
	if _, err := boltstore.Open(path, boltstore.Options{LockTimeout: 10 * time.Millisecond}); !errors.Is(err, boltstore.ErrLocked) {
		t.Errorf("opened for writing beside readers: %v", err)
	}
	if sum(t, path) != before {
		t.Error("the file was changed")
	}
}
