package issuance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/apoxy-dev/caddy-apoxy/internal/acmetest"
	"github.com/apoxy-dev/caddy-apoxy/internal/certtest"
	"github.com/apoxy-dev/caddy-apoxy/internal/times"
	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
	"github.com/apoxy-dev/caddy-apoxy/issuance/certfiles"
	"github.com/apoxy-dev/caddy-apoxy/issuance/fairqueue"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// files is the directory that holds a hostname's certificate.
func (w *world) files(hostname string) string {
	return filepath.Join(w.dir, "storage", filepath.FromSlash(certmagic.StorageKeys.CertsSitePrefix(w.key(), hostname)))
}

// certified has a certificate obtained.
func (w *world) certified(hostnames ...string) {
	w.t.Helper()
	for _, h := range hostnames {
		w.dns.delegate(h)
		w.s.Want(Want{Hostname: h, UID: "u1", DNS01: true})
	}
	for _, h := range hostnames {
		w.until(h, "certified", seen)
	}
}

// Each row is a way to lose what storage had; after any look the certificate is
// told to be gone, and another one is in its place soon.
func TestACertificateThatStorageLostIsMissedAndReplaced(t *testing.T) {
	const host = "api.example.com"
	for name, lose := range map[string]func(w *world) error{
		"the files removed":     func(w *world) error { return os.RemoveAll(w.files(host)) },
		"the key removed":       func(w *world) error { return os.Remove(filepath.Join(w.files(host), host+".key")) },
		"the volume not there":  func(w *world) error { return os.RemoveAll(filepath.Join(w.dir, "storage", "certificates")) },
		"the storage not there": func(w *world) error { return os.RemoveAll(filepath.Join(w.dir, "storage")) },
		"the files emptied": func(w *world) error {
			return errors.Join(os.Truncate(filepath.Join(w.files(host), host+".key"), 0), os.Truncate(filepath.Join(w.files(host), host+".crt"), 0))
		},
		"an expired backup restored": func(w *world) error {
			m := certtest.New(w.t, host, 7, 400*24*time.Hour)
			return certfiles.At(w.magic.Storage, w.key(), host).Save(w.t.Context(), m.Key, m.Chain, certfiles.Metadata{Provenance: &certfiles.Provenance{UID: "u1"}})
		},
	} {
		for _, by := range []string{"look", "handshake"} {
			t.Run(name+", "+by, func(t *testing.T) {
				w := newWorld(t)
				var down atomic.Bool
				w.ca.Inject = func(path string) *acmetest.Answer {
					if path == "order" && down.Load() {
						return &acmetest.Answer{Status: 500}
					}
					return nil
				}
				w.certified(host)
				first := w.s.Observe(host)
				certfiles.Evict(w.magic, host)
				down.Store(true)
				if err := lose(w); err != nil {
					t.Fatal(err)
				}
				if by == "look" {
					w.s.Stored(t.Context(), host)
				} else if _, err := certtest.Shake(w.magic, host); err == nil {
					t.Fatal("a handshake has a certificate")
				}
				o := w.until(host, "missed", func(o ownership.CertificateObservation) bool { return !o.Gone.IsZero() })
				if key := certmagic.StorageKeys.SitePrivateKey(w.key(), host); !strings.Contains(o.GoneFrom, key) || !strings.Contains(o.GoneFrom, filepath.Join(w.dir, "storage")) {
					t.Errorf("it says that it is gone from %q", o.GoneFrom)
				}
				if o.SerialNumber != first.SerialNumber {
					t.Errorf("of %s it says that %s is gone", first.SerialNumber, o.SerialNumber)
				}
				down.Store(false)
				w.advance(10 * time.Minute) // what a CA that fails is left alone
				w.s.Retry(host)
				w.until(host, "replaced", func(o ownership.CertificateObservation) bool {
					return o.Gone.IsZero() && o.SerialNumber != first.SerialNumber
				})
			})
		}
	}
}

