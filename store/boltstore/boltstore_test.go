package boltstore_test

import (
	"path/filepath"
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
	"github.com/apoxy-dev/caddy-apoxy/store/storetest"
)

func openAt(t *testing.T, path string, o boltstore.Options) *boltstore.Store {
	t.Helper()
	s, err := boltstore.Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestContract(t *testing.T) {
	o := boltstore.Options{History: storetest.History}
	storetest.Run(t,
		func(t *testing.T) store.Store { return openAt(t, filepath.Join(t.TempDir(), "apoxy.db"), o) },
		storetest.WithReopen(func(t *testing.T, s store.Store) store.Store {
			path := s.(*boltstore.Store).Path()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return openAt(t, path, o)
		}),
		storetest.WithLastingHistory(),
		storetest.WithDamage(func(t *testing.T, s store.Store, key string) store.Store {
			path := s.(*boltstore.Store).Path()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			flip(t, path, key, -1)
			return openAt(t, path, o)
		}))
}
