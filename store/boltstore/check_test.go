package boltstore_test

import (
	"encoding/binary"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
)

func TestCheck(t *testing.T) {
	path := filepath.Join(t.TempDir(), "apoxy.db")
	ours(t, path, 500)
	look := func() (found []string) {
		t.Helper()
		s, err := boltstore.Open(path, boltstore.Options{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if err := s.Check(t.Context(), func(what string) error { found = append(found, what); return nil }); err != nil {
			t.Fatal(err)
		}
		return found
	}
	if found := look(); len(found) != 0 {
		t.Errorf("a sound file: %q", found)
	}
	before := sum(t, path)
	look()
	if sum(t, path) != before {
		t.Error("looking changed the file")
	}
	// The list of free pages loses its last: nothing else would ever notice.
	damage(t, path, func(b []byte) {
		newest := 0
		if binary.NativeEndian.Uint64(b[4096+16+48:]) > binary.NativeEndian.Uint64(b[16+48:]) {
			newest = 4096
		}
		list := b[4096*binary.NativeEndian.Uint64(b[newest+16+32:]):]
		n := binary.NativeEndian.Uint16(list[10:])
		if n == 0 {
			t.Fatal("no page is free")
		}
		binary.NativeEndian.PutUint16(list[10:], n-1)
	})
	if found := look(); len(found) != 1 || !strings.Contains(found[0], "unreachable unfreed") {
		t.Errorf("a page that is lost: %q", found)
	}
	stop := errors.New("enough")
	s, err := boltstore.Open(path, boltstore.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Check(t.Context(), func(string) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("an error of tell: %v", err)
	}
	_ = s.Close()
	if err := openAt(t, filepath.Join(t.TempDir(), "other.db"), boltstore.Options{}).Check(t.Context(), nil); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a store that is written to: %v", err)
	}
}
