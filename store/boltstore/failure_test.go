package boltstore

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// TestNothingIsWrittenAfterACommitFailed takes the file away under bbolt, as a
// failing disk would.
func TestNothingIsWrittenAfterACommitFailed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "apoxy.db")
	s, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	rev, err := s.Write(t.Context(), store.Op{Key: "a", Value: []byte("1"), If: store.Any})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.file.Load().file.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err := s.Write(t.Context(), store.Op{Key: "a", Value: []byte("2"), If: store.Any})
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Fatalf("Write: %v, want an error with the path", err)
		}
	}
	if _, err := s.Write(t.Context(), store.Op{Key: "b", Value: []byte("2"), If: store.Any}); err == nil || !strings.Contains(err.Error(), "opened anew") {
		t.Errorf("Write: %v, want an error that says what helps", err)
	}
	if e, now, err := s.Get(t.Context(), "a"); err != nil || string(e.Value) != "1" || now != rev {
		t.Errorf("Get: %s at %d, %v; want what was acknowledged", e.Value, now, err)
	}
	if _, err := s.Watch(t.Context(), "", rev); err != nil {
		t.Errorf("Watch: %v", err)
	}
	_ = s.Close() // complains of the file that is closed already
	if _, err := s.Write(t.Context(), store.Op{Key: "a", Value: []byte("3"), If: store.Any}); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Write after Close: %v, want ErrClosed", err)
	}
	again, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if e, _, err := again.Get(t.Context(), "a"); err != nil || string(e.Value) != "1" {
		t.Errorf("after opening anew: %s, %v; want what was acknowledged", e.Value, err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

// TestPanicsAndFaultsAreErrors holds that guard catches what bbolt does on
// damaged pages.
func TestPanicsAndFaultsAreErrors(t *testing.T) {
	var nobody *Store
	for name, f := range map[string]func() error{
		"a panic": func() error { panic("page 7 is no leaf") },
		"a fault": func() error { return errors.New(nobody.path) },
	} {
		err := guard("x.db", f)
		if !errors.Is(err, ErrCorrupt) || !errors.Is(err, errPanic) || !strings.Contains(err.Error(), "x.db") {
			t.Errorf("%s gives %v", name, err)
		}
	}
}
