package certstorage_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/certstorage"
	"github.com/apoxy-dev/caddy-apoxy/internal/etcdtest"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

const (
	lock    = "issue_cert_example.com"
	keyFile = "certificates/ca/example.com/example.com.key"
)

// bound is how long a test waits for what takes seconds at most on a machine at rest.
const bound = 30 * time.Second

func mustLock(t *testing.T, s *certstorage.Storage, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bound)
	defer cancel()
	if err := s.Lock(ctx, name); err != nil {
		t.Fatal(err)
	}
}

func mustUnlock(t *testing.T, s *certstorage.Storage, name string) {
	t.Helper()
	if err := s.Unlock(t.Context(), name); err != nil {
		t.Fatal(err)
	}
}

// isLost wants an error that says that the lock was lost.
func isLost(t *testing.T, what string, err error) {
	t.Helper()
	if lost, ok := errors.AsType[*certstorage.LockLostError](err); !ok || lost.Name != lock {
		t.Errorf("%s after the lock was lost: %v", what, err)
	}
}

// A node that is cut off loses its locks within seconds. Another takes them over, and what
// the first one writes late is refused, until it has released the lock.
func TestWhoIsCutOffLosesItsLocks(t *testing.T) {
	member := etcdtest.Start(t)
	w := newWay(t, member)
	first, second := over(t, openEtcd(t, w.endpoint())), over(t, openEtcd(t, member))
	mustLock(t, first, lock)
	mustStore(t, first, keyFile, "first")
	if ok, err := second.TryLock(t.Context(), lock); ok || err != nil {
		t.Fatalf("a lock that another node holds: %v, %v", ok, err)
	}
	mustStore(t, second, "certificates/ca/other.com/other.com.key", "second") // is no matter of the lock

	w.silence()
	began := time.Now()
	mustLock(t, second, lock)
	t.Logf("taken over after %s", time.Since(began))
	mustStore(t, second, keyFile, "second")

	isLost(t, "Store while cut off", first.Store(t.Context(), keyFile, []byte("late")))
	w.mend()
	answers(t, first)
	isLost(t, "Store", first.Store(t.Context(), keyFile, []byte("late")))
	isLost(t, "Store of an order's key", first.Store(t.Context(), "acme/ca/orders/example.com.key", []byte("late")))
	isLost(t, "Delete", first.Delete(t.Context(), "certificates/ca/example.com"))
	isLost(t, "Delete of all", first.Delete(t.Context(), "certificates"))
	isLost(t, "RenewLockLease", first.RenewLockLease(t.Context(), lock, time.Minute))
	mustStore(t, first, "certificates/ca/other.com/other.com.key", "first")
	if got := load(t, first, keyFile); got != "second" {
		t.Errorf("the key is %q, want that of the second holder", got)
	}
	if ok, err := first.TryLock(t.Context(), lock); ok || err != nil {
		t.Errorf("taking it again before it was released: %v, %v", ok, err)
	}
	mustUnlock(t, first, lock)
	if ok, err := first.TryLock(t.Context(), lock); ok || err != nil {
		t.Errorf("taking it again from the second holder: %v, %v", ok, err)
	}
	mustStore(t, second, keyFile, "second again")
	mustUnlock(t, second, lock)
	mustLock(t, first, lock)
	mustStore(t, first, keyFile, "first again")
	mustUnlock(t, first, lock)
}

