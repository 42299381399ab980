package domainconnect

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
)

func openStore(t *testing.T) store.Store {
	t.Helper()
	st, err := boltstore.Open(filepath.Join(t.TempDir(), "apoxy.db"), boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return st
}

// Nodes that begin at once share one key, and so do those that come later.
func TestTheKeyIsMadeOnce(t *testing.T) {
	st := openStore(t)
	keys := make([]*Key, 4)
	var work sync.WaitGroup
	for i := range keys {
		work.Go(func() {
			k, err := LoadKey(t.Context(), st)
			if err != nil {
				t.Error(err)
			}
			keys[i] = k
		})
	}
	work.Wait()
	later, err := LoadKey(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if k == nil || strings.Join(k.Records(), "") != strings.Join(later.Records(), "") {
			t.Fatal("there are two keys")
		}
	}
	for i, text := range later.Records() {
		if len(text) > maxText || !strings.HasPrefix(text, "p="+string(rune('1'+i))+",a=RS256,d=") {
			t.Errorf("record %d is %q", i, text)
		}
	}
	if n := len(later.Records()); n != 2 {
		t.Errorf("%d records, want 2", n)
	}
}

// What is stored and is no key is told, without telling what it is.
func TestAStoredValueThatIsNoKey(t *testing.T) {
	small, _ := json.Marshal(stored{PKCS8: []byte("secret words")})
	for what, value := range map[string][]byte{
		"no JSON": []byte("secret words"), "no key": small, "too large": []byte(`"` + strings.Repeat("a", maxStored) + `"`),
	} {
		st := openStore(t)
		if _, err := st.Write(t.Context(), store.Op{Key: StoreKey, Value: value, If: store.Absent}); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadKey(t.Context(), st); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
