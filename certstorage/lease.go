package certstorage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

const (
	// lookAgain is how long at most who waits for a lock relies on being told that it
	// is free.
	lookAgain = 5 * time.Second
	// releaseAgain is how long after a release that failed it is tried again.
	releaseAgain = time.Second
	// settled is how often a key must be missing, releaseAgain apart, before it is
	// believed that no write of it is still under way.
	settled = 10
)

// lease is the value of a lock's key.
type lease struct {
	Node    string    `json:"node"`
	Session string    `json:"session"`
	Nonce   string    `json:"nonce"`
	Since   time.Time `json:"since"`
}

// CheckLock says why a value below LockPrefix is none of a lock; nil: it is one.
func CheckLock(_ string, raw []byte) error {
	var v lease
	if err := json.Unmarshal(raw, &v); err != nil {
		return err
	}
	if v.Session == "" {
		return errors.New("it names no session")
	}
	return nil
}

// take writes the key of a lock that has been entered, and waits for its turn.
func (l *Locks) take(ctx context.Context, name string, h *hold, wait bool) (bool, error) {
	for {
		// A write that is given up half-way may have taken the lock all the same, so
		// that ctx does not end it. The engine bounds it.
		ok, err := l.attempt(context.WithoutCancel(ctx), name, h)
		if ok || err != nil || !wait {
			return ok, err
		}
		if err := l.await(ctx, name); err != nil {
			return false, fmt.Errorf("waiting for the lock %q, which another node holds: %w", name, err)
		}
	}
}

// attempt takes the lock if it is free. One that was taken in the same session, and that
// nobody here holds, is left from a write or a release whose outcome was not known.
func (l *Locks) attempt(ctx context.Context, name string, h *hold) (bool, error) {
	session, err := l.o.Sessions.Session(ctx)
	if err != nil {
		return false, fmt.Errorf("taking the lock %q: %w", name, err)
	}
	value, err := json.Marshal(lease{l.o.Node, session.ID(), h.nonce, time.Now().UTC()})
	if err != nil {
		return false, fmt.Errorf("taking the lock %q: %w", name, err)
	}
	op := store.Op{Key: LockPrefix + name, Value: value, If: store.Absent}
	revision, err := session.Write(ctx, op)
	if is[*store.ConflictError](err) {
		kv, _, getErr := l.o.Store.Get(ctx, op.Key)
		switch {
		case errors.Is(getErr, store.ErrNotFound):
			return false, nil // it is free again: the caller will see
		case errors.Is(getErr, store.ErrDamaged): // nobody can prove that he holds it
			kv.Value, getErr = nil, nil
		case getErr == nil && read(kv.Value).Session != session.ID():
			return false, nil
		}
		if getErr != nil {
			return false, fmt.Errorf("taking the lock %q: %w", name, getErr)
		}
		op.If = kv.Revision
		revision, err = session.Write(ctx, op)
	}
	switch {
	case is[*store.ConflictError](err):
		return false, nil
	case errors.Is(err, store.ErrSessionEnded):
		return false, fmt.Errorf("taking the lock %q: %w", name, err)
	case err != nil:
		l.releaseLater(name, session, h.nonce)
		return false, fmt.Errorf("taking the lock %q: %w", name, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	h.session, h.revision = session, revision
	return true, nil
}

// await returns when the lock may be free.
func (l *Locks) await(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	key := LockPrefix + name
	w, err := l.o.Store.Watch(ctx, key, 0)
	if err != nil {
		return err
	}
	defer w.Close()
	if _, _, err := l.o.Store.Get(ctx, key); errors.Is(err, store.ErrNotFound) {
		return nil
	}
	patience, cancel := context.WithTimeout(ctx, lookAgain)
	defer cancel()
	for {
		batch, err := w.Next(patience)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, store.ErrClosed):
			return err
		case err != nil: // time to look again
			return nil
		}
		for _, e := range batch.Events {
			if e.Key == key && e.Value == nil && e.Err == nil {
				return nil
			}
		}
	}
}

// release deletes the key of a lock, unless it is another's by now.
func (l *Locks) release(ctx context.Context, name string, h *hold) error {
	_, err := l.o.Store.Write(ctx, store.Op{Key: LockPrefix + name, If: h.revision})
	if is[*store.ConflictError](err) {
		return nil
	}
	return err
}

// releaseLater deletes the key of a lock once the store answers, if it is the one that was
// written with the nonce. With the session's end it vanishes anyway.
func (l *Locks) releaseLater(name string, session store.Session, nonce string) {
	l.work.Go(func() {
		for missing := 0; missing < settled; {
			select {
			case <-session.Ended():
				return
			case <-l.ctx.Done():
				return
			case <-time.After(releaseAgain):
			}
			kv, _, err := l.o.Store.Get(l.ctx, LockPrefix+name)
			switch {
			case errors.Is(err, store.ErrNotFound):
				missing++
				continue
			case err != nil:
				continue
			case read(kv.Value).Nonce != nonce:
				return
			}
			_, err = l.o.Store.Write(l.ctx, store.Op{Key: kv.Key, If: kv.Revision})
			if err == nil || is[*store.ConflictError](err) {
				return
			}
		}
	})
}

// read reads the value of a lock's key; what it does not say is empty.
func read(raw []byte) (v lease) {
	_ = json.Unmarshal(raw, &v)
	return v
}

// is tells whether an error is, or wraps, one of type T.
func is[T error](err error) bool {
	_, ok := errors.AsType[T](err)
	return ok
}