// answers waits until a storage reaches its store.
func answers(t *testing.T, s *certstorage.Storage) {
	t.Helper()
	for end := time.Now().Add(bound); ; time.Sleep(20 * time.Millisecond) {
		_, err := s.List(t.Context(), "", false)
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// A process that was paused, and does not know yet that its session is over, writes
// nothing either: the store knows.
func TestWhoWasPausedWritesNothing(t *testing.T) {
	member := etcdtest.Start(t)
	st := openEtcd(t, member)
	own := &known{Sessions: certstorage.NewOwnSession(store.SessionsOf(st))}
	locks := certstorage.NewLocks(certstorage.LockOptions{Store: st, Sessions: own})
	defer locks.Close()
	first, second := certstorage.New(certstorage.Options{Store: st, Locks: locks}), over(t, openEtcd(t, member))
	mustLock(t, first, lock)
	mustStore(t, first, keyFile, "first")
	if err := store.SessionsOf(st).End(t.Context(), own.last.ID()); err != nil {
		t.Fatal(err)
	}
	mustLock(t, second, lock)
	mustStore(t, second, keyFile, "second")
	isLost(t, "Store", first.Store(t.Context(), keyFile, []byte("late")))
	isLost(t, "Delete", first.Delete(t.Context(), "certificates"))
	isLost(t, "RenewLockLease", first.RenewLockLease(t.Context(), lock, time.Minute))
	if got := load(t, second, keyFile); got != "second" {
		t.Errorf("the key is %q", got)
	}
	mustUnlock(t, first, lock)
	mustUnlock(t, second, lock)
}

// known gives sessions that never know of their end by themselves.
type known struct {
	certstorage.Sessions
	last store.Session
}

func (k *known) Session(ctx context.Context) (store.Session, error) {
	s, err := k.Sessions.Session(ctx)
	k.last = s
	return unaware{s}, err
}

type unaware struct{ store.Session }

func (unaware) Until() time.Time       { return time.Now().Add(time.Hour) }
func (unaware) Ended() <-chan struct{} { return nil }

// Who waits gets the lock as soon as it is released, or its holder's session is given back.
func TestLocksAreHandedOn(t *testing.T) {
	member := etcdtest.Start(t)
	st := openEtcd(t, member)
	own := certstorage.NewOwnSession(store.SessionsOf(st))
	locks := certstorage.NewLocks(certstorage.LockOptions{Store: st, Sessions: own, Node: "n1"})
	defer locks.Close()
	first, second := certstorage.New(certstorage.Options{Store: st, Locks: locks}), over(t, openEtcd(t, member))
	for what, end := range map[string]func() error{
		"released":   func() error { return first.Unlock(t.Context(), lock) },
		"given back": func() error { return own.Close(t.Context()) },
	} {
		mustLock(t, first, lock)
		taken := make(chan time.Time, 1)
		go func() {
			if err := second.Lock(t.Context(), lock); err != nil {
				t.Error(err)
			}
			taken <- time.Now()
		}()
		time.Sleep(50 * time.Millisecond) // the other order is right, too, and tests less
		began := time.Now()
		if err := end(); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: taken after %s", what, (<-taken).Sub(began))
		mustUnlock(t, second, lock)
		if what == "given back" {
			mustUnlock(t, first, lock)
		}
	}
}

// A lock whose taking was not acknowledged is not left behind: others get it, and who asked
// may try again.
func TestLocksOfUnknownOutcomeAreReleased(t *testing.T) {
	member := etcdtest.Start(t)
	st := openEtcd(t, member)
	session, err := store.SessionsOf(st).Begin(t.Context(), time.Minute) // does not end meanwhile
	if err != nil {
		t.Fatal(err)
	}
	deaf := &unheard{Session: session}
	locks := certstorage.NewLocks(certstorage.LockOptions{Store: st, Sessions: one{deaf}})
	defer locks.Close()
	first, second := certstorage.New(certstorage.Options{Store: st, Locks: locks}), over(t, openEtcd(t, member))
	deaf.now.Store(true)
	if ok, err := first.TryLock(t.Context(), lock); ok || !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("without an answer: %v, %v", ok, err)
	}
	if ok, err := second.TryLock(t.Context(), lock); ok || err != nil {
		t.Fatalf("the test is void, the lock was not taken: %v, %v", ok, err)
	}
	deaf.now.Store(false)
	mustLock(t, first, lock) // what was taken in its session is its own
	mustUnlock(t, first, lock)
	deaf.now.Store(true)
	if ok, err := first.TryLock(t.Context(), lock); ok || err == nil {
		t.Fatalf("without an answer again: %v, %v", ok, err)
	}
	mustLock(t, second, lock)
	mustUnlock(t, second, lock)
}

// unheard is a session whose writes are done and not acknowledged, now and then.
type unheard struct {
	store.Session
	now atomic.Bool
}

func (u *unheard) Write(ctx context.Context, ops ...store.Op) (int64, error) {
	rev, err := u.Session.Write(ctx, ops...)
	if err == nil && u.now.Load() {
		return 0, &store.UnavailableError{Engine: "etcd", Reason: "its answer was lost", Unknown: true}
	}
	return rev, err
}

// one is a session that somebody else owns.
type one struct{ session store.Session }

func (o one) Session(context.Context) (store.Session, error) { return o.session, nil }
