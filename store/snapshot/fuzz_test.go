package snapshot_test

import (
	"bytes"
	"errors"
	"path/filepath"
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
	"github.com/apoxy-dev/caddy-apoxy/store/snapshot"
)

// FuzzCheck: whatever a file holds, it is read or refused.
func FuzzCheck(f *testing.F) {
	s, err := boltstore.Open(filepath.Join(f.TempDir(), "apoxy.db"), boltstore.Options{})
	if err != nil {
		f.Fatal(err)
	}
	defer s.Close()
	for _, key := range []string{"a", "b"} {
		var out bytes.Buffer
		if _, err := snapshot.Write(f.Context(), &out, s, "s", now); err != nil {
			f.Fatal(err)
		}
		f.Add(out.Bytes())
		if _, err := s.Write(f.Context(), store.Op{Key: key, Value: []byte(key), If: store.Any}); err != nil {
			f.Fatal(err)
		}
	}
	f.Add([]byte("apoxy-backup 1\n\x28\xb5\x2f\xfd"))
	f.Add([]byte("apoxy-backup 99999999999999999999\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		_, sum, err := snapshot.Check(t.Context(), bytes.NewReader(raw), func(key, reason string) {
			if reason == "" {
				t.Errorf("%q is damaged for no reason", key)
			}
		})
		if err != nil && !errors.Is(err, snapshot.ErrBroken) && !errors.Is(err, snapshot.ErrNewer) {
			t.Errorf("%v", err)
		}
		if sum.Values < 0 || sum.Damaged < 0 {
			t.Errorf("%+v", sum)
		}
	})
}
