package boltstore_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
)

func bolt(t *testing.T, path string, fn func(tx *bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(fn); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// ours makes a store with n entries and closes it.
func ours(t *testing.T, path string, n int) {
	t.Helper()
	s, err := boltstore.Open(path, boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < n; {
		var ops []store.Op
		for ; i < n && len(ops) < 100; i++ {
			ops = append(ops, store.Op{Key: fmt.Sprintf("a/%05d", i*7919%n), Value: bytes.Repeat([]byte{byte(i)}, 300+i%900), If: store.Any})
		}
		if _, err := s.Write(t.Context(), ops...); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(t *testing.T, path string)
		want    error
		says    string
	}{
		"an empty file": {func(t *testing.T, path string) { write(t, path, nil) }, boltstore.ErrCorrupt, "the file is empty"},
		"a text file": {func(t *testing.T, path string) { write(t, path, []byte("{\n\tapoxy\n}\n")) },
			boltstore.ErrCorrupt, "backup"},
		"a large file of something else": {func(t *testing.T, path string) { write(t, path, bytes.Repeat([]byte("SQLite format 3\x00"), 5000)) },
			boltstore.ErrCorrupt, "backup"},
		"a file of zeros": {func(t *testing.T, path string) { write(t, path, make([]byte, 1<<16)) }, boltstore.ErrCorrupt, "backup"},
		"another program's bolt file": {func(t *testing.T, path string) {
			bolt(t, path, func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("acme")); return err })
		}, boltstore.ErrCorrupt, "another program's"},
		"another program's bolt file without a saved list of free pages": {func(t *testing.T, path string) {
			db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoFreelistSync: true})
			if err != nil {
				t.Fatal(err)
			}
			if err := db.Update(func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("acme")); return err }); err != nil {
				t.Fatal(err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
		}, boltstore.ErrCorrupt, "another program's"},
		"a newer format": {func(t *testing.T, path string) {
			ours(t, path, 10)
			bolt(t, path, func(tx *bbolt.Tx) error { return tx.Bucket([]byte("apoxy")).Put([]byte("format"), []byte("4")) })
		}, boltstore.ErrNewerFormat, "its format is 4, this program knows up to 3"},
		"a format that is no number": {func(t *testing.T, path string) {
			ours(t, path, 10)
			bolt(t, path, func(tx *bbolt.Tx) error { return tx.Bucket([]byte("apoxy")).Put([]byte("format"), []byte("x")) })
		}, boltstore.ErrCorrupt, "format"},
		"a store whose entries are missing": {func(t *testing.T, path string) {
			ours(t, path, 10)
			bolt(t, path, func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte("entries")) })
		}, boltstore.ErrCorrupt, "entries are missing"},
		"a store that was cut off": {func(t *testing.T, path string) {
			ours(t, path, 500)
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(path, info.Size()/3/4096*4096); err != nil {
				t.Fatal(err)
			}
		}, boltstore.ErrCorrupt, "bytes are there of"},
		"a store of which less than a page is left": {func(t *testing.T, path string) {
			ours(t, path, 10)
			if err := os.Truncate(path, 3000); err != nil {
				t.Fatal(err)
			}
		}, boltstore.ErrCorrupt, "3000 bytes"},
		"a store of which one page is left": {func(t *testing.T, path string) {
			ours(t, path, 10)
			if err := os.Truncate(path, 4096); err != nil {
				t.Fatal(err)
			}
		}, boltstore.ErrCorrupt, "4096 bytes"},
		"a store with both meta pages damaged": {func(t *testing.T, path string) {
			ours(t, path, 10)
			damage(t, path, func(b []byte) { b[16+40]++; b[4096+16+40]++ })
		}, boltstore.ErrCorrupt, "backup"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "apoxy.db")
			c.prepare(t, path)
			before := sum(t, path)
			s, err := boltstore.Open(path, boltstore.Options{LockTimeout: 50 * time.Millisecond})
			if err == nil {
				_ = s.Close()
				t.Fatal("was opened")
			}
			if !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
			if msg := err.Error(); !strings.Contains(msg, c.says) || !strings.Contains(msg, path) || strings.Contains(msg, "\n") {
				t.Errorf("error %q does not say %q and %q in one line", msg, c.says, path)
			}
			if sum(t, path) != before {
				t.Error("the file was changed")
			}
			if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
				t.Errorf("%d files lie in the directory, want one", len(left))
			}
			// Nothing holds the file any more.
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			openAt(t, path, boltstore.Options{})
		})
	}
}

func TestOpenRefusesAFileInUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "apoxy.db")
	s := openAt(t, path, boltstore.Options{})
	if _, err := s.Write(t.Context(), store.Op{Key: "a", Value: []byte("1"), If: store.Any}); err != nil {
		t.Fatal(err)
	}
	_, err := boltstore.Open(path, boltstore.Options{LockTimeout: 20 * time.Millisecond})
	if !errors.Is(err, boltstore.ErrLocked) || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v, want ErrLocked with the path", err)
	}
	if _, err := s.Write(t.Context(), store.Op{Key: "a", Value: []byte("2"), If: store.Any}); err != nil {
		t.Errorf("the store in use is disturbed: %v", err)
	}
}

func TestOpenRefusesADirectory(t *testing.T) {
	if _, err := boltstore.Open(t.TempDir(), boltstore.Options{}); err == nil {
		t.Error("was opened")
	}
}

func TestOpenCreatesDirectoriesAndAPrivateFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "not", "there", "apoxy.db")
	openAt(t, path, boltstore.Options{})
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != fs.FileMode(0o600) {
		t.Errorf("mode %v, want 0600", info.Mode())
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("%d files lie in the directory, want one", len(left))
	}
}

func TestOneDamagedMetaPageIsSurvived(t *testing.T) {
	for i := range 2 {
		path := filepath.Join(t.TempDir(), "apoxy.db")
		ours(t, path, 300)
		damage(t, path, func(b []byte) { b[i*4096+16+20] ^= 0xFF })
		s := openAt(t, path, boltstore.Options{})
		if _, err := s.Write(t.Context(), store.Op{Key: "b", Value: []byte("1"), If: store.Any}); err != nil {
			t.Error(err)
		}
	}
}

// TestDamageNeverPanics puts random damage into a store. It is either refused
// with its bytes unchanged, or opened, and then no use of it may panic.
func TestDamageNeverPanics(t *testing.T) {
	whole := filepath.Join(t.TempDir(), "whole.db")
	ours(t, whole, 2000)
	original, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "apoxy.db")
	refused, marked := 0, 0
	const rounds = 75
	for round := range rounds {
		random := rand.New(rand.NewPCG(7, uint64(round)))
		b := bytes.Clone(original)
		switch round % 5 {
		case 0: // single bytes anywhere
			for range 1 + random.IntN(200) {
				b[random.IntN(len(b))] = byte(random.Int())
			}
		case 1: // a page header
			page := 2 + random.IntN(len(b)/4096-2)
			b[page*4096+random.IntN(16)] = byte(random.Int())
		case 2: // the first elements of a page
			page := 2 + random.IntN(len(b)/4096-2)
			for range 8 {
				b[page*4096+16+random.IntN(64)] = byte(random.Int())
			}
		case 3: // one page in another's place
			from, to := random.IntN(len(b)/4096), 2+random.IntN(len(b)/4096-2)
			copy(b[to*4096:(to+1)*4096], b[from*4096:(from+1)*4096])
		case 4: // cut off
			b = b[:random.IntN(len(b))]
		}
		write(t, path, b)
		before := sum(t, path)
		s, err := boltstore.Open(path, boltstore.Options{LockTimeout: time.Second})
		if err != nil {
			refused++
			if !errors.Is(err, boltstore.ErrCorrupt) && !errors.Is(err, boltstore.ErrNewerFormat) {
				t.Errorf("round %d: error %v, want ErrCorrupt", round, err)
			}
			if sum(t, path) != before {
				t.Errorf("round %d: the refused file was changed", round)
			}
			continue
		}
		if res, err := s.List(t.Context(), "", store.ListOptions{}); err == nil && slices.ContainsFunc(res.KeyValues, func(e store.KeyValue) bool { return e.Err != nil }) {
			marked++
		}
		for i := range 5 {
			_, _ = s.Write(t.Context(), store.Op{Key: fmt.Sprintf("a/%05d", i*97), Value: make([]byte, 2000), If: store.Any})
			_, _ = s.Write(t.Context(), store.Op{Key: fmt.Sprintf("a/%05d", i*89), If: store.Any})
		}
		_ = s.Close()
	}
	if refused+marked < rounds/2 {
		t.Errorf("only %d of %d damaged files were refused, and of %d damaged values were marked", refused, rounds, marked)
	}
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func damage(t *testing.T, path string, fn func(b []byte)) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	fn(b)
	write(t, path, b)
}

func sum(t *testing.T, path string) [32]byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(b)
}
