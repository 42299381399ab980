package certstorage_test

import (
	"context"
	"crypto/tls"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/apoxy-dev/caddy-apoxy/internal/etcdtest"
	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/mirror"
)

// While etcd is out of reach handshakes load certificates from this node's copy, also
// right after a start. Nothing else does, and nothing is locked or stored.
func TestHandshakesAreServedFromACopy(t *testing.T) {
	w := newWay(t, etcdtest.Start(t))
	copied, err := mirror.Open(openEtcd(t, w.endpoint()), filepath.Join(t.TempDir(), "copy.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer copied.Close()
	before := over(t, copied, key(t, hexKey))
	mustStore(t, before, keyFile, "a key")
	handshake := context.WithValue(t.Context(), certmagic.ClientHelloInfoCtxKey, &tls.ClientHelloInfo{})
	after := over(t, copied, key(t, hexKey))
	for end := time.Now().Add(2 * bound); ; w.mend() { // the copy follows, and may not have it yet
		answers(t, before)
		w.silence()
		got, err := after.Load(handshake, keyFile)
		if err == nil && string(got) == "a key" {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("a handshake without etcd loads %q, %v", got, err)
		}
	}
	if got, err := before.Load(handshake, keyFile); err != nil || string(got) != "a key" {
		t.Errorf("another handshake: %q, %v", got, err)
	}
	for what, err := range map[string]error{
		"loading without a handshake": func() error { _, err := before.Load(t.Context(), keyFile); return err }(),
		"storing in a handshake":      before.Store(handshake, keyFile, nil),
		"locking in a handshake":      after.Lock(handshake, lock),
	} {
		if !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
