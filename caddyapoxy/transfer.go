package caddyapoxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
	"github.com/apoxy-dev/caddy-apoxy/store/snapshot"
)

// backupPath is where the admin endpoint gives what the running store holds.
const backupPath = "/apoxy/store/backup"

// Bounds of a backup through the admin endpoint: how long its reader may take none of it,
// and how long its writer may send none.
const (
	backupReaderStalls = time.Minute
	backupWriterStalls = 2 * time.Minute
)

// whole refuses a store that holds a part of what it should, and notes where its history
// begins. A node that is cut off and starts from its copy asks once it can.
func (rt *runtime) whole(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	for {
		patient, stale := store.AllowStale(ctx, 0)
		since, err := snapshot.Whole(patient, rt.store)
		switch {
		case err == nil && stale.Cause() != nil:
			rt.run("asking whether the store is whole", rt.askWhole)
			return nil
		case err == nil:
			rt.since.Store(since)
			return nil
		case !errors.Is(err, store.ErrUnavailable):
			return fmt.Errorf("%s: %w", rt.key, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", rt.key, err)
		case <-time.After(wholePause):
		}
	}
}

// wholePause is between two questions whether the store is whole.
const wholePause = 250 * time.Millisecond

// askWhole is whole of a store that is not available yet.
func (rt *runtime) askWhole(ctx context.Context) error {
	for {
		since, err := snapshot.Whole(ctx, rt.store)
		if err == nil {
			rt.since.Store(since)
			return nil
		}
		if !errors.Is(err, store.ErrUnavailable) {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wholePause):
		}
	}
}

// backup answers GET backupPath with a stream of package snapshot.
func (rt *runtime) backup(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		http.Error(w, "a backup of the store takes a GET", http.StatusMethodNotAllowed)
		return nil
	}
	if !rt.backingUp.TryLock() {
		w.Header().Set("Retry-After", "10")
		http.Error(w, "the store is being read for another backup or copy: wait for that to end", http.StatusTooManyRequests)
		return nil
	}
	defer rt.backingUp.Unlock()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Cache-Control", "no-store")
	rc := http.NewResponseController(w)
	defer func() { _ = rc.SetWriteDeadline(time.Time{}) }() // the connection may go on
	// Below what keeps account of damage: what does not decode is kept as it is.
	if _, err := snapshot.Write(r.Context(), patientWriter{w, rc}, rt.store.Unwrap(), rt.key, time.Now()); err != nil && r.Context().Err() == nil {
		rt.logger.Warn("a backup of the store did not come to its end; its reader was told", zap.Error(err))
	}
	return nil
}

// patientWriter writes to a reader that takes something now and then.
type patientWriter struct {
	io.Writer
	rc *http.ResponseController
}

func (w patientWriter) Write(p []byte) (int, error) {
	_ = w.rc.SetWriteDeadline(time.Now().Add(backupReaderStalls)) // else the request's context ends it
	return w.Writer.Write(p)
}

// fetchBackup writes to w what the Caddy at base answers for its store.
func fetchBackup(ctx context.Context, client *http.Client, base string, w io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stalls := time.AfterFunc(backupWriterStalls, cancel)
	defer stalls.Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(base, "/")+backupPath, nil)
	if err != nil {
		return fmt.Errorf("asking Caddy at %s: %w", base, err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("asking Caddy at %s: %w: is it running? Else name the store with --config or --store", base, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		return fmt.Errorf("asking Caddy at %s: it answered %s: %.300q", base, resp.Status, strings.TrimSpace(string(text)))
	}
	if _, err := io.Copy(w, moving{resp.Body, stalls}); err != nil {
		return fmt.Errorf("reading the answer of Caddy at %s: %w: try again", base, err)
	}
	return nil
}

// moving resets a timer whenever something is read.
type moving struct {
	io.Reader
	stalls *time.Timer
}

func (m moving) Read(p []byte) (int, error) {
	n, err := m.Reader.Read(p)
	if n > 0 {
		m.stalls.Reset(backupWriterStalls)
	}
	return n, err
}

// fillableStore is a StoreModule whose store can be filled while it is empty.
type fillableStore interface {
	StoreModule
	// Vacant returns nil if it can be, and else an error that names it and says what to do.
	Vacant(ctx context.Context) error
	// Fill calls fill with the store, for what another held at a revision.
	Fill(ctx context.Context, revision int64, fill func(store.Store) error) error
}

// fill fills a store with the whole stream in f.
func fill(ctx context.Context, to fillableStore, h snapshot.Header, f io.ReadSeeker) error {
	return to.Fill(ctx, h.Revision, func(st store.Store) error {
		_, err := snapshot.Fill(ctx, st, f, time.Now())
		return err
	})
}

// source is a store to be read from.
type source struct {
	store StoreModule // nil: that of the Caddy at the endpoint
	// endpoint is that of the Caddy which may have the store open.
	endpoint func() (*http.Client, string, error)
}

// taken is what was read from a source.
type taken struct {
	snapshot.Header
	snapshot.Sum
	// moving: the store can have been written to since.
	moving bool
}

// attempts is how often a store is read whose writers outrun its history.
const attempts = 3

// spool writes what the source holds into f, in place of what is there, and reads it once
// more. It calls tell with each damaged key, which is left out, and why.
func (s source) spool(ctx context.Context, f *os.File, tell func(key, reason string)) (taken, error) {
	for n := 1; ; n++ {
		t, err := s.once(ctx, f, tell)
		if n == attempts || !errors.Is(err, store.ErrExpired) || ctx.Err() != nil {
			return t, err
		}
	}
}

func (s source) once(ctx context.Context, f *os.File, tell func(key, reason string)) (t taken, err error) {
	if err := f.Truncate(0); err != nil {
		return t, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return t, err
	}
	base := ""
	locked := false
	if s.store != nil {
		_, alone := s.store.(*BoltStore)
		t.moving = !alone
		err = readStore(ctx, s.store, f)
		if locked = errors.Is(err, boltstore.ErrLocked); err != nil && !locked {
			return t, err
		}
	}
	if s.store == nil || locked {
		t.moving = true
		var client *http.Client
		if client, base, err = s.endpoint(); err != nil {
			return t, err
		}
		if err := fetchBackup(ctx, client, base, f); err != nil {
			return t, err
		}
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return t, err
	}
	t.Header, t.Sum, err = snapshot.Check(ctx, f, nil)
	switch {
	case err != nil:
		return t, err
	case locked && !sameStore(t.Store, s.store.Key()):
		return t, usedElsewhere(s.store.Key(), base, t.Store)
	case t.Damaged == 0:
		return t, nil
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil { // told of once it is known to be whole
		return t, err
	}
	_, _, err = snapshot.Check(ctx, f, tell)
	return t, err
}

// readStore writes to w what a store holds that this process may open.
func readStore(ctx context.Context, s StoreModule, w io.Writer) error {
	r, ok := s.(readOnlyStore)
	if !ok {
		return fmt.Errorf("reading %s: Caddy must be running", s.Key())
	}
	st, err := r.OpenReadOnly()
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading %s: there is no such file: name another", s.Key())
	}
	if err != nil {
		return err
	}
	defer st.Close()
	_, err = snapshot.Write(ctx, w, st, s.Key(), time.Now())
	return err
}
