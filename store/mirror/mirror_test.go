package mirror

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
)

// away is an engine that can go away, as etcd does.
type away struct {
	store.Store
	gone, slow atomic.Bool
}

var errAway = &store.UnavailableError{Engine: "the engine", Reason: "it is away"}

func (a *away) wait(ctx context.Context) error {
	if a.gone.Load() {
		return errAway
	}
	if a.slow.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

func (a *away) Get(ctx context.Context, key string) (store.KeyValue, int64, error) {
	if err := a.wait(ctx); err != nil {
		return store.KeyValue{}, 0, err
	}
	return a.Store.Get(ctx, key)
}

func (a *away) List(ctx context.Context, prefix string, o store.ListOptions) (store.ListResult, error) {
	if err := a.wait(ctx); err != nil {
		return store.ListResult{}, err
	}
	return a.Store.List(ctx, prefix, o)
}

func (a *away) Watch(ctx context.Context, prefix string, after int64) (store.Watcher, error) {
	if err := a.wait(ctx); err != nil {
		return nil, err
	}
	return a.Store.Watch(ctx, prefix, after)
}

func (a *away) Close() error { return nil } // it is elsewhere

func engine(t *testing.T, o boltstore.Options) *away {
	t.Helper()
	st, err := boltstore.Open(filepath.Join(t.TempDir(), "engine.db"), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return &away{Store: st}
}

func open(t *testing.T, primary store.Store, path string) *Store {
	t.Helper()
	s, err := Open(primary, path, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func put(t *testing.T, s store.Store, key, value string) int64 {
	t.Helper()
	rev, err := s.Write(t.Context(), store.Op{Key: key, Value: []byte(value), If: store.Any})
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

// reaches waits until the copy has come to a revision.
func (s *Store) reaches(t *testing.T, rev int64) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); s.copy.revision() < rev; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the copy has come to %d, want %d", s.copy.revision(), rev)
		}
	}
}

// all lists everything, stale or not.
func all(t *testing.T, s store.Store) (map[string]string, error) {
	t.Helper()
	ctx, stale := store.AllowStale(t.Context(), 50*time.Millisecond)
	out, o := map[string]string{}, store.ListOptions{Limit: 7}
	for {
		res, err := s.List(ctx, "", o)
		if err != nil {
			return nil, err
		}
		for _, kv := range res.KeyValues {
			if store.Ephemeral(kv.Key) {
				continue
			}
			out[kv.Key] = fmt.Sprint(string(kv.Value), "@", kv.Revision)
		}
		if !res.More {
			return out, stale.Cause()
		}
		o.After, o.Revision = res.KeyValues[len(res.KeyValues)-1].Key, res.Revision
	}
}

// A list by a selector asks for the revision and then for records, and one in pages asks
// for each: together they wait for the engine as long as one read does.
func TestWhoHasWaitedOnceDoesNotWaitAgain(t *testing.T) {
	e := engine(t, boltstore.Options{})
	s := open(t, e, filepath.Join(t.TempDir(), "copy.db"))
	s.reaches(t, put(t, e, "a", "1"))
	for patience, want := range map[time.Duration]int{20 * time.Millisecond: 1, 0: 3} {
		asked := 0
		away := func(ctx context.Context) error {
			if asked++; patience > 0 {
				<-ctx.Done()
				return ctx.Err()
			}
			return store.ErrUnavailable
		}
		ctx, stale := store.AllowStale(t.Context(), patience)
		for range 3 {
			if err := s.ask(ctx, away, func() error { return nil }); err != nil {
				t.Fatal(err)
			}
		}
		if asked != want || stale.Cause() == nil {
			t.Errorf("patience %v: the engine was asked %d times, want %d; stale: %v", patience, asked, want, stale.Cause())
		}
	}
}

func TestWhatIsCopiedIsReadWhereThatIsAllowed(t *testing.T) {
	e := engine(t, boltstore.Options{})
	s := open(t, e, filepath.Join(t.TempDir(), "copy.db"))
	put(t, e, "a", "1")
	put(t, e, "b", "2")
	put(t, e, "nodes/n1", "x")
	rev := put(t, e, "a", "3")
	s.reaches(t, rev)

	ctx, stale := store.AllowStale(t.Context(), time.Minute)
	if kv, _, err := s.Get(ctx, "a"); err != nil || string(kv.Value) != "3" || stale.Cause() != nil {
		t.Errorf("with the engine: %v, %v, stale for %v", kv, err, stale.Cause())
	}
	for name, trouble := range map[string]*atomic.Bool{"away": &e.gone, "slow": &e.slow} {
		trouble.Store(true)
		short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		if kv, _, err := s.Get(short, "a"); err == nil {
			t.Errorf("%s: who does not allow it reads %v", name, kv)
		}
		cancel()
		ctx, stale := store.AllowStale(t.Context(), 50*time.Millisecond)
		kv, at, err := s.Get(ctx, "a")
		if err != nil || string(kv.Value) != "3" || kv.Revision != rev || at != rev || !errors.Is(stale.Cause(), store.ErrUnavailable) {
			t.Errorf("%s: %v at %d, %v, stale for %v", name, kv, at, err, stale.Cause())
		}
		if _, _, err := s.Get(ctx, "none"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
		if _, _, err := s.Get(ctx, "nodes/n1"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: what says who is live is copied: %v", name, err)
		}
		if _, err := s.List(ctx, "", store.ListOptions{Revision: rev - 1}); !errors.Is(err, store.ErrExpired) {
			t.Errorf("%s: the past: %v", name, err)
		}
		if got, err := all(t, s); len(got) != 2 || !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		trouble.Store(false)
	}
}

// A copy that was never complete is none.
func TestNothingIsReadFromAHalfCopy(t *testing.T) {
	e := engine(t, boltstore.Options{})
	put(t, e, "a", "1")
	e.gone.Store(true)
	s := open(t, e, filepath.Join(t.TempDir(), "copy.db"))
	ctx, stale := store.AllowStale(t.Context(), 0)
	if _, _, err := s.Get(ctx, "a"); !errors.Is(err, store.ErrUnavailable) || stale.Cause() != nil {
		t.Errorf("%v, stale for %v", err, stale.Cause())
	}
	e.gone.Store(false)
	s.reaches(t, 2)
}

// What remains after a page is told of each, though it is counted once.
func TestPagesOfACopyTellWhatRemains(t *testing.T) {
	e := engine(t, boltstore.Options{})
	s := open(t, e, filepath.Join(t.TempDir(), "copy.db"))
	total := 0
	for range 3 { // each time there are more, at a later revision
		for range 25 {
			s.reaches(t, put(t, e, fmt.Sprintf("a/%03d", total), "x"))
			total++
		}
		s.reaches(t, put(t, e, "b", "x"))
		e.gone.Store(true)
		for range 2 {
			o := store.ListOptions{Limit: 4}
			for left := total; left > 0; {
				ctx, _ := store.AllowStale(t.Context(), 0)
				res, err := s.List(ctx, "a/", o)
				if err != nil {
					t.Fatal(err)
				}
				left -= len(res.KeyValues)
				if res.Remaining != int64(left) || res.More != (left > 0) {
					t.Fatalf("after %q: %d remain, more %v; want %d", o.After, res.Remaining, res.More, left)
				}
				o.After, o.Revision = res.KeyValues[len(res.KeyValues)-1].Key, res.Revision
			}
		}
		e.gone.Store(false)
	}
}

// The copy is what the engine has, over any history of writes, restarts, crashes, absences
// and compactions, once it has caught up.
func TestTheCopyIsWhatTheEngineHas(t *testing.T) {
	for seed := range uint64(6) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		e := engine(t, boltstore.Options{History: 5})
		path := filepath.Join(t.TempDir(), "copy.db")
		s := open(t, e, path)
		for range 30 {
			var rev int64
			for range rnd.IntN(12) {
				key := fmt.Sprint("k", rnd.IntN(20))
				var value []byte
				if rnd.IntN(4) > 0 {
					value = fmt.Append(nil, rnd.Uint64())
				}
				var err error
				if rev, err = e.Write(t.Context(), store.Op{Key: key, Value: value, If: store.Any}); err != nil {
					t.Fatal(err)
				}
			}
			switch rnd.IntN(4) {
			case 0:
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				s = open(t, e, path)
			case 1:
				e.gone.Store(true)
				put(t, e, "while", fmt.Sprint(rnd.Uint64()))
				e.gone.Store(false)
			case 2: // a crash of the process: nothing is closed
				s.cancel()
				<-s.done
				if err := s.copy.db.Close(); err != nil {
					t.Fatal(err)
				}
				s = open(t, e, path)
			}
			s.reaches(t, rev)
		}
		s.reaches(t, put(t, e, "last", "x"))
		want, err := all(t, e)
		if err != nil {
			t.Fatal(err)
		}
		e.gone.Store(true)
		if got, _ := all(t, s); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("seed %d: the copy has %v, the engine %v", seed, got, want)
		}
		e.gone.Store(false)
	}
}

