package boltstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// Create makes the store in the file at path, which must not exist (fs.ErrExist), and has
// it filled. The file appears there when fill has returned nil and all is on the disk, or
// not at all: until then it has the same name with a dot before and ".filling" behind, and
// what another Create has left there is removed. The store stands at a revision, so that
// those before, of whatever the data came from, have expired.
func Create(path string, revision int64, fill func(store.Store) error) error {
	if err := Vacant(path); err != nil {
		return err
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("creating store: %w", err)
	}
	tmp := beside(path, ".filling")
	if err := claim(tmp); err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp) }() // it has its place by then, or is waste
	if err := initialize(tmp, max(revision, store.FirstRevision)); err != nil {
		return fmt.Errorf("creating store %s: %w", path, err)
	}
	if err := filled(tmp, fill); err != nil {
		return fmt.Errorf("filling %s: %w", path, err)
	}
	if of, err := os.Stat(dir); err != nil {
		return fmt.Errorf("creating store: %w", err)
	} else if os.Geteuid() == 0 { // who owns the directory is who will use the file
		if err := own(tmp, of); err != nil {
			return fmt.Errorf("creating store: %w", err)
		}
	}
	switch err := place(tmp, path); {
	case errors.Is(err, fs.ErrExist):
		return exists(path)
	case err != nil:
		return fmt.Errorf("creating store: %w", err)
	}
	return syncDir(dir)
}

// Vacant returns nil if Create may make a file at path, and else an error that wraps
// fs.ErrExist and says what to do.
func Vacant(path string) error {
	switch _, err := os.Lstat(path); {
	case err == nil:
		return exists(path)
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("creating store: %w", err)
	}
	return nil
}

func exists(path string) error {
	return fmt.Errorf("creating store %s: %w: nothing is ever overwritten: move it away, or name another file", path, fs.ErrExist)
}

// filled has the store in the file tmp filled and flushed. Only the end is flushed: nobody
// believes the file before.
func filled(tmp string, fill func(store.Store) error) error {
	s, err := Open(tmp, Options{compactEvery: -1})
	if err != nil {
		return err
	}
	s.file.Load().db.NoSync = true
	err = fill(s)
	if err == nil {
		err = s.file.Load().db.Sync()
	}
	if closeErr := s.Close(); err == nil {
		err = closeErr
	}
	return err
}

// beside names a file in the directory of path.
func beside(path, suffix string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+suffix)
}

// claim makes an empty file that did not exist. What a process that has ended left there
// is removed. The error wraps ErrLocked if one uses it.
func claim(tmp string) error {
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		db, _, openErr := openOnce(tmp, DefaultLockTimeout, false)
		if errors.Is(openErr, ErrLocked) {
			return openErr
		}
		if openErr == nil {
			_ = db.Close() // nothing was written
		}
		if err := os.Remove(tmp); err != nil {
			return fmt.Errorf("removing what was left unfinished: %w", err)
		}
		f, err = os.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	}
	if err != nil {
		return fmt.Errorf("creating store: %w", err)
	}
	return f.Close()
}