// A certificate that comes back counts again, and nothing is ordered for it.
func TestACertificateThatIsBackCountsAgain(t *testing.T) {
	const host = "api.example.com"
	for _, by := range []string{"look", "handshake", "retry"} {
		t.Run(by, func(t *testing.T) {
			w := newWorld(t)
			w.certified(host)
			first := w.s.Observe(host)
			certfiles.Evict(w.magic, host)
			w.dns.undelegate(host)
			w.s.Want(Want{Hostname: host, UID: "u1"}) // no way to another one
			if err := os.Rename(w.files(host), w.files(host)+".away"); err != nil {
				t.Fatal(err)
			}
			w.s.Stored(t.Context(), host)
			w.until(host, "missed", func(o ownership.CertificateObservation) bool {
				return !o.Gone.IsZero() && strings.Contains(o.Message, "no challenge can succeed") // the order has ended, too
			})
			if err := os.Rename(w.files(host)+".away", w.files(host)); err != nil {
				t.Fatal(err)
			}
			switch by {
			case "look":
				w.s.Stored(t.Context(), host)
			case "handshake":
				w.until(host, "found", func(o ownership.CertificateObservation) bool {
					_, err := certtest.Shake(w.magic, host)
					return err == nil && o.Gone.IsZero()
				})
			case "retry":
				w.s.Want(Want{Hostname: host, UID: "u1", DNS01: true})
				w.s.Retry(host)
			}
			o := w.until(host, "found", func(o ownership.CertificateObservation) bool { return o.Gone.IsZero() })
			if o.SerialNumber != first.SerialNumber || w.ca.Placed() != 1 {
				t.Errorf("%s took the place of %s, %d orders", o.SerialNumber, first.SerialNumber, w.ca.Placed())
			}
			if !o.RenewalTime.After(time.Now()) {
				t.Errorf("it is to be renewed at %v", o.RenewalTime)
			}
		})
	}
}

// brittle is a storage that can fail.
type brittle struct {
	*certmagic.FileStorage
	broken atomic.Bool
	times  atomic.Int32
}

var errBroken = errors.New("input/output error")

func (m *brittle) Load(ctx context.Context, key string) ([]byte, error) {
	if m.broken.Load() {
		return nil, fmt.Errorf("from port %d: %w", 40000+m.times.Add(1), errBroken)
	}
	return m.FileStorage.Load(ctx, key)
}

func (m *brittle) Exists(ctx context.Context, key string) bool {
	return !m.broken.Load() && m.FileStorage.Exists(ctx, key)
}

// Storage that fails loses nothing: the last state holds, and that is said.
func TestStorageThatFailsHasLostNothing(t *testing.T) {
	const host = "api.example.com"
	w := newWorld(t)
	w.certified(host)
	w.halt()
	m := &brittle{FileStorage: certfiles.Unwrap(w.magic.Storage).(*certmagic.FileStorage)}
	w.magic.Storage = m
	w.start()
	w.certified(host)
	m.broken.Store(true)
	w.s.Stored(t.Context(), host)
	o := w.s.Observe(host)
	if !o.Gone.IsZero() || !strings.Contains(o.Doubt, "input/output error") {
		t.Errorf("observed %+v", o)
	}
	w.s.Stored(t.Context(), host) // in other words each time, such as with a port in them
	if again := w.s.Observe(host).Doubt; again != o.Doubt {
		t.Errorf("each look costs a write: first %q, then %q", o.Doubt, again)
	}
	if _, err := certtest.Shake(w.magic, host); err == nil {
		t.Error("a handshake has a certificate")
	}
	if o = w.s.Observe(host); !o.Gone.IsZero() || w.ca.Placed() != 1 {
		t.Errorf("after a handshake: %+v, %d orders", o, w.ca.Placed())
	}
	m.broken.Store(false)
	w.s.Stored(t.Context(), host)
	if o = w.s.Observe(host); o.Doubt != "" || !o.Gone.IsZero() {
		t.Errorf("after it was mended: %+v", o)
	}

	m.broken.Store(true)
	w.s.Stored(t.Context(), host)
	w.s.Forget(host)
	w.s.entries.unlearn(host, 1<<60) // another node has deleted it
	w.s.inventory.mu.Lock()
	defer w.s.inventory.mu.Unlock()
	if n := len(w.s.inventory.doubts); n != 0 {
		t.Errorf("%d doubts are left of hostnames that are not known any more", n)
	}
}

