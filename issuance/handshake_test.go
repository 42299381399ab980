package issuance

import (
	"context"
	"crypto/x509"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/apoxy-dev/caddy-apoxy/internal/certtest"
	"github.com/apoxy-dev/caddy-apoxy/issuance/certfiles"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// hangingStorage is a storage whose first answer to Load does not come.
type hangingStorage struct {
	certmagic.Storage
	once       sync.Once
	asked, let chan struct{}
}

func (s *hangingStorage) Load(ctx context.Context, key string) ([]byte, error) {
	s.once.Do(func() {
		s.asked <- struct{}{}
		<-s.let
	})
	return s.Storage.Load(ctx, key)
}

func TestAStorageThatHangsHoldsOnlyItsHandshakeUp(t *testing.T) {
	const host = "a.example.com"
	w := newWorld(t)
	w.dns.delegate(host)
	w.s.Want(Want{Hostname: host, UID: "1", DNS01: true})
	w.until(host, "its certificate", seen)
	w.wait("the end of the work", func() bool {
		w.s.entries.mu.Lock()
		defer w.s.entries.mu.Unlock()
		return w.s.entries.of.get(host).flight() == nil
	}, func() string { return "it goes on" })

	hanging := &hangingStorage{Storage: w.magic.Storage, asked: make(chan struct{}, 1), let: make(chan struct{})}
	w.magic.Storage = hanging
	answered := make(chan error, 1)
	go func() {
		_, err := w.s.Issue(context.Background(), w.is, w.is.list[0].member, &x509.CertificateRequest{DNSNames: []string{host}})
		answered <- err
	}()
	<-hanging.asked
	observed := make(chan struct{})
	go func() { w.s.Observe("b.example.com"); close(observed) }()
	select {
	case <-observed:
	case <-time.After(10 * time.Second):
		t.Error("storage that hangs for one hostname holds the others up")
	}
	close(hanging.let)
	if err := <-answered; err == nil || !strings.Contains(err.Error(), "the scheduler renews it") {
		t.Errorf("the handshake was answered %v", err)
	}
}

// The operator's way to have a certificate made anew.
func TestAKeyFileThatIsRemovedByHandIsMadeAnew(t *testing.T) {
	const host = "api.example.com"
	w := newWorld(t)
	w.dns.delegate(host)
	w.s.Want(Want{Hostname: host, UID: "u1", DNS01: true})
	before := w.until(host, "certified", seen)
	if err := w.magic.Storage.Delete(t.Context(), certmagic.StorageKeys.SitePrivateKey(w.key(), host)); err != nil {
		t.Fatal(err)
	}
	certfiles.Evict(w.magic, host)
	if _, err := certtest.Shake(w.magic, host); err != nil {
		t.Fatal(err)
	}
	w.until(host, "made anew", func(o ownership.CertificateObservation) bool { return seen(o) && o.SerialNumber != before.SerialNumber })
}
