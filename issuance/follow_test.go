package issuance

import (
	"context"
	"errors"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/apoxy-dev/caddy-apoxy/internal/certtest"
	"github.com/apoxy-dev/caddy-apoxy/issuance/certfiles"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
)

// hesitant is a store that cannot be read for the first few times.
type hesitant struct {
	store.Store
	left atomic.Int32
}

func (h *hesitant) List(ctx context.Context, prefix string, o store.ListOptions) (store.ListResult, error) {
	if h.left.Add(-1) >= 0 {
		return store.ListResult{}, errors.New("no leader")
	}
	return h.Store.List(ctx, prefix, o)
}

func TestAStoreThatIsAwayAtTheStartIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, err := boltstore.Open(filepath.Join(t.TempDir(), "apoxy.db"), boltstore.Options{})
		if err != nil {
			t.Fatal(err)
		}
		h := &hesitant{Store: st}
		h.left.Store(3)
		s := New(Config{Store: h})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		known, stop := context.WithCancel(ctx)
		go func() {
			if err := <-ended; err != nil {
				t.Errorf("it gave up: %v", err)
			}
			stop()
		}()
		if _, err := s.Indexed(known); err != nil {
			t.Error(err)
		}
		cancel()
		<-known.Done()
		synctest.Wait()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
}

// Another node has had it revoked and its files deleted; this one must neither
// serve it from memory nor take it for good.
func TestACertificateThatAnotherNodeRevokedIsNotKept(t *testing.T) {
	const host = "api.example.com"
	w := newWorld(t)
	w.dns.delegate(host)
	w.s.Want(Want{Hostname: host, UID: "u1", DNS01: true})
	before := w.until(host, "certified", seen)
	if _, err := certtest.Shake(w.magic, host); err != nil {
		t.Fatal(err)
	}
	if err := certfiles.At(w.magic.Storage, w.key(), host).Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.store.Write(t.Context(), store.Op{Key: IndexPrefix + host, If: store.Any}); err != nil {
		t.Fatal(err)
	}
	o := w.until(host, "obtained anew", func(o ownership.CertificateObservation) bool { return seen(o) && o.SerialNumber != before.SerialNumber })
	serial, err := strconv.ParseInt(o.SerialNumber, 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := certtest.Shake(w.magic, host); err != nil || got != serial {
		t.Errorf("served %d, %v; want %d", got, err, serial)
	}
}