// A storage that keeps nothing costs a CA no order for every look.
func TestLossesInARowAreMadeGoodEverMoreSlowly(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	c := &ca{CA: &acme.CA{Key: "ca"}}
	r := dossier{CA: "ca", UID: "u1", ARI: &renewalInfo{ID: "x"}, NotAfter: now.Add(90 * 24 * time.Hour).Unix()}
	w := Want{UID: "u1"}
	for i, pause := range append(lossPauses[:], lossPauses[len(lossPauses)-1]) {
		r.miss(now)
		if got := times.Unix(r.Renewal).Sub(now); got != pause {
			t.Errorf("loss %d is made good after %v, want %v", i+1, got, pause)
		}
		if exempt := r.replaces(w, c) != ""; exempt != (i < freeLosses) {
			t.Errorf("loss %d is exempt of limits: %v", i+1, exempt)
		}
		r.Loss = r.Loss.madeGood(now)
		now = now.Add(lossMemory - time.Second)
	}
	r.Loss = r.Loss.madeGood(now.Add(2 * time.Second))
	if r.Loss != nil {
		t.Errorf("after a day it is still held against the storage: %+v", r.Loss)
	}
	r.Loss = &loss{Last: now.Unix(), Count: -1 << 60} // whatever the store says
	r.miss(now)
	r.Loss = &loss{Last: now.Unix(), Count: 1 << 60}
	r.miss(now)
}

// stuck is a storage that, once armed, never answers from the second question for
// one key on, whatever the context says, as a file system does whose server is gone.
type stuck struct {
	*certmagic.FileStorage
	key   string
	all   bool // every question for every key
	armed atomic.Bool
	asked atomic.Int32
	met   chan struct{} // closed by who is stuck
	free  chan struct{}
}

func (m *stuck) Load(ctx context.Context, key string) ([]byte, error) {
	if m.armed.Load() && m.all {
		<-m.free
	}
	if m.armed.Load() && key == m.key {
		switch n := m.asked.Add(1); {
		case n == 2:
			close(m.met)
			fallthrough
		case n > 2:
			<-m.free
		}
	}
	return m.FileStorage.Load(ctx, key)
}

// stick has the storage be stuck, once armed, from the second look at a hostname's
// metadata on: one tells where its certificate is, the other takes that over.
func (w *world) stick(host string) *stuck {
	m := &stuck{FileStorage: certfiles.Unwrap(w.magic.Storage).(*certmagic.FileStorage), key: certmagic.StorageKeys.SiteMeta(w.key(), host),
		met: make(chan struct{}), free: make(chan struct{})}
	w.magic.Storage = m
	return m
}

// other has another certificate of the record stand in the place of the index's.
func (w *world) other(host string) {
	w.t.Helper()
	m := certtest.New(w.t, host, 7, 0)
	if err := certfiles.At(w.magic.Storage, w.key(), host).Save(w.t.Context(), m.Key, m.Chain, certfiles.Metadata{Provenance: &certfiles.Provenance{UID: "u1"}}); err != nil {
		w.t.Fatal(err)
	}
}

// A storage that stops answering while what was found is taken over keeps no look
// waiting beyond its time.
func TestALookDoesNotWaitForStorageThatIsStuck(t *testing.T) {
	const host = "api.example.com"
	w := newWorld(t)
	w.certified(host)
	w.halt()
	m := w.stick(host)
	w.start()
	t.Cleanup(func() { close(m.free) })
	w.certified(host)
	w.wait("the comparison", func() bool { w.s.entries.mu.Lock(); defer w.s.entries.mu.Unlock(); return !w.s.entries.closed }, func() string { return "" })
	w.other(host)
	m.armed.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	returned := make(chan struct{})
	go func() { defer close(returned); w.s.Stored(ctx, host) }()
	<-m.met
	cancel()
	select {
	case <-returned:
	case <-time.After(20 * time.Second):
		t.Fatal("it waits for the storage")
	}
}

