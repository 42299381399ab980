package certstorage_test

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/certstorage"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// raw is what is kept at a key.
func raw(t *testing.T, st store.Store, key string) string {
	t.Helper()
	kv, _, err := st.Get(t.Context(), certstorage.Prefix+key)
	if err != nil {
		t.Fatal(err)
	}
	return string(kv.Value)
}

// Encryption is switched on, its key replaced and the old one withdrawn, and everything
// can be read at every moment.
func TestRotation(t *testing.T) {
	st := openBolt(t, filepath.Join(t.TempDir(), "apoxy.db"))
	first, second := key(t, hexKey), key(t, base64Key)
	mustStore(t, over(t, st), "a/old", "secret old")
	before, err := over(t, st).Stat(t.Context(), "a/old")
	if err != nil {
		t.Fatal(err)
	}

	on := over(t, st, first)
	mustStore(t, on, "a/new", "secret new")
	if got := load(t, on, "a/old") + load(t, on, "a/new"); got != "secret oldsecret new" {
		t.Errorf("with encryption just switched on: %q", got)
	}
	if strings.Contains(raw(t, st, "a/new"), "secret") || !strings.Contains(raw(t, st, "a/old"), "secret") {
		t.Error("encryption does not begin with what is stored next")
	}
	if sum, err := on.Rewrite(t.Context()); err != nil || sum != (certstorage.Rewritten{Values: 2, Sealed: 1}) {
		t.Errorf("rewriting: %+v, %v", sum, err)
	}
	if strings.Contains(raw(t, st, "a/old"), "secret") {
		t.Error("a value is not encrypted after all were")
	}
	if after, err := on.Stat(t.Context(), "a/old"); err != nil || after != before {
		t.Errorf("rewritten it is %+v, %v; it was %+v", after, err, before)
	}

	turned := over(t, st, second, first)
	mustStore(t, turned, "a/newest", "secret newest")
	refused(t, over(t, st, second), first.ID()) // too early
	if sum, err := turned.Rewrite(t.Context()); err != nil || sum != (certstorage.Rewritten{Values: 3, Sealed: 2}) {
		t.Errorf("rewriting: %+v, %v", sum, err)
	}
	if sum, err := turned.Rewrite(t.Context()); err != nil || sum != (certstorage.Rewritten{Values: 3}) {
		t.Errorf("rewriting a second time: %+v, %v", sum, err)
	}
	alone := over(t, st, second)
	for _, k := range []string{"a/old", "a/new", "a/newest"} {
		if got := load(t, alone, k); got != "secret "+k[2:] {
			t.Errorf("%s holds %q", k, got)
		}
	}
	refused(t, over(t, st, first), second.ID())
	refused(t, over(t, st), second.ID())
}

// refused: nothing is read, written, deleted or locked without the key.
func refused(t *testing.T, s *certstorage.Storage, missing certstorage.ID) {
	t.Helper()
	ctx := t.Context()
	_, loadErr := s.Load(ctx, "a/new")
	_, listErr := s.List(ctx, "a", true)
	_, statErr := s.Stat(ctx, "a/new")
	_, tryErr := s.TryLock(ctx, "x")
	_, rewriteErr := s.Rewrite(ctx)
	for what, err := range map[string]error{
		"Load": loadErr, "List": listErr, "Stat": statErr, "TryLock": tryErr, "Lock": s.Lock(ctx, "x"),
		"Store": s.Store(ctx, "a/new", nil), "Delete": s.Delete(ctx, "a"), "Start": s.Start(ctx),
	} {
		if unknown, ok := errors.AsType[*certstorage.UnknownKeyError](err); !ok || unknown.Key != missing || !strings.Contains(err.Error(), "add that key") || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s without key %s: %v", what, missing, err)
		}
	}
	if _, ok := errors.AsType[*certstorage.UnknownKeyError](rewriteErr); rewriteErr != nil && !ok {
		t.Errorf("Rewrite without key %s: %v", missing, rewriteErr)
	}
}

