package boltstore_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
)

// BenchmarkOpenWithHistory opens a store whose history is full, of values of
// 3 KB that have nothing in common: the bytes bound it.
func BenchmarkOpenWithHistory(b *testing.B) {
	path := filepath.Join(b.TempDir(), "apoxy.db")
	open := func() *boltstore.Store {
		s, err := boltstore.Open(path, boltstore.Options{})
		if err != nil {
			b.Fatal(err)
		}
		return s
	}
	s := open()
	random := rand.NewChaCha8([32]byte{})
	first := int64(0)
	for i := range boltstore.DefaultHistoryBytes / 6000 {
		value := make([]byte, 3000)
		_, _ = random.Read(value) // it cannot fail
		rev, err := s.Write(b.Context(), store.Op{Key: fmt.Sprint("k", i%3000), Value: value, If: store.Any})
		if err != nil {
			b.Fatal(err)
		}
		if i == boltstore.DefaultHistoryBytes/12000 {
			first = rev
		}
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s := open()
		if _, err := s.Watch(b.Context(), "", first); err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