// A storage that does not answer costs one look its time, and not every look of a
// fleet: they have places to give back.
func TestLooksDoNotQueueForStorageThatIsStuck(t *testing.T) {
	hosts := []string{"a.example.com", "b.example.com", "c.example.com"}
	w := newWorld(t)
	w.certified(hosts...)
	w.halt()
	m := w.stick(hosts[0])
	m.all = true
	w.start()
	t.Cleanup(func() { close(m.free) })
	w.certified(hosts...)
	w.wait("the comparison", func() bool { w.s.entries.mu.Lock(); defer w.s.entries.mu.Unlock(); return !w.s.entries.closed }, func() string { return "" })
	m.armed.Store(true)
	began := time.Now()
	for _, h := range hosts {
		w.s.Stored(t.Context(), h)
		if o := w.s.Observe(h); o.Doubt == "" || !o.Gone.IsZero() {
			t.Errorf("%s: %+v", h, o)
		}
	}
	if took := time.Since(began); took >= 2*storedTimeout {
		t.Errorf("three looks took %v", took)
	}
	m.armed.Store(false)
	w.advance(storedTimeout)
	for _, h := range hosts {
		w.s.Stored(t.Context(), h)
		if o := w.s.Observe(h); o.Doubt != "" {
			t.Errorf("%s, once it answers: %+v", h, o)
		}
	}
}

// What the comparison at a start found is taken over beside the orders: they do not
// wait for a storage that is stuck by then.
func TestOrdersDoNotWaitForWhatTheComparisonFound(t *testing.T) {
	const host = "api.example.com"
	w := newWorld(t)
	w.certified(host)
	w.halt()
	w.other(host)
	m := w.stick(host)
	m.armed.Store(true)
	w.start()
	t.Cleanup(func() { close(m.free) })
	<-m.met
	w.wait("orders to begin", func() bool { w.s.entries.mu.Lock(); defer w.s.entries.mu.Unlock(); return !w.s.entries.closed }, func() string { return "" })
}

// A storage that keeps nothing costs a CA no order for every handshake either.
func TestHandshakesDoNotSkipThePauseAfterLosses(t *testing.T) {
	const host = "api.example.com"
	w := newWorld(t)
	w.certified(host)
	for i, placed := range []int{2, 2, 2} {
		certfiles.Evict(w.magic, host)
		if err := os.RemoveAll(w.files(host)); err != nil {
			t.Fatal(err)
		}
		_, err := certtest.Shake(w.magic, host)
		if got := w.ca.Placed(); got != placed {
			t.Fatalf("handshake %d: %v, %d orders, want %d", i+1, err, got, placed)
		}
	}
	w.until(host, "missed", func(o ownership.CertificateObservation) bool { return !o.Gone.IsZero() })
	w.advance(lossPauses[1])
	w.until(host, "replaced", func(o ownership.CertificateObservation) bool { return o.Gone.IsZero() })
	if got := w.ca.Placed(); got != 3 {
		t.Errorf("%d orders, want 3", got)
	}
}

// What is gone is as pressing as what has expired, oldest first.
func TestALossIsAsUrgentAsAnExpiry(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	e := &entry{wanted: true}
	r := dossier{CA: "ca", UID: "u1", NotBefore: now.Unix() - 1, NotAfter: now.Add(90 * 24 * time.Hour).Unix(), Renewal: now.Add(60 * 24 * time.Hour).Unix()}
	e.set(Want{UID: "u1", DNS01: true}, r)
	if u, _ := e.urgency(now); u != fairqueue.Routine {
		t.Errorf("urgency %d", u)
	}
	r.miss(now)
	e.set(Want{UID: "u1", DNS01: true}, r)
	if u, rank := e.urgency(now); u != fairqueue.Urgent || rank != now.Unix() {
		t.Errorf("urgency %d, rank %d", u, rank)
	}
	if st, at := e.next(now); st != stepOrder || at.After(now) {
		t.Errorf("step %d at %v", st, at)
	}
}

