package setup

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
)

func openStore(t *testing.T) *boltstore.Store {
	t.Helper()
	st, err := boltstore.Open(filepath.Join(t.TempDir(), "apoxy.db"), boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return st
}

func TestAllNodesHaveOneKey(t *testing.T) {
	st := openStore(t)
	keys := make([][]byte, 16)
	var all sync.WaitGroup
	for i := range keys {
		all.Go(func() {
			node := &Keys{Store: st}
			get := node.ForSigning
			if i%2 == 1 {
				get = node.ForChecking
			}
			key, err := get(t.Context())
			if err != nil {
				t.Error(err)
			}
			keys[i] = key
		})
	}
	all.Wait()
	for _, k := range keys {
		if len(k) != KeySize || !bytes.Equal(k, keys[0]) {
			t.Fatalf("keys differ: %x and %x", k, keys[0])
		}
	}
	kv, _, err := st.Get(t.Context(), "setup/key")
	if err != nil || !bytes.Equal(kv.Value, keys[0]) || CheckKey(kv.Key, kv.Value) != nil {
		t.Errorf("the store has %x, %v", kv.Value, err)
	}
	if store.Ephemeral("setup/key") {
		t.Error("a copy of the store would leave the key out, and end all links")
	}
}

// counted counts the reads of a store, which may fail.
type counted struct {
	store.Store
	reads int
	err   error
}

func (c *counted) Get(ctx context.Context, key string) (store.KeyValue, int64, error) {
	c.reads++
	if c.err != nil {
		return store.KeyValue{}, 0, c.err
	}
	return c.Store.Get(ctx, key)
}

func TestForgedLinksReadNoKey(t *testing.T) {
	st, now := &counted{Store: openStore(t)}, testNow
	keys := &Keys{Store: st, Now: func() time.Time { return now }}
	first, err := keys.ForChecking(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	reads := st.reads
	for range 1000 {
		if key, err := keys.ForChecking(t.Context()); err != nil || !bytes.Equal(key, first) {
			t.Fatal(key, err)
		}
	}
	if st.reads != reads {
		t.Errorf("%d reads for 1000 links", st.reads-reads)
	}
	// Another key is taken up soon, and the one that was known holds while none can be read.
	other := bytes.Repeat([]byte{9}, KeySize)
	if _, err := st.Write(t.Context(), store.Op{Key: keyAt, Value: other, If: store.Any}); err != nil {
		t.Fatal(err)
	}
	now = now.Add(keyAge)
	st.err = &store.UnavailableError{Engine: "etcd", Reason: "it is away"}
	if key, err := keys.ForChecking(t.Context()); err != nil || !bytes.Equal(key, first) {
		t.Errorf("without the engine: %x, %v", key, err)
	}
	if _, err := keys.ForSigning(t.Context()); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("signing without the engine: %v", err)
	}
	st.err = nil
	if key, err := keys.ForChecking(t.Context()); err != nil || !bytes.Equal(key, other) {
		t.Errorf("after the change: %x, %v", key, err)
	}
}

func TestAKeyThatCannotBeUsedIsMadeAnew(t *testing.T) {
	st := openStore(t)
	if _, err := st.Write(t.Context(), store.Op{Key: keyAt, Value: []byte("short"), If: store.Absent}); err != nil {
		t.Fatal(err)
	}
	key, err := (&Keys{Store: st}).ForSigning(t.Context())
	if err != nil || len(key) != KeySize {
		t.Fatal(key, err)
	}
	again, err := (&Keys{Store: st}).ForSigning(t.Context())
	if err != nil || !bytes.Equal(key, again) {
		t.Errorf("then %x, %v", again, err)
	}
}
