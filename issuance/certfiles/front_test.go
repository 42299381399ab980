package certfiles

import (
	"context"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/internal/certtest"
)

func TestCertmagicsMemoryIsReachableAndEvictsAHostname(t *testing.T) {
	w := newShelf(t, nil)
	save(t, certtest.New(t, "api.example.com", 1, time.Hour), w.st, ourCA, "api.example.com")
	cache := cacheOf(w.magic)
	if cache == nil {
		t.Fatal("certmagic.Config has changed: evict does nothing any more")
	}
	if _, err := w.magic.CacheManagedCertificate(context.Background(), "api.example.com"); err != nil {
		t.Fatal(err)
	}
	if n := len(cache.AllMatchingCertificates("api.example.com")); n != 1 {
		t.Fatalf("%d certificates in memory", n)
	}
	Evict(w.magic, "api.example.com")
	if n := len(cache.AllMatchingCertificates("api.example.com")); n != 0 {
		t.Errorf("%d certificates stay in memory", n)
	}
}

// FuzzStoredPlace reads any key of storage as one of our certificates' files:
// what is taken for one is called the same when it is put together again.
func FuzzStoredPlace(f *testing.F) {
	for _, key := range []string{"/a.example.com/a.example.com.key", "/wildcard_.example.com/wildcard_.example.com.json", "/a/b.crt", "//.key", "/a/a.key/b"} {
		f.Add("certificates/" + ourCA + key)
	}
	var front Front
	front.SetIssuers([]string{ourCA})
	f.Fuzz(func(t *testing.T, key string) {
		p, ok := front.site(key)
		if !ok {
			return
		}
		if p.with(p.ext) != key {
			t.Fatalf("%q is taken for %q", key, p.with(p.ext))
		}
		if at := placeOf(ourCA, p.hostname()); at.name == p.name && at.with(p.ext) != key {
			t.Fatalf("%q is the place of %q, which lies at %q", key, p.hostname(), at.with(p.ext))
		}
	})
}
