package certfiles

import (
	"bytes"
	"context"
	"crypto/tls"
	"slices"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/apoxy-dev/caddy-apoxy/internal/certtest"
)

// certmagic asks every CA and takes the newest; the index spares the misses.
func TestSeveralCAsCostOneReadToo(t *testing.T) {
	w := newShelf(t, nil)
	st, first, secondKey := w.st, ourCA, otherCA
	one, two := w.magic.Issuers, []certmagic.Issuer{w.magic.Issuers[0], idle(otherCA)}
	at := func(key, host string) string { return "load " + certmagic.StorageKeys.SitePrivateKey(key, host) }
	young, old := certtest.New(t, "a.example.com", 2, time.Hour), certtest.New(t, "a.example.com", 1, 2*time.Hour)
	wild := certtest.New(t, "*.example.com", 3, time.Hour)
	for name, tt := range map[string]struct {
		issuers []certmagic.Issuer
		store   func(t *testing.T)
		host    string
		serial  int64
		want    []string
	}{
		"the first has it": {two, func(t *testing.T) {
			save(t, young, st, first, "a.example.com")
			w.index(first, "a.example.com", young)
		}, "a.example.com", 2, []string{at(first, "a.example.com")}},
		"the second has it": {two, func(t *testing.T) {
			save(t, young, st, secondKey, "a.example.com")
			w.index(secondKey, "a.example.com", young)
		}, "a.example.com", 2, []string{at(secondKey, "a.example.com")}},
		"both have it": {two, func(t *testing.T) {
			save(t, old, st, first, "a.example.com")
			save(t, young, st, secondKey, "a.example.com")
			w.index(secondKey, "a.example.com", young)
		}, "a.example.com", 2, []string{at(secondKey, "a.example.com")}},
		"the index does not know": {two, func(t *testing.T) {
			save(t, young, st, secondKey, "a.example.com")
		}, "a.example.com", 2, []string{at(first, "a.example.com"), at(secondKey, "a.example.com")}},
		"the index is wrong": {two, func(t *testing.T) {
			save(t, young, st, first, "a.example.com")
			w.index(secondKey, "a.example.com", young)
		}, "a.example.com", 2, []string{at(secondKey, "a.example.com"), at(first, "a.example.com"), at(secondKey, "a.example.com")}},
		"the next one is being obtained": {two, func(t *testing.T) {
			save(t, old, st, first, "a.example.com")
			w.index(first, "a.example.com", old)
			w.known.busy = true
			save(t, young, st, secondKey, "a.example.com")
		}, "a.example.com", 2, []string{at(first, "a.example.com"), at(secondKey, "a.example.com")}},
		"the CA that the index knows is not this policy's": {one, func(t *testing.T) {
			save(t, old, st, first, "a.example.com")
			save(t, young, st, secondKey, "a.example.com")
			w.index(secondKey, "a.example.com", young)
		}, "a.example.com", 1, []string{at(first, "a.example.com")}},
		"a wildcard's": {two, func(t *testing.T) {
			save(t, wild, st, secondKey, "*.example.com")
			w.index(secondKey, "*.example.com", wild)
		}, "www.example.com", 3, []string{at(secondKey, "*.example.com")}},
		"a wildcard's, but it is lost": {one, func(t *testing.T) {
			save(t, young, st, first, "a.example.com")
			w.index(first, "*.example.com", wild)
		}, "a.example.com", 2, []string{at(first, "*.example.com"), at(first, "a.example.com")}},
	} {
		t.Run(name, func(t *testing.T) {
			w.magic.Issuers = tt.issuers
			w.forget()
			for _, host := range []string{"a.example.com", "*.example.com"} {
				for _, key := range []string{first, secondKey} {
					if err := At(st, key, host).Delete(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				Evict(w.magic, host)
			}
			tt.store(t)
			st.Took()
			w.cold(t, tt.host, tt.serial)
			if got := st.Took(); !slices.Equal(got, tt.want) {
				t.Errorf("read %q, want %q", got, tt.want)
			}
			w.untouched(t)
		})
	}
}

func TestOtherKeysOfStorageAreLeftAlone(t *testing.T) {
	w := newShelf(t, nil)
	st := w.st
	m := certtest.New(t, "a.example.com", 4, time.Hour)
	whole, err := joinBundle(m.KeyPEM, m.Chain, []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	hello := &tls.ClientHelloInfo{}
	ctx := context.WithValue(t.Context(), certmagic.ClientHelloInfoCtxKey, hello)
	prefix := certmagic.StorageKeys.CertsPrefix(ourCA)
	for _, key := range []string{
		"certificates/elsewhere/a.example.com/a.example.com.key", prefix + "/a.example.com/b.example.com.key",
		prefix + "/a.example.com/a.example.com.key.compromised", prefix + "/a.example.com.key", prefix + "x/a/a.key", "acme/a.key",
	} {
		if err := w.magic.Storage.Store(ctx, key, whole); err != nil {
			t.Fatal(err)
		}
		if got, err := w.magic.Storage.Load(ctx, key); err != nil || !bytes.Equal(got, whole) {
			t.Errorf("%s: %q, %v", key, got, err)
		}
	}
	if got := st.Took(); len(got) != 6 {
		t.Errorf("read %q", got)
	}
	w.untouched(t)
}
