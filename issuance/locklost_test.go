package issuance

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/apoxy-dev/caddy-apoxy/internal/certtest"
	"github.com/apoxy-dev/caddy-apoxy/issuance/certfiles"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// overtaken is a storage whose lock another node has by the time that a certificate is
// stored under it.
type overtaken struct {
	*certmagic.FileStorage
	prefix string // of what the lock protects
	once   atomic.Bool
	by     func() // what the other node does
	err    error  // of storing after that
}

func (s *overtaken) RenewLockLease(context.Context, string, time.Duration) error {
	if s.once.Load() {
		return certfiles.ErrLockLost
	}
	return nil
}

func (s *overtaken) Store(ctx context.Context, key string, value []byte) error {
	if strings.HasPrefix(key, s.prefix) && s.once.CompareAndSwap(false, true) {
		s.by()
		return fmt.Errorf("storing %q: %w", key, s.err)
	}
	return s.FileStorage.Store(ctx, key, value)
}

// A node whose lock went to another while it ordered keeps nothing of its own: what the
// other has stored meanwhile stays, and is no failure.
func TestAnOrderWhoseLockWasLostLeavesTheOthersAlone(t *testing.T) {
	t.Run("the storage says so", func(t *testing.T) { leavesTheOthersAlone(t, certfiles.ErrLockLost) })
	t.Run("it fails in another way", func(t *testing.T) { leavesTheOthersAlone(t, errors.New("failed")) })
}

func leavesTheOthersAlone(t *testing.T, storing error) {
	const host = "api.example.com"
	w := newWorld(t)
	w.halt()
	files := certfiles.Unwrap(w.magic.Storage).(*certmagic.FileStorage)
	m := certtest.New(t, host, 7, 0)
	leaf, err := certfiles.LeafOf(m.Chain)
	if err != nil {
		t.Fatal(err)
	}
	serial := leaf.SerialNumber.Text(16)
	w.magic.Storage = &overtaken{FileStorage: files, prefix: certmagic.StorageKeys.CertsSitePrefix(w.key(), host), err: storing, by: func() {
		if err := certfiles.At(files, w.key(), host).Save(context.Background(), m.Key, m.Chain, certfiles.Metadata{Provenance: &certfiles.Provenance{UID: "u1"}}); err != nil {
			t.Error(err)
		}
		r := dossier{UID: "u1", CA: w.key(), Serial: serial, NotBefore: leaf.NotBefore.Unix(), NotAfter: leaf.NotAfter.Unix()}
		if _, err := w.store.Write(context.Background(), store.Op{Key: IndexPrefix + host, Value: r.marshal(), If: store.Any}); err != nil {
			t.Error(err)
		}
	}}
	w.start()
	w.dns.delegate(host)
	w.s.Want(Want{Hostname: host, UID: "u1", DNS01: true})
	if o := w.until(host, "certified", seen); o.SerialNumber != serial {
		t.Errorf("it has %s, want the other node's %s", o.SerialNumber, serial)
	}
	if got := w.ca.Placed(); got != 1 {
		t.Errorf("%d orders", got)
	}
}

// forgetful is a storage in a store that does not answer when a certificate is first to be
// stored, whatever of it.
type forgetful struct {
	*certmagic.FileStorage
	prefix string
	fails  atomic.Int64
}

func (s *forgetful) Store(ctx context.Context, key string, value []byte) error {
	if strings.HasPrefix(key, s.prefix) && s.fails.Add(-1) >= 0 {
		return fmt.Errorf("storing %q: %w", key, &store.UnavailableError{Engine: "etcd", Reason: "it does not answer in time"})
	}
	return s.FileStorage.Store(ctx, key, value)
}

// A certificate that could not be stored, because the store was away, is got again from
// the order that it came of: no second one is placed.
func TestACertificateThatCouldNotBeStoredIsNotOrderedAgain(t *testing.T) {
	const host = "api.example.com"
	w := newWorld(t)
	w.halt()
	files := certfiles.Unwrap(w.magic.Storage).(*certmagic.FileStorage)
	away := &forgetful{FileStorage: files, prefix: certmagic.StorageKeys.SiteCert(w.key(), host)}
	away.fails.Store(2)
	w.magic.Storage = away
	w.start()
	w.dns.delegate(host)
	w.s.Want(Want{Hostname: host, UID: "u1", DNS01: true})
	w.until(host, "certified", seen)
	if got := w.ca.Placed(); got != 1 {
		t.Errorf("%d orders", got)
	}
}
