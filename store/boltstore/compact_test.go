package boltstore_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
)

// roomy makes a file with much free room, a history and a damaged value.
func roomy(t *testing.T) (path string, from, upto int64) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "apoxy.db")
	s := openAt(t, path, boltstore.Options{History: 50})
	random := rand.NewChaCha8([32]byte{})
	for i := range 1000 {
		noise := make([]byte, 5000) // that does not get shorter
		_, _ = random.Read(noise)   // it cannot fail
		from = mustWrite(t, s, set(fmt.Sprint("k", i), string(noise)), set("counter", fmt.Sprint(i)))
	}
	for i := range 990 {
		upto = mustWrite(t, s, store.Op{Key: fmt.Sprint("k", i), If: store.Any})
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	flip(t, path, "k995", -1)
	return path, from, upto
}

// told is all that a store tells: its values, and what has changed after a revision.
func told(t *testing.T, path string, after int64) string {
	t.Helper()
	s := openAt(t, path, boltstore.Options{ReadOnly: true})
	defer s.Close()
	list, err := s.List(t.Context(), "", store.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w, err := s.Watch(t.Context(), "", after)
	if err != nil {
		t.Fatal(err)
	}
	changes, err := w.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%+v\n%+v", list, changes)
}

func TestCompactChangesNothingButTheSize(t *testing.T) {
	path, from, upto := roomy(t)
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	want := told(t, path, upto-20)
	link := filepath.Join(t.TempDir(), "link.db")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	before, after, err := boltstore.Compact(t.Context(), link)
	info, statErr := os.Stat(path)
	if err != nil || statErr != nil || after > before/4 || info.Size() != after || info.Mode().Perm() != 0o640 {
		t.Fatalf("from %d to %d bytes, %v, %v", before, after, info, err)
	}
	if l, err := os.Lstat(link); err != nil || l.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link is replaced: %v, %v", l, err)
	}
	if got := told(t, path, upto-20); got != want {
		t.Errorf("it tells\n%.2000s\nand told\n%.2000s", got, want)
	}
	s := openAt(t, path, boltstore.Options{ReadOnly: true})
	if _, err := s.Watch(t.Context(), "", from); !errors.Is(err, store.ErrExpired) {
		t.Errorf("what the history did not hold: %v", err)
	}
	if err := s.Check(t.Context(), func(what string) error { return errors.New(what) }); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if rev := mustWrite(t, openAt(t, path, boltstore.Options{}), set("more", "x")); rev != upto+1 {
		t.Errorf("it goes on at revision %d after %d", rev, upto)
	}
	nothingBeside(t, path)
}

// nothingBeside looks for files that were left beside one.
func nothingBeside(t *testing.T, path string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != filepath.Base(path) {
			t.Errorf("%s was left there", e.Name())
		}
	}
}

func TestCompactIsRefused(t *testing.T) {
	path, _, upto := roomy(t)
	want := told(t, path, upto-20)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := boltstore.Compact(ctx, path); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	nothingBeside(t, path)
	if got := told(t, path, upto-20); got != want {
		t.Error("interrupted, it has changed")
	}
	s := openAt(t, path, boltstore.Options{})
	if _, _, err := boltstore.Compact(t.Context(), path); !errors.Is(err, boltstore.ErrLocked) {
		t.Errorf("in use: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := boltstore.Compact(t.Context(), path+"x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	other := filepath.Join(t.TempDir(), "other.db")
	if err := os.WriteFile(other, []byte(strings.Repeat("no store ", 4000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := boltstore.Compact(t.Context(), other); !errors.Is(err, boltstore.ErrCorrupt) {
		t.Errorf("another file: %v", err)
	}
	nothingBeside(t, other)
}

// Who waits for a file that is replaced meanwhile gets the one that is there then: what
// it wrote to the other would be lost.
func TestAFileThatIsReplacedWhileItIsWaitedFor(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Log("who waits is seen on Linux alone")
	}
	dir := t.TempDir()
	path, next := filepath.Join(dir, "apoxy.db"), filepath.Join(dir, "next.db")
	old := openAt(t, path, boltstore.Options{})
	if s := openAt(t, next, boltstore.Options{}); mustWrite(t, s, set("a", "new")) == 0 || s.Close() != nil {
		t.Fatal("making the new file")
	}
	type result struct {
		s   *boltstore.Store
		err error
	}
	opened := make(chan result, 1)
	go func() {
		s, err := boltstore.Open(path, boltstore.Options{LockTimeout: time.Minute})
		opened <- result{s, err}
	}()
	for end := time.Now().Add(10 * time.Second); runtime.GOOS == "linux" && openFiles(path) < 2 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	r := <-opened
	if r.err != nil {
		t.Fatal(r.err)
	}
	defer r.s.Close()
	if kv, _, err := r.s.Get(t.Context(), "a"); err != nil || string(kv.Value) != "new" {
		t.Errorf("it is the old file: %v", err)
	}
}

// openFiles is how many descriptors of this process are of the file at path.
func openFiles(path string) (n int) {
	fds, _ := os.ReadDir("/proc/self/fd")
	for _, fd := range fds {
		if to, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && to == path {
			n++
		}
	}
	return n
}
