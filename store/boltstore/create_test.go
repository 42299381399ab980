package boltstore_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
)

func TestCreate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "apoxy.db")
	err := boltstore.Create(path, 1000, func(s store.Store) error {
		if err := boltstore.Vacant(path); err != nil {
			t.Errorf("it is there before it is filled: %v", err)
		}
		mustWrite(t, s, set("a", "1"))
		mustWrite(t, s, set("b", "2"))
		err := boltstore.Create(path, 1, nil)
		if !errors.Is(err, boltstore.ErrLocked) {
			t.Errorf("two at a time: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	nothingBeside(t, path)
	s := openAt(t, path, boltstore.Options{})
	if kv, rev, err := s.Get(t.Context(), "b"); err != nil || string(kv.Value) != "2" || kv.Revision != 1002 || rev != 1002 {
		t.Errorf("%+v at %d: %v", kv, rev, err)
	}
	for after, want := range map[int64]error{1: store.ErrExpired, 999: store.ErrExpired, 1002: nil, 1003: store.ErrFutureRevision} {
		if _, err := s.Watch(t.Context(), "", after); !errors.Is(err, want) {
			t.Errorf("watching after %d: %v, want %v", after, err, want)
		}
	}
	if err := boltstore.Create(path, 1, nil); !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), "nothing is ever overwritten") {
		t.Errorf("once more: %v", err)
	}
}

func TestCreateLeavesNothingUnfinished(t *testing.T) {
	path := filepath.Join(t.TempDir(), "apoxy.db")
	broken := errors.New("broken off")
	if err := boltstore.Create(path, 1, func(s store.Store) error { mustWrite(t, s, set("a", "1")); return broken }); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	for _, left := range []string{"", "what a process left that was killed"} {
		if err := os.WriteFile(filepath.Join(filepath.Dir(path), ".apoxy.db.filling"), []byte(left), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := boltstore.Create(path, 1, func(s store.Store) error {
			if _, _, err := s.Get(t.Context(), "a"); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("what was left is there: %v", err)
			}
			return broken
		}); !errors.Is(err, broken) {
			t.Fatal(err)
		}
		entries, err := os.ReadDir(filepath.Dir(path))
		if err != nil || len(entries) != 0 {
			t.Errorf("%v, %v", entries, err)
		}
	}
	// What comes meanwhile is not overwritten.
	err := boltstore.Create(path, 1, func(store.Store) error { return os.WriteFile(path, []byte("mine"), 0o600) })
	if got, _ := os.ReadFile(path); !errors.Is(err, fs.ErrExist) || string(got) != "mine" {
		t.Errorf("%q, %v", got, err)
	}
	nothingBeside(t, path)
}