// A key that nobody has any more is given up: what it encrypted is not there, and the rest
// is.
func TestLostKey(t *testing.T) {
	st := openBolt(t, filepath.Join(t.TempDir(), "apoxy.db"))
	lost, now := key(t, hexKey), key(t, base64Key)
	mustStore(t, over(t, st, lost), "a/old", "x")
	both := over(t, st, now, lost)
	mustStore(t, both, "a/new", "y")
	locks := certstorage.NewLocks(certstorage.LockOptions{Store: st})
	defer locks.Close()
	refused(t, over(t, st, now), lost.ID())
	for _, keys := range []certstorage.Keyring{{now}, {now}} {
		s := certstorage.New(certstorage.Options{Store: st, Locks: locks, Keys: keys, Lost: []certstorage.ID{lost.ID()}})
		if _, err := s.Load(t.Context(), "a/old"); !errors.Is(err, fs.ErrNotExist) || s.Exists(t.Context(), "a/old") {
			t.Errorf("what was encrypted with a lost key: %v", err)
		}
		if all, err := s.List(t.Context(), "a", false); err != nil || !slices.Equal(all, []string{"a/new"}) {
			t.Errorf("listed: %q, %v", all, err)
		}
		if got := load(t, s, "a/new"); got != "y" {
			t.Errorf("a/new holds %q", got)
		}
		if _, err := s.Rewrite(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if got := load(t, over(t, st, now), "a/new"); got != "y" { // lost_key is taken out
		t.Errorf("a/new holds %q", got)
	}
	if _, _, err := st.Get(t.Context(), certstorage.Prefix+"a/old"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("what nobody can read is still there: %v", err)
	}
}

// What somebody stores while all is encrypted anew is what remains.
func TestRewriteLosesNothing(t *testing.T) {
	st := openBolt(t, filepath.Join(t.TempDir(), "apoxy.db"))
	plain := over(t, st)
	for _, k := range []string{"a", "b", "c"} {
		mustStore(t, plain, k, "first")
	}
	s := over(t, meddling{st, func() { mustStore(t, plain, "b", "second") }}, key(t, hexKey))
	sum, err := s.Rewrite(t.Context())
	if err != nil || sum != (certstorage.Rewritten{Values: 3, Sealed: 3}) {
		t.Errorf("rewriting: %+v, %v", sum, err)
	}
	if got := load(t, s, "b"); got != "second" || strings.Contains(raw(t, st, "b"), "second") {
		t.Errorf("b holds %q, as %q", got, raw(t, st, "b"))
	}
}

// meddling calls then after each list of values.
type meddling struct {
	store.Store
	then func()
}

func (m meddling) List(ctx context.Context, prefix string, o store.ListOptions) (store.ListResult, error) {
	res, err := m.Store.List(ctx, prefix, o)
	if prefix == certstorage.Prefix {
		m.then()
	}
	return res, err
}

// What cannot be read is there, and is neither deleted nor taken for missing.
func TestWhatCannotBeRead(t *testing.T) {
	st := openBolt(t, filepath.Join(t.TempDir(), "apoxy.db"))
	s := over(t, st, key(t, hexKey))
	mustStore(t, s, "a/swapped", "x")
	mustStore(t, s, "a/other", "y")
	strange := map[string]string{"a/swapped": raw(t, st, "a/other"), "a/newer": "\x02\x00", "a/short": "\x01", "a/empty": "\x00"}
	for k, value := range strange {
		if _, err := st.Write(t.Context(), store.Op{Key: certstorage.Prefix + k, Value: []byte(value), If: store.Any}); err != nil {
			t.Fatal(err)
		}
	}
	keys, err := s.List(t.Context(), "a", false)
	if err != nil {
		t.Fatal(err)
	}
	for k := range strange {
		_, err := s.Load(t.Context(), k)
		if err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), k) {
			t.Errorf("%s: %v", k, err)
		}
		if !s.Exists(t.Context(), k) || !slices.Contains(keys, k) {
			t.Errorf("%s is taken for missing", k)
		}
		if sum, err := s.Rewrite(t.Context()); err != nil || sum.Left != len(strange)-1 { // the swapped one has the right key
			t.Errorf("rewriting: %+v, %v", sum, err)
		}
		if raw(t, st, k) == "" {
			t.Errorf("%s was changed", k)
		}
	}
	if err := certstorage.Check("", []byte("\x02")); err != nil || certstorage.CheckVersion([]byte("\x02")) == "" {
		t.Errorf("a newer version's value is damaged: %v", err)
	}
	mustStore(t, s, "a/short", "whole again")
	if got := load(t, s, "a/short"); got != "whole again" {
		t.Errorf("overwritten it holds %q", got)
	}
}

// What is damaged counts as lost where it can be ordered again, and nowhere else.
func TestWhatIsDamagedIsOrderedAgain(t *testing.T) {
	st := openBolt(t, filepath.Join(t.TempDir(), "apoxy.db"))
	s := over(t, st, key(t, hexKey))
	for k, lost := range map[string]bool{
		"certificates/ca/x/x.key": true, "ocsp/x-1": true, "uploads/x/1.pem": true, "acme/ca/orders/x.key": true, "acme/ca/challenge_tokens/x.json": true,
		"acme/ca/users/me/me.key": false, "pki/authorities/local/root.key": false, "certificates": true,
	} {
		mustStore(t, s, k, "a secret")
		sealed := []byte(raw(t, st, k))
		sealed[len(sealed)-1] ^= 1
		for what, value := range map[string][]byte{"changed": sealed, "cut": sealed[:20], "empty": {}} {
			if _, err := st.Write(t.Context(), store.Op{Key: certstorage.Prefix + k, Value: value, If: store.Any}); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Load(t.Context(), k); err == nil || errors.Is(err, fs.ErrNotExist) != lost {
				t.Errorf("%s, %s: %v; lost: %v", k, what, err, lost)
			}
		}
	}
}

// Locks of an engine that one process has alone end with the process, whatever it was
// about.
func TestLocksOfBoltAreNotKept(t *testing.T) {
	file := filepath.Join(t.TempDir(), "apoxy.db")
	st := openBolt(t, file)
	s := over(t, st)
	if err := s.Lock(t.Context(), "issue_cert_example.com"); err != nil {
		t.Fatal(err)
	}
	mustStore(t, s, "certificates/ca/example.com/example.com.key", "x")
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	again := over(t, openBolt(t, file))
	if ok, err := again.TryLock(t.Context(), "issue_cert_example.com"); !ok || err != nil {
		t.Errorf("after a restart: %v, %v", ok, err)
	}
	if got := load(t, again, "certificates/ca/example.com/example.com.key"); got != "x" {
		t.Errorf("after a restart the key is %q", got)
	}
}
