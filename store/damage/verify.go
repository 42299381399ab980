package damage

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// verifyPage is how many values are read at a time, so that a look through a
// large store holds neither memory nor writers.
const verifyPage = 500

// Room says what the values below a prefix are.
type Room struct {
	// Prefix is what the room's keys begin with.
	Prefix string
	// Check says why a value does not decode; nil: it does. Its words do not
	// quote the value.
	Check func(key string, value []byte) error
	// Agree says what in other entries a value contradicts, empty: nothing, and
	// what to do about it. An error ends the look. May be nil.
	Agree func(ctx context.Context, st store.Store, e store.KeyValue) (what, mend string, err error)
	// Mend says what to do about a value that cannot be used.
	Mend string
}

// Fault is something that is wrong in a store.
type Fault struct {
	// Key is where; empty: in the engine's own structure.
	Key string `json:"key"`
	// What is wrong.
	What string `json:"what"`
	// Mend says what to do.
	Mend string `json:"mend"`
}

// Sum is what a look through a store found.
type Sum struct {
	Values int64 `json:"values"`
	Faults int64 `json:"faults"`
}

// Verify looks at every value of st at the present revision and calls tell for
// each fault; an error of tell ends the look. It works on a store in use: what is
// written meanwhile is no fault.
func Verify(ctx context.Context, st store.Store, rooms []Room, tell func(Fault) error) (Sum, error) {
	v := verification{st: st, rooms: rooms, tell: tell}
	o := store.ListOptions{Limit: verifyPage, Uncounted: true}
	for {
		began := time.Now()
		page, err := st.List(ctx, "", o)
		if errors.Is(err, store.ErrExpired) && o.Revision > 0 {
			o.Revision = 0 // too much was written meanwhile: go on from here with the present
			continue
		}
		if err != nil {
			return v.sum, fmt.Errorf("reading the store: %w", err)
		}
		for i := range page.KeyValues {
			if err := v.one(ctx, &page.KeyValues[i]); err != nil {
				return v.sum, err
			}
		}
		if !page.More {
			return v.sum, nil
		}
		o.After, o.Revision = page.KeyValues[len(page.KeyValues)-1].Key, page.Revision
		if err := rest(ctx, time.Since(began)/4); err != nil {
			return v.sum, err
		}
	}
}

// rest leaves the machine to others for a while.
func rest(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

type verification struct {
	st    store.Store
	rooms []Room
	tell  func(Fault) error
	sum   Sum
}

func (v *verification) one(ctx context.Context, e *store.KeyValue) error {
	v.sum.Values++
	f, err := v.judge(ctx, e)
	if f == nil || err != nil {
		return err
	}
	if gone, err := v.gone(ctx, e); gone || err != nil {
		return err
	}
	v.sum.Faults++
	return v.tell(*f)
}

// judge returns what is wrong with an entry; nil: nothing.
func (v *verification) judge(ctx context.Context, e *store.KeyValue) (*Fault, error) {
	room := v.room(e.Key)
	var damaged *store.DamagedError
	switch {
	case errors.As(e.Err, &damaged):
		return &Fault{e.Key, damaged.Reason, room.Mend}, nil
	case e.Err != nil:
		return nil, e.Err
	}
	if room.Check != nil {
		if err := room.Check(e.Key, e.Value); err != nil {
			store.Report(v.st, e.Key, e.Revision, err)
			return &Fault{e.Key, "it does not decode: " + cut(err.Error()), room.Mend}, nil
		}
	}
	if room.Agree == nil {
		return nil, nil
	}
	what, mend, err := room.Agree(ctx, v.st, *e)
	if err != nil {
		return nil, fmt.Errorf("comparing %.200q with other entries: %w", e.Key, err)
	}
	if what == "" {
		return nil, nil
	}
	return &Fault{e.Key, what, mend}, nil
}

func (v *verification) room(key string) Room {
	for _, r := range v.rooms {
		if strings.HasPrefix(key, r.Prefix) {
			return r
		}
	}
	return Room{Mend: "restore a backup"}
}

// gone reports whether an entry has been replaced since it was read.
func (v *verification) gone(ctx context.Context, e *store.KeyValue) (bool, error) {
	now, _, err := v.st.Get(ctx, e.Key)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return true, nil
	case err != nil && !errors.Is(err, store.ErrDamaged):
		return false, fmt.Errorf("reading %.200q again: %w", e.Key, err)
	}
	return now.Revision != e.Revision, nil
}

// Patrol reads every value below a prefix, slowly, so that damage is known which
// nobody would meet for long.
func (s *Store) Patrol(ctx context.Context, prefix string) error {
	o := store.ListOptions{Limit: verifyPage, Uncounted: true}
	for {
		began := time.Now()
		page, err := s.List(ctx, prefix, o)
		if errors.Is(err, store.ErrExpired) && o.Revision > 0 {
			o.Revision = 0
			continue
		}
		if err != nil {
			return fmt.Errorf("reading what is stored below %q: %w", prefix, err)
		}
		if !page.More {
			return nil
		}
		o.After, o.Revision = page.KeyValues[len(page.KeyValues)-1].Key, page.Revision
		if err := rest(ctx, 4*time.Since(began)); err != nil {
			return err
		}
	}
}
