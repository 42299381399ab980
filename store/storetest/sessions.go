package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// Shared is an engine that several processes share, for RunSessions.
type Shared struct {
	// Open opens a store as another process does. Those with the same space, a word of
	// letters and digits, share all keys. They are closed by its own t.Cleanup, which
	// must bear that the suite has closed them already.
	Open func(t *testing.T, space string) store.Store
	// Cut cuts a store that Open returned off from the engine, and mend joins them
	// again. Nil: the tests that need it are left out.
	Cut func(t *testing.T, s store.Store) (mend func())
	// Faults happen to the engine, by what they are called. Sessions outlive each; back
	// ends it.
	Faults map[string]func(t *testing.T) (back func())
}

const (
	// short is the time to live of sessions whose end is waited for, and long of those
	// that last over a fault.
	short = 2 * time.Second
	long  = 10 * time.Second
)

// RunSessions tests the sessions of an engine: store.Sessions.
func RunSessions(t *testing.T, e Shared) {
	for name, test := range map[string]func(*testing.T, pair){
		"keys vanish as a session is closed, and no others": vanishOnClose,
		"keys vanish as others end a session":               vanishOnEnd,
		"keys vanish after a process has died":              vanishOnDeath,
		"a session lasts while its process lives":           lasting,
		"sessions are apart":                                apart,
		"an end that was is no error":                       endedBefore,
		"Write in a session keeps to the contract of Write": writeInSession,
	} {
		t.Run(name, func(t *testing.T) { test(t, e.pair(t)) })
	}
	if e.Cut != nil {
		t.Run("who is cut off knows of the end before others see it", func(t *testing.T) { cutOff(t, e) })
	}
	for name, fault := range e.Faults {
		t.Run("sessions outlive that "+name, func(t *testing.T) { outlive(t, e.pair(t), fault) })
	}
}

// pair is two stores that share all keys: two processes.
type pair struct{ one, two store.Store }

func (e Shared) pair(t *testing.T) pair {
	space := fmt.Sprintf("s%x", time.Now().UnixNano())
	return pair{e.Open(t, space), e.Open(t, space)}
}

func begin(t *testing.T, s store.Store, ttl time.Duration) store.Session {
	t.Helper()
	sessions := store.SessionsOf(s)
	if sessions == nil {
		t.Fatal("the engine has no sessions")
	}
	n, err := sessions.Begin(within(t), ttl)
	if err != nil {
		t.Fatalf("Begin: %v", err)
	}
	return n
}

func writeIn(t *testing.T, n store.Session, ops ...store.Op) int64 {
	t.Helper()
	rev, err := n.Write(within(t), ops...)
	if err != nil {
		t.Fatalf("Write in a session: %v", err)
	}
	return rev
}

// ended waits for the end of a session, as its own process sees it.
func ended(t *testing.T, n store.Session) {
	t.Helper()
	select {
	case <-n.Ended():
	case <-within(t).Done():
		t.Fatal("the session has not ended")
	}
	if time.Now().Before(n.Until()) {
		t.Errorf("the session has ended, and is to last until %v", n.Until())
	}
}

// refused wants that a session writes nothing any more.
func refused(t *testing.T, s store.Store, n store.Session) {
	t.Helper()
	before := all(t, s)
	_, err := n.Write(within(t), set("late", "1", store.Any))
	wantErr(t, "Write after the end", err, store.ErrSessionEnded)
	diff(t, "keys after that", all(t, s), before)
}

// all returns all keys of a store.
func all(t *testing.T, s store.Store) []string {
	t.Helper()
	return keys(list(t, s, "", store.ListOptions{}).KeyValues)
}

// vanished waits until a watcher has seen keys deleted.
func vanished(t *testing.T, w store.Watcher, want ...string) {
	t.Helper()
	ctx := within(t)
	for len(want) > 0 {
		b, err := w.Next(ctx)
		if err != nil {
			t.Fatalf("waiting for %v to vanish: %v", want, err)
		}
		for _, e := range b.Events {
			if e.Value == nil && e.Err == nil {
				want = slices.DeleteFunc(want, func(k string) bool { return k == e.Key })
			}
		}
	}
}

func vanishOnClose(t *testing.T, p pair) {
	n := begin(t, p.one, long)
	writeIn(t, n, set("a", "1", store.Any), set("b", "1", store.Absent))
	rev := writeIn(t, n, set("c", "1", store.Any))
	put(t, p.two, "b", "2") // from now on it is nobody's
	put(t, p.two, "d", "1")
	w := watch(t, p.two, "", rev)
	if err := n.Close(within(t)); err != nil {
		t.Fatalf("Close: %v", err)
	}
	diff(t, "keys", all(t, p.two), []string{"b", "d"})
	vanished(t, w, "a", "c")
	ended(t, n)
	refused(t, p.one, n)
	if err := n.Close(within(t)); err != nil {
		t.Errorf("Close once more: %v", err)
	}
}

