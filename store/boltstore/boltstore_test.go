package boltstore

import (
	"path/filepath"
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

func open2(t *testing.T, path string, o Options) *Store {
	t.Helper()
	s, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestSmoke(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "a", "x.db")
	s := open2(t, path, Options{})
	r, err := s.Write(ctx, store.Op{Key: "a/1", Value: []byte("x"), If: store.Absent})
	if err != nil || r != 2 {
		t.Fatal(r, err)
	}
	e, rev, err := s.Get(ctx, "a/1")
	t.Log(e, rev, err)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open2(t, path, Options{})
	e, rev, err = s.Get(ctx, "a/1")
	t.Log(e, rev, err)
	l, err := s.List(ctx, "a/", store.ListOptions{Limit: 1})
	t.Log(l, err)
	_, err = Open(path, Options{})
	t.Log(err)
}