// A file that cannot be trusted is made anew.
func TestADamagedCopyIsMadeAnew(t *testing.T) {
	e := engine(t, boltstore.Options{})
	rev := put(t, e, "a", "1")
	path := filepath.Join(t.TempDir(), "copy.db")
	fresh := func() {
		t.Helper()
		s := open(t, e, path)
		s.reaches(t, rev)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	fresh()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func([]byte) []byte{
		"empty":   func([]byte) []byte { return nil },
		"cut off": func(b []byte) []byte { return b[:len(b)/2] },
		"zeroed":  func(b []byte) []byte { clear(b); return b },
		"noise": func(b []byte) []byte {
			for i := 4096; i < len(b); i++ {
				b[i] ^= byte(i * 7)
			}
			return b
		},
	} {
		if err := os.WriteFile(path, spoil(append([]byte(nil), raw...)), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(*testing.T) { fresh() })
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file, which may hold keys, has mode %v, %v", info.Mode(), err)
	}
	// Another process has it.
	s := open(t, e, path)
	if _, err := Open(e, path, nil); err == nil {
		t.Error("two have it open")
	}
	s.reaches(t, rev)
}

// Another store at the same address, such as an etcd that was made anew and filled from a
// backup, is copied from the start, whatever its revisions are.
func TestAnotherStoreIsCopiedAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "copy.db")
	first := engine(t, boltstore.Options{})
	put(t, first, "only in the first", "1")
	s := open(t, first, path)
	s.reaches(t, put(t, first, "a", "1"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	second := engine(t, boltstore.Options{})
	var rev int64
	for i := range 20 { // it is past where the first was
		rev = put(t, second, "a", fmt.Sprint(i))
	}
	second.gone.Store(true)
	s = open(t, second, path)
	second.gone.Store(false)
	s.reaches(t, rev)
	second.gone.Store(true)
	if got, _ := all(t, s); len(got) != 1 {
		t.Errorf("the copy has %v", got)
	}
}
