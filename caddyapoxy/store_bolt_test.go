package caddyapoxy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A file has many names. Who reloads with another one of the store in use means
// the store in use, and would else wait for a lock that this process has itself.
func TestAReloadKnowsItsStoreUnderAnotherPath(t *testing.T) {
	w := newWorld(t)
	db := filepath.Join(w.dir, "apoxy.db")
	if err := load(t, w.caddyfile()); err != nil {
		t.Fatal(err)
	}
	rt := running(t).held
	linked, hard, dir := filepath.Join(w.dir, "link.db"), filepath.Join(w.dir, "hard.db"), filepath.Join(t.TempDir(), "dir")
	for _, err := range []error{os.Symlink(db, linked), os.Link(db, hard), os.Symlink(w.dir, dir)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(w.dir)
	check := func(is, path string) {
		t.Helper()
		if err := load(t, strings.Replace(w.caddyfile(), "store bolt "+db, "store bolt "+path, 1)); err != nil {
			t.Fatalf("%s: %v", is, err)
		}
		if now := running(t); now.held != rt || now.store.Key() != rt.key {
			t.Errorf("%s: the store is %s, want %s", is, now.store.Key(), rt.key)
		}
		if n, there := runtimes.References(rt.key); !there || n != 1 {
			t.Errorf("%s: the store has %d users", is, n)
		}
		if !sameStore(rt.key, boltKey+path) && filepath.IsAbs(path) {
			t.Errorf("%s: %s is taken for another store than %s", is, path, rt.key)
		}
	}
	check("a relative path", "./apoxy.db")
	check("a symbolic link", linked)
	check("a hard link", hard)
	check("through a directory that is a link", filepath.Join(dir, "apoxy.db"))
	if err := os.Rename(db, filepath.Join(w.dir, "moved.db")); err != nil {
		t.Fatal(err)
	}
	if err := load(t, strings.Replace(w.caddyfile(), "store bolt "+db, "store bolt "+filepath.Join(w.dir, "moved.db"), 1)); err != nil {
		t.Fatal(err)
	}
	if running(t).held != rt {
		t.Error("a renamed store is opened anew")
	}
	if err := load(t, strings.Replace(w.caddyfile(), "store bolt "+db, "store bolt "+filepath.Join(w.dir, "new.db"), 1)); err != nil {
		t.Fatal(err)
	}
	if running(t).held == rt {
		t.Error("another file is taken for the same store")
	}
	if sameStore(boltKey+hard, boltKey+filepath.Join(w.dir, "new.db")) || sameStore("other:a", boltKey+hard) || !sameStore("other:a", "other:a") {
		t.Error("keys of different stores are taken for those of one")
	}
}
