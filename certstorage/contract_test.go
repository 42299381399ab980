package certstorage_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/apoxy-dev/caddy-apoxy/certstorage"
	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
)

func openBolt(t *testing.T, file string) store.Store {
	t.Helper()
	st, err := boltstore.Open(file, boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	return st
}

// over is a Storage over a store with locks of its own.
func over(t *testing.T, st store.Store, keys ...certstorage.Key) *certstorage.Storage {
	t.Helper()
	o := certstorage.LockOptions{Store: st, Node: "n1"}
	if sessions := store.SessionsOf(st); sessions != nil {
		own := certstorage.NewOwnSession(sessions)
		t.Cleanup(func() { _ = own.Close(context.Background()) })
		o.Sessions = own
	}
	locks := certstorage.NewLocks(o)
	t.Cleanup(locks.Close)
	return certstorage.New(certstorage.Options{Store: st, Locks: locks, Keys: keys, Name: "storage apoxy"})
}

func bolt(t *testing.T, keys ...certstorage.Key) *certstorage.Storage {
	return over(t, openBolt(t, filepath.Join(t.TempDir(), "apoxy.db")), keys...)
}

func key(t *testing.T, text string) certstorage.Key {
	t.Helper()
	k, err := certstorage.ParseKey(text)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

var (
	hexKey    = strings.Repeat("0f", 32)
	base64Key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
)

// engines are the storages that the contract is tested over.
var engines = map[string]func(*testing.T, ...certstorage.Key) *certstorage.Storage{"bolt": bolt}

func overEach(t *testing.T, test func(*testing.T, *certstorage.Storage)) {
	for name, open := range engines {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
		t.Run(name+" encrypted", func(t *testing.T) { test(t, open(t, key(t, hexKey))) })
	}
}

// What certmagic tests of its own storage, in certmagic's filestorage_test.go.
func TestWhatCertmagicTests(t *testing.T) {
	overEach(t, func(t *testing.T, s *certstorage.Storage) {
		ctx := t.Context()
		mustStore(t, s, "foo", "bar")
		if got := load(t, s, "foo"); got != "bar" {
			t.Errorf("foo holds %q", got)
		}

		const size = 4096 * 1024 // which etcd takes because it can be compressed
		a, b := bytes.Repeat([]byte("a"), size), bytes.Repeat([]byte("b"), size)
		if err := s.Store(ctx, "foo", a); err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() { done <- s.Store(ctx, "foo", b) }()
		got, err := s.Load(ctx, "foo")
		if err := errors.Join(err, <-done); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, a) && !bytes.Equal(got, b) {
			t.Errorf("of two values of %d bytes a reader got %d bytes", size, len(got))
		}

		ended, end := context.WithCancel(ctx)
		end()
		for range 2 {
			if err := s.Lock(ended, "foo"); err != nil {
				t.Fatalf("a lock that is free: %v", err)
			}
			if err := s.Lock(ended, "foo"); !errors.Is(err, context.Canceled) {
				t.Errorf("a lock that is taken, for a caller who has given up: %v", err)
			}
			if err := s.Unlock(ended, "foo"); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// Whatever is done to it, it answers as certmagic's own storage on files does.
func TestAnswersAsFileStorageDoes(t *testing.T) {
	overEach(t, func(t *testing.T, s *certstorage.Storage) {
		root := t.TempDir()
		files := &certmagic.FileStorage{Path: root}
		random := rand.New(rand.NewPCG(1, 2))
		elements := []string{"a", "a-b", "a.b", "A", "acme", "b", "wildcard_.x", "z é", "0"}
		pick := func() string {
			var all []string
			for range 1 + random.IntN(3) {
				all = append(all, elements[random.IntN(len(elements))])
			}
			return path.Join(all...)
		}
		for step := range 400 {
			key := pick()
			switch n := random.IntN(10); {
			case n < 5:
				// On files, what is a folder cannot be a value, nor the other way round.
				if err := files.Store(t.Context(), key, []byte(fmt.Sprint(step))); err == nil {
					mustStore(t, s, key, fmt.Sprint(step))
				}
			case n < 7:
				if err := files.Delete(t.Context(), key); err != nil && !strings.Contains(err.Error(), "not a directory") {
					t.Fatal(err)
				}
				if err := s.Delete(t.Context(), key); err != nil {
					t.Fatal(err)
				}
				prune(t, root)
			}
			for _, key := range []string{key, pick(), path.Dir(key), ""} {
				alike(t, files, s, key)
			}
		}
	})
}

// prune removes empty folders, which a store without folders does not have.
func prune(t *testing.T, root string) {
	t.Helper()
	var folders []string
	if err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && p != root {
			folders = append(folders, p)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for _, p := range slices.Backward(folders) {
		_ = os.Remove(p) // those that are not empty stay
	}
}

func alike(t *testing.T, files, s certmagic.Storage, key string) {
	t.Helper()
	ctx := t.Context()
	if key == "." {
		key = ""
	}
	for _, recursive := range []bool{false, true} {
		want, wantErr := files.List(ctx, key, recursive)
		got, err := s.List(ctx, key, recursive)
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) || failed(err) != failed(wantErr) {
			t.Fatalf("listing %q (recursive: %v): %q, %v; files say %q, %v", key, recursive, got, err, want, wantErr)
		}
	}
	if key == "" {
		return
	}
	if got, want := s.Exists(ctx, key), files.Exists(ctx, key); got != want {
		// Below a value files say of everything that it exists, or rather, fail.
		if _, err := os.Stat(files.(*certmagic.FileStorage).Filename(key)); got || errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("%q exists: %v, files say %v", key, got, want)
		}
	}
	want, wantErr := files.Stat(ctx, key)
	got, err := s.Stat(ctx, key)
	if failed(err) != failed(wantErr) || got.IsTerminal != want.IsTerminal || got.IsTerminal && got.Size != want.Size || wantErr == nil && got.Key != want.Key {
		t.Fatalf("%q: %+v, %v; files say %+v, %v", key, got, err, want, wantErr)
	}
	if got.IsTerminal && time.Since(got.Modified).Abs() > time.Hour {
		t.Fatalf("%q was modified at %v", key, got.Modified)
	}
	wantValue, wantErr := files.Load(ctx, key)
	value, err := s.Load(ctx, key)
	if failed(err) != failed(wantErr) || !bytes.Equal(value, wantValue) {
		t.Fatalf("loading %q: %q, %v; files say %q, %v", key, value, err, wantValue, wantErr)
	}
}

// failed is what certmagic tells errors apart by.
func failed(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, fs.ErrNotExist), strings.Contains(err.Error(), "not a directory"), strings.Contains(err.Error(), "is a directory"):
		return "there is none"
	}
	return err.Error()
}

// A large folder is listed whole, and its listing does not depend on where a page ends.
func TestListsOfManyPages(t *testing.T) {
	overEach(t, func(t *testing.T, s *certstorage.Storage) {
		const sites = 150
		for i := range sites {
			for _, ext := range []string{"crt", "json", "key"} {
				name := fmt.Sprintf("h%03d.example.com", i)
				mustStore(t, s, "certificates/ca/"+name+"/"+name+"."+ext, "x")
			}
		}
		flat, err := s.List(t.Context(), "certificates/ca", false)
		if err != nil || len(flat) != sites || flat[7] != "certificates/ca/h007.example.com" {
			t.Errorf("%d entries, such as %q, %v", len(flat), flat[7], err)
		}
		deep, err := s.List(t.Context(), "certificates", true)
		if err != nil || len(deep) != 1+4*sites {
			t.Errorf("%d entries, %v; want the folder, %d folders and three values in each", len(deep), err, sites)
		}
		if err := s.Delete(t.Context(), "certificates/ca"); err != nil {
			t.Fatal(err)
		}
		if s.Exists(t.Context(), "certificates") {
			t.Error("a folder is there after all in it was deleted")
		}
	})
}

// Hostile keys lead nowhere else, and what cannot be kept is refused.
func TestHostileKeys(t *testing.T) {
	s := bolt(t)
	for _, key := range []string{"a/../../../b", "/b", "b/", "./b", "//b//"} {
		mustStore(t, s, key, key)
		if got := load(t, s, "b"); got != key {
			t.Errorf("%q was stored elsewhere than at b, which holds %q", key, got)
		}
	}
	for _, key := range []string{"", "/", "..", "a\x00b", "a\xffb", strings.Repeat("a", 3000)} {
		if err := s.Store(t.Context(), key, []byte("x")); err == nil {
			t.Errorf("%.20q was stored", key)
		}
		if err := s.Delete(t.Context(), key); err == nil {
			t.Errorf("%.20q was deleted", key)
		}
	}
	if err := s.Store(t.Context(), "large", make([]byte, 4<<20+1)); err == nil || !strings.Contains(err.Error(), "4194304") {
		t.Errorf("a value that is too large: %v", err)
	}
}

// Locks exclude each other, whoever waits gets his turn, and names are apart.
func TestLocksExclude(t *testing.T) {
	overEach(t, func(t *testing.T, s *certstorage.Storage) {
		var work sync.WaitGroup
		inside, most, turns := 0, 0, 0
		var mu sync.Mutex
		for range 8 {
			work.Go(func() {
				for range 5 {
					if err := s.Lock(t.Context(), "issue_cert_example.com"); err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					inside++
					turns++
					most = max(most, inside)
					mu.Unlock()
					mustStore(t, s, "certificates/ca/example.com/example.com.key", "x")
					mu.Lock()
					inside--
					mu.Unlock()
					if err := s.Unlock(t.Context(), "issue_cert_example.com"); err != nil {
						t.Error(err)
					}
				}
			})
		}
		work.Wait()
		if most != 1 || turns != 40 {
			t.Errorf("%d held the lock at once, and it was held %d times", most, turns)
		}
		for _, name := range []string{"a", "b"} {
			if ok, err := s.TryLock(t.Context(), name); !ok || err != nil {
				t.Errorf("%s: %v, %v", name, ok, err)
			}
			if ok, err := s.TryLock(t.Context(), name); ok || err != nil {
				t.Errorf("%s a second time: %v, %v", name, ok, err)
			}
			if err := s.RenewLockLease(t.Context(), name, time.Minute); err != nil {
				t.Errorf("renewing %s: %v", name, err)
			}
			if err := s.Unlock(t.Context(), name); err != nil {
				t.Error(err)
			}
			if err := s.RenewLockLease(t.Context(), name, time.Minute); err == nil {
				t.Errorf("%s was renewed after its release", name)
			}
			if err := s.Unlock(t.Context(), name); err == nil {
				t.Errorf("%s was released twice", name)
			}
		}
	})
}

func mustStore(t *testing.T, s certmagic.Storage, key, value string) {
	t.Helper()
	if err := s.Store(t.Context(), key, []byte(value)); err != nil {
		t.Fatal(err)
	}
}

func load(t *testing.T, s certmagic.Storage, key string) string {
	t.Helper()
	value, err := s.Load(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(value)
}
