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
)

// sealed is how format 2 keeps a value, put together anew from its description.
func sealed(key string, rev uint64, value string) []byte {
	head := binary.BigEndian.AppendUint64(nil, rev|1<<63)
	covered := append(append(bytes.Clone(head), key...), value...)
	raw := binary.BigEndian.AppendUint32(head, crc32.Update(uint32(len(key)), crc32.MakeTable(crc32.Castagnoli), covered))
	return append(raw, value...)
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
	rev := mustWrite(t, s, set("a/key", "its value"), set("b", ""))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	bolt(t, path, func(tx *bbolt.Tx) error {
		for key, value := range map[string]string{"a/key": "its value", "b": ""} {
			if got, want := tx.Bucket([]byte("entries")).Get([]byte(key)), sealed(key, uint64(rev), value); !bytes.Equal(got, want) {
				t.Errorf("%q is kept as %x, want %x", key, got, want)
			}
		}
		if got := tx.Bucket([]byte("apoxy")).Get([]byte("format")); string(got) != "2" {
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
		"nothing left":                  {},
		"cut off":                       raw[:len(raw)-1],
		"no checksum":                   append(bytes.Clone(raw[:4]), 0, 0, 0, 0, 'z'),
		"less than a checksum":          raw[:9],
		"another key's":                 sealed("b", 5, "z"),
		"a revision that never was":     sealed("a", 1<<40, "z"),
		"a value without a checksum":    append(historyKey(7, 0)[:8], 'z'),
		"something longer in its place": bytes.Repeat([]byte("z"), 5000),
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

// old makes a file of format 1: n values without checksums and no mark.
func old(t *testing.T, path string, n int) {
	t.Helper()
	ours(t, path, n)
	bolt(t, path, func(tx *bbolt.Tx) error {
		meta, b := tx.Bucket([]byte("apoxy")), tx.Bucket([]byte("entries"))
		var keys [][]byte
		if err := b.ForEach(func(k, _ []byte) error { keys = append(keys, bytes.Clone(k)); return nil }); err != nil {
			return err
		}
		for _, k := range keys {
			raw := b.Get(k)
			plain := append(bytes.Clone(raw[:8]), raw[12:]...)
			plain[0] &= 0x7f
			if err := b.Put(k, plain); err != nil {
				return err
			}
		}
		return errors.Join(meta.Put([]byte("format"), []byte("1")), meta.Delete([]byte("sealed")))
	})
}

// unsealed counts the values without a checksum, and tells whether the file says
// that there are none.
func unsealed(t *testing.T, path string) (n int, said bool) {
	t.Helper()
	bolt(t, path, func(tx *bbolt.Tx) error {
		said = tx.Bucket([]byte("apoxy")).Get([]byte("sealed")) != nil
		return tx.Bucket([]byte("entries")).ForEach(func(k, raw []byte) error {
			if raw[0]&0x80 == 0 {
				n++
			} else if rev := binary.BigEndian.Uint64(raw) &^ (1 << 63); !bytes.Equal(raw, sealed(string(k), rev, string(raw[12:]))) {
				t.Errorf("%q has a wrong checksum", k)
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

func TestAFileOfTheFormatBeforeGetsChecksums(t *testing.T) {
	const n = 20000 // some twenty steps
	path := filepath.Join(t.TempDir(), "apoxy.db")
	old(t, path, n)
	reader, err := boltstore.Open(path, boltstore.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	want := wholeOf(t, reader)
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	if left, _ := unsealed(t, path); left != n {
		t.Fatalf("opening for reading changed the file: %d of %d values are without a checksum", left, n)
	}
	// It is gone on with wherever it was interrupted, with writes in between.
	rounds := 0
	for said := false; !said; rounds++ {
		s := openAt(t, path, boltstore.Options{})
		if rounds < 2 { // before much is done, however slow the machine is
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			_, said = unsealed(t, path)
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
		if left, said = unsealed(t, path); said && left != 0 {
			t.Fatalf("the file says that all have a checksum, %d have none", left)
		}
		if rounds > 1000 {
			t.Fatalf("%d values have no checksum yet", left)
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

// TestAddingChecksumsIsKilled kills a process, again and again, that opens a
// file of the format before.
func TestAddingChecksumsIsKilled(t *testing.T) {
	const n = 20000 // some twenty steps
	if path := os.Getenv("SEAL_STORE"); path != "" {
		if _, err := boltstore.Open(path, boltstore.Options{LockTimeout: 10 * time.Second}); err != nil {
			t.Fatal(err)
		}
		fmt.Println("opened")
		select {}
	}
	path := filepath.Join(t.TempDir(), "apoxy.db")
	old(t, path, n)
	before := -1
	for round := 0; ; round++ {
		cmd := exec.Command(os.Args[0], "-test.run=^TestAddingChecksumsIsKilled$", "-test.v")
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
		time.Sleep(time.Duration(round) * 3 * time.Millisecond) // wherever that hits it
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		left, done := unsealed(t, path)
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
			t.Fatalf("round %d: %d values without a checksum, and %d before", round, left, before)
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
