package certfiles

import (
	"testing"
)

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
