package issuance

import (
	"bytes"
	"context"
	"crypto/tls"
	"slices"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
)

// index has the scheduler know a certificate.
func (w *world) index(issuerKey, hostname string, m made) {
	leaf, err := leafOf(m.chain)
	if err != nil {
		w.t.Fatal(err)
	}
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	var r record
	r.setCertificate(issuerKey, "dns-01", Want{Hostname: hostname}, leaf, w.s.now())
	delete(w.s.entries, hostname)
	w.s.add(hostname).set(Want{}, r)
}

// certmagic asks every CA and takes the newest; the index spares the misses.
func TestSeveralCAsCostOneReadToo(t *testing.T) {
	w := newWorld(t)
	st, first := w.counted(), w.key()
	second := w.second()
	secondKey := Authority{Directory: second.directory()}.Key()
	other := &certmagic.ACMEIssuer{CA: second.directory()}
	one, two := w.magic.Issuers, []certmagic.Issuer{w.magic.Issuers[0], other}
	at := func(key, host string) string { return "load " + certmagic.StorageKeys.SitePrivateKey(key, host) }
	young, old := makeCertificate(t, "a.example.com", 2, time.Hour), makeCertificate(t, "a.example.com", 1, 2*time.Hour)
	wild := makeCertificate(t, "*.example.com", 3, time.Hour)
	for name, tt := range map[string]struct {
		issuers []certmagic.Issuer
		store   func(t *testing.T)
		host    string
		serial  int64
		want    []string
	}{
		"the first has it": {two, func(t *testing.T) {
			young.save(t, st, first, "a.example.com")
			w.index(first, "a.example.com", young)
		}, "a.example.com", 2, []string{at(first, "a.example.com")}},
		"the second has it": {two, func(t *testing.T) {
			young.save(t, st, secondKey, "a.example.com")
			w.index(secondKey, "a.example.com", young)
		}, "a.example.com", 2, []string{at(secondKey, "a.example.com")}},
		"both have it": {two, func(t *testing.T) {
			old.save(t, st, first, "a.example.com")
			young.save(t, st, secondKey, "a.example.com")
			w.index(secondKey, "a.example.com", young)
		}, "a.example.com", 2, []string{at(secondKey, "a.example.com")}},
		"the index does not know": {two, func(t *testing.T) {
			young.save(t, st, secondKey, "a.example.com")
		}, "a.example.com", 2, []string{at(first, "a.example.com"), at(secondKey, "a.example.com")}},
		"the index is wrong": {two, func(t *testing.T) {
			young.save(t, st, first, "a.example.com")
			w.index(secondKey, "a.example.com", young)
		}, "a.example.com", 2, []string{at(secondKey, "a.example.com"), at(first, "a.example.com"), at(secondKey, "a.example.com")}},
		"the next one is being obtained": {two, func(t *testing.T) {
			old.save(t, st, first, "a.example.com")
			w.index(first, "a.example.com", old)
			w.s.mu.Lock()
			w.s.entries["a.example.com"].flight = &flight{order: true}
			w.s.mu.Unlock()
			young.save(t, st, secondKey, "a.example.com")
		}, "a.example.com", 2, []string{at(first, "a.example.com"), at(secondKey, "a.example.com")}},
		"the CA that the index knows is not this policy's": {one, func(t *testing.T) {
			old.save(t, st, first, "a.example.com")
			young.save(t, st, secondKey, "a.example.com")
			w.index(secondKey, "a.example.com", young)
		}, "a.example.com", 1, []string{at(first, "a.example.com")}},
		"a wildcard's": {two, func(t *testing.T) {
			wild.save(t, st, secondKey, "*.example.com")
			w.index(secondKey, "*.example.com", wild)
		}, "www.example.com", 3, []string{at(secondKey, "*.example.com")}},
		"a wildcard's, but it is lost": {one, func(t *testing.T) {
			young.save(t, st, first, "a.example.com")
			w.index(first, "*.example.com", wild)
		}, "a.example.com", 2, []string{at(first, "*.example.com"), at(first, "a.example.com")}},
	} {
		t.Run(name, func(t *testing.T) {
			w.magic.Issuers = tt.issuers
			for _, host := range []string{"a.example.com", "*.example.com"} {
				w.s.mu.Lock()
				delete(w.s.entries, host)
				w.s.mu.Unlock()
				for _, key := range []string{first, secondKey} {
					if err := deleteCertificate(t.Context(), st, key, host); err != nil {
						t.Fatal(err)
					}
				}
				evict(w.magic, host)
			}
			tt.store(t)
			st.took()
			w.cold(t, tt.host, tt.serial)
			if got := st.took(); !slices.Equal(got, tt.want) {
				t.Errorf("read %q, want %q", got, tt.want)
			}
			w.untouched(t)
		})
	}
}

func TestOtherKeysOfStorageAreLeftAlone(t *testing.T) {
	w := newWorld(t)
	st := w.counted()
	m := makeCertificate(t, "a.example.com", 4, time.Hour)
	whole, err := joinBundle(m.keyPEM, m.chain, []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	hello := &tls.ClientHelloInfo{}
	ctx := context.WithValue(t.Context(), certmagic.ClientHelloInfoCtxKey, hello)
	prefix := certmagic.StorageKeys.CertsPrefix(w.key())
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
	if got := st.took(); len(got) != 6 {
		t.Errorf("read %q", got)
	}
	w.untouched(t)
}