// A start with another storage says so once, and before anything is ordered.
func TestAStartWithAnotherStorageSaysSoFirst(t *testing.T) {
	var hosts []string
	for i := range 12 {
		hosts = append(hosts, fmt.Sprintf("h%02d.example.com", i))
	}
	for _, c := range []struct {
		name  string
		gone  int
		level string
		says  string
	}{
		{"all", 12, "error", "another storage?"},
		{"most", 11, "error", "another storage?"},
		{"a few", 3, "warn", "a few certificates"},
		{"none", 0, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.certified(hosts...)
			w.halt()
			for _, h := range hosts[:c.gone] {
				if err := os.RemoveAll(w.files(h)); err != nil {
					t.Fatal(err)
				}
			}
			core, logs := observer.New(zap.WarnLevel)
			w.log = zap.New(core)
			var early atomic.Int32                             // orders before it was said
			w.ca.Inject = func(path string) *acmetest.Answer { // nothing runs
				if path == "order" && logs.FilterMessageSnippet(c.says).Len() == 0 {
					early.Add(1)
				}
				return nil
			}
			w.start()
			for _, h := range hosts {
				w.s.Want(Want{Hostname: h, UID: "u1", DNS01: true})
			}
			for _, h := range hosts[:c.gone] {
				w.until(h, "replaced", func(o ownership.CertificateObservation) bool {
					_, err := os.Stat(w.files(h))
					return err == nil && o.Gone.IsZero() && o.Outcome == ownership.Seen
				})
			}
			w.wait("the comparison", func() bool { w.s.entries.mu.Lock(); defer w.s.entries.mu.Unlock(); return !w.s.entries.closed }, func() string { return "" })
			if c.gone == 0 {
				if logs.Len() != 0 || w.ca.Placed() != len(hosts) {
					t.Errorf("logged %+v, %d orders", logs.All(), w.ca.Placed())
				}
				return
			}
			said := logs.FilterMessageSnippet(c.says).All()
			if len(said) != 1 || said[0].Level.String() != c.level {
				t.Fatalf("logged %+v", logs.All())
			}
			m := said[0].ContextMap()
			if m["missing"] != int64(c.gone) || m["recorded"] != int64(len(hosts)) || m["example"] != hosts[0] || !strings.Contains(fmt.Sprint(m["storage"]), w.dir) {
				t.Errorf("it says %+v", m)
			}
			if n := early.Load(); n > 0 {
				t.Errorf("%d orders came before it was said", n)
			}
			if got := w.ca.Placed(); got != len(hosts)+c.gone {
				t.Errorf("%d orders in all", got)
			}
		})
	}
}

// A look that has a hostname in hand does not hide it from the comparison, whenever
// the one begins and the other comes.
func TestTheComparisonWaitsForWhoHasAHostnameInHand(t *testing.T) {
	w := newWorld(t)
	const host = "h.example.com"
	w.certified(host)
	ctx, cancel := context.WithCancel(t.Context())
	var looks sync.WaitGroup
	defer looks.Wait()
	defer cancel()
	looks.Go(func() {
		for ctx.Err() == nil {
			taken, err := w.s.entries.seize(ctx, host, nil, func(*entry) error { return nil })
			if err == nil {
				w.s.land(taken, landing{rec: taken.rec, looked: true})
			}
		}
	})
	for i := range 5_000 {
		if found := w.s.lookFor(ctx, []string{host}, 0); found.looked != 1 || found.missing != 0 {
			t.Fatalf("comparison %d found %+v", i, found)
		}
	}
}

// Caddy does not look for certificates of a CA that is not configured any more:
// they are as good as gone, and the present CA is asked.
func TestTheCertificateOfACAThatLeftIsMissed(t *testing.T) {
	const host = "api.example.com"
	w := newWorld(t)
	w.certified(host)
	w.halt()
	core, logs := observer.New(zap.WarnLevel)
	w.log = zap.New(core)
	w.start()
	w.certified(host)
	other := acmetest.New(t)
	other.Validate = w.ca.Validate
	is, magic := &Issuers{}, certtest.Magic(t, filepath.Join(w.dir, "storage"))
	is.Set("other", acme.Authority{Directory: other.Directory(), Email: "ops@example.net"}, magic, nil)
	w.s.SetIssuers(is)
	w.wait("the other CA to be asked", func() bool { return other.Placed() == 1 }, func() string { return fmt.Sprintf("%+v", w.s.Observe(host)) })
	if n := logs.FilterMessageSnippet("not configured any more").Len(); n != 1 {
		t.Errorf("it is told %d times: %+v", n, logs.All())
	}
}

func TestManyIsATenthAndTenOrAll(t *testing.T) {
	for _, c := range []struct {
		missing, looked int
		want            bool
	}{{0, 0, false}, {0, 5, false}, {1, 1, true}, {3, 3, true}, {9, 20, false}, {10, 100, false}, {10, 99, true}, {11, 100, true}, {100, 10_000, false}} {
		if got := many(c.missing, c.looked); got != c.want {
			t.Errorf("%d of %d: %v", c.missing, c.looked, got)
		}
	}
}