func vanishOnEnd(t *testing.T, p pair) {
	n := begin(t, p.one, short)
	rev := writeIn(t, n, set("a", "1", store.Any))
	w := watch(t, p.two, "", rev)
	if err := store.SessionsOf(p.two).End(within(t), n.ID()); err != nil {
		t.Fatalf("End: %v", err)
	}
	diff(t, "keys", all(t, p.two), []string{})
	vanished(t, w, "a")
	_, err := n.Write(within(t), set("b", "1", store.Any)) // it need not know yet
	wantErr(t, "Write after the end", err, store.ErrSessionEnded)
	ended(t, n)
	refused(t, p.one, n)
}

func vanishOnDeath(t *testing.T, p pair) {
	n := begin(t, p.one, short)
	rev := writeIn(t, n, set("a", "1", store.Any))
	w := watch(t, p.two, "", rev)
	until := n.Until()
	if err := p.one.Close(); err != nil { // what it held it does not give back
		t.Fatal(err)
	}
	ended(t, n)
	vanished(t, w, "a")
	if now := time.Now(); now.Before(until) {
		t.Errorf("the keys have vanished at %v, and were to last until %v", now, until)
	}
	_, err := n.Write(within(t), set("a", "1", store.Any))
	wantErr(t, "Write after the store was closed", err, store.ErrClosed)
}

func lasting(t *testing.T, p pair) {
	const ttl = 2 * short
	n := begin(t, p.one, ttl)
	rev := writeIn(t, n, set("a", "1", store.Any))
	for began := time.Now(); n.Until().Before(began.Add(2 * ttl)); { // until one was answered that was sent after the first end
		select {
		case <-n.Ended():
			t.Fatalf("the session has ended after %v", time.Since(began))
		case <-time.After(20 * time.Millisecond):
		}
	}
	if value, at := get(t, p.two, "a"); value != "1" || at != rev {
		t.Errorf("a is %q at %d", value, at)
	}
	put(t, p.two, "b", "1")
	writeIn(t, n, del("a", rev), del("b", store.Any))
	diff(t, "keys", all(t, p.two), []string{})
}

func apart(t *testing.T, p pair) {
	one, other := begin(t, p.one, long), begin(t, p.one, long)
	two := begin(t, p.two, long)
	ids := []string{one.ID(), other.ID(), two.ID()}
	slices.Sort(ids)
	if len(slices.Compact(ids)) != 3 || slices.Contains(ids, "") {
		t.Errorf("sessions are called %q", ids)
	}
	writeIn(t, one, set("a", "1", store.Any), set("b", "1", store.Any))
	writeIn(t, two, set("b", "2", store.Any), set("c", "2", store.Any)) // b changes hands
	if err := one.Close(within(t)); err != nil {
		t.Fatal(err)
	}
	diff(t, "keys", all(t, p.one), []string{"b", "c"})
	writeIn(t, other, set("d", "3", store.Any))
	if err := two.Close(within(t)); err != nil {
		t.Fatal(err)
	}
	diff(t, "keys", all(t, p.one), []string{"d"})
}

func endedBefore(t *testing.T, p pair) {
	n := begin(t, p.one, short)
	for range 2 {
		if err := store.SessionsOf(p.two).End(within(t), n.ID()); err != nil {
			t.Errorf("End: %v", err)
		}
	}
	if err := store.SessionsOf(p.two).End(within(t), strings.Repeat("no such thing ", 20)); err == nil || len(err.Error()) > 200 {
		t.Errorf("End of what is no session's ID: %v", err)
	}
}

func writeInSession(t *testing.T, p pair) {
	n := begin(t, p.one, long)
	first := writeIn(t, n, set("a", "1", store.Absent))
	_, err := n.Write(within(t), set("a", "2", store.Absent), set("b", "2", store.Any))
	var c *store.ConflictError
	if !errors.As(err, &c) || c.Key != "a" || c.Revision != first {
		t.Errorf("Write: %v, want a conflict at %d", err, first)
	}
	if _, err := n.Write(within(t), set("", "1", store.Any)); err == nil || errors.Is(err, store.ErrSessionEnded) {
		t.Errorf("Write of an empty key: %v", err)
	}
	w := watch(t, p.two, "", first)
	rev := writeIn(t, n, set("a", "2", first), set("b", "", store.Any))
	diff(t, "events", collect(t, w, rev), []store.Event{
		{Key: "a", Value: []byte("2"), Previous: []byte("1"), PreviousRevision: first, Revision: rev},
		{Key: "b", Value: []byte{}, Revision: rev},
	})
	if got := writeIn(t, n, store.Op{Key: "a", If: rev, Check: true}); got != rev {
		t.Errorf("a Write of conditions alone returned %d, want %d", got, rev)
	}
}
