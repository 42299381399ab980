package issuance

import (
	"bytes"
	"context"
	"errors"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	acmez "github.com/mholt/acmez/v3/acme"

	"github.com/apoxy-dev/caddy-apoxy/internal/acmetest"
	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
	"github.com/apoxy-dev/caddy-apoxy/issuance/certfiles"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// inStorage lists what storage holds, accounts apart.
func (w *world) inStorage() []string {
	w.t.Helper()
	ctx := context.Background()
	keys, err := w.magic.Storage.List(ctx, "", true)
	if err != nil {
		w.t.Fatal(err)
	}
	return slices.DeleteFunc(keys, func(k string) bool {
		info, err := w.magic.Storage.Stat(ctx, k)
		return err != nil || !info.IsTerminal || strings.Contains(k, "/users/") || strings.HasPrefix(k, "locks/")
	})
}

// holds waits until storage has the certificates of one CA and nothing else.
func (w *world) holds(hostname string, ca *acmetest.CA) {
	w.t.Helper()
	prefix := certmagic.StorageKeys.CertsSitePrefix(acme.Authority{Directory: ca.Directory()}.Key(), hostname) + "/"
	w.wait("nothing but the present certificate in storage", func() bool {
		keys := w.inStorage()
		return len(keys) == 3 && !slices.ContainsFunc(keys, func(k string) bool { return !strings.HasPrefix(k, prefix) })
	}, func() string { return strings.Join(w.inStorage(), "\n") })
}

// rewrite changes what is known of a hostname, as time would.
func (w *world) rewrite(hostname string, change func(r *dossier)) {
	w.t.Helper()
	w.wait("nobody to have "+hostname+" in hand", func() bool {
		w.s.entries.mu.Lock()
		defer w.s.entries.mu.Unlock()
		e := w.s.entries.of.get(hostname)
		if e.flight() != nil {
			return false // what it does would be lost, or this would
		}
		r := e.dossier()
		change(&r)
		e.set(e.want(), r)
		w.s.entries.place(e)
		return true
	}, func() string { return "" })
	w.s.entries.poke()
}

func (w *world) renewed(hostname string, before ownership.CertificateObservation) ownership.CertificateObservation {
	w.t.Helper()
	w.rewrite(hostname, func(r *dossier) { r.Renewal = 1 })
	return w.until(hostname, "renewed", func(o ownership.CertificateObservation) bool {
		return o.SerialNumber != before.SerialNumber && o.Work == ownership.WorkNone
	})
}

func (w *world) gone(hostname string) {
	w.t.Helper()
	w.wait("the index to forget "+hostname, func() bool {
		_, _, err := w.store.Get(context.Background(), IndexPrefix+hostname)
		w.s.entries.mu.Lock()
		defer w.s.entries.mu.Unlock()
		return errors.Is(err, store.ErrNotFound) && w.s.entries.of.get(hostname) == nil
	}, func() string { return "" })
}

func TestTheCertificateOfAFormerCAIsRemoved(t *testing.T) {
	const host = "api.example.com"
	for name, change := range map[string]func(w *world, other *acmetest.CA){
		"when the record picks another": func(w *world, other *acmetest.CA) {
			w.s.Want(Want{Hostname: host, UID: "u1", DNS01: true, CertificateAuthority: other.Directory()})
		},
		"when its issuer line is gone": func(w *world, other *acmetest.CA) { w.is.Remove(w.magic.Issuers[0]) },
		"when the first does not answer": func(w *world, other *acmetest.CA) {
			w.ca.Inject = func(string) *acmetest.Answer { return &acmetest.Answer{Status: 500} }
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			other := w.second()
			other.Serial = 1000 // unlike the first one's
			w.dns.delegate(host)
			w.s.Want(Want{Hostname: host, UID: "u1", DNS01: true})
			before := w.until(host, "certified", seen)
			w.holds(host, w.ca)
			change(w, other)
			w.renewed(host, before)
			w.holds(host, other)
		})
	}
}

// A process may die after it stored a certificate and before the index says so.
func TestTheCertificateOfAFormerCAIsRemovedAfterACrash(t *testing.T) {
	const host = "api.example.com"
	w := newWorld(t)
	other := w.second()
	other.Serial, other.Lifetime = 1000, 100*24*time.Hour // unlike the first one's
	w.dns.delegate(host)
	w.s.Want(Want{Hostname: host, UID: "u1", DNS01: true})
	before := w.until(host, "certified", seen)
	old, _, err := w.store.Get(context.Background(), IndexPrefix+host)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, k := range w.inStorage() {
		if files[k], err = w.magic.Storage.Load(context.Background(), k); err != nil {
			t.Fatal(err)
		}
	}
	w.s.Want(Want{Hostname: host, UID: "u1", DNS01: true, CertificateAuthority: other.Directory()})
	after := w.renewed(host, before)
	w.holds(host, other)
	w.halt()
	w.start()
	w.is.Set("second", acme.Authority{Directory: other.Directory(), Email: "ops@example.net"}, w.magic, nil)
	w.wait("the comparison", func() bool {
		w.s.entries.mu.Lock()
		defer w.s.entries.mu.Unlock()
		return w.s.entries.loaded && !w.s.entries.closed
	}, func() string { return "" }) // it would find what the crash left
	for k, v := range files { // as they lay there in that moment
		if err := w.magic.Storage.Store(context.Background(), k, v); err != nil {
			t.Fatal(err)
		}
	}
	w.s.Want(Want{Hostname: host, UID: "u1", DNS01: true, CertificateAuthority: other.Directory()})
	w.until(host, "known as before", func(o ownership.CertificateObservation) bool {
		if o.SerialNumber == before.SerialNumber {
			return true
		}
		now, _, err := w.store.Get(context.Background(), old.Key)
		if err == nil && !bytes.Equal(now.Value, old.Value) { // or a question of the start has written over it
			_, err = w.store.Write(context.Background(), store.Op{Key: old.Key, Value: old.Value, If: now.Revision})
		}
		if conflict := new(store.ConflictError); err != nil && !errors.As(err, &conflict) {
			t.Error(err)
		}
		return false
	})
	w.rewrite(host, func(r *dossier) { r.Renewal = 1 })
	w.until(host, "found", func(o ownership.CertificateObservation) bool { return o.SerialNumber == after.SerialNumber })
	w.holds(host, other)
	if other.Placed() != 1 {
		t.Errorf("%d orders", other.Placed())
	}
}

func TestNothingStaysOfAHostnameWithoutRecord(t *testing.T) {
	const host = "api.example.com"
	w := newWorld(t)
	w.dns.delegate(host)
	w.s.Want(Want{Hostname: host, UID: "u1", DNS01: true})
	w.until(host, "certified", seen)
	key := w.is.cas()[0].Key
	for _, k := range []string{certfiles.At(nil, key, host).OrderKey(), certfiles.At(nil, key, host).ChallengeKey()} { // of an order that a crash cut short
		if err := w.magic.Storage.Store(context.Background(), k, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	w.s.Forget(host)
	w.second()
	w.is.Remove(w.magic.Issuers[0]) // not even the CA is configured any more
	w.rewrite(host, func(r *dossier) {
		r.NotAfter = time.Now().Add(-keepExpired - time.Minute).Unix()
		r.Order = &acme.Order{CA: key, URL: w.ca.Directory() + "/order/1"}
	})
	w.gone(host)
	// The certificate itself lasts longer than the index said: somebody else
	// renewed it, and who did keeps it.
	if keys := w.inStorage(); len(keys) != 3 || !strings.HasPrefix(keys[0], "certificates/") {
		t.Errorf("in storage are %v", keys)
	}
}

func TestAnExpiredCertificateWithoutRecordIsRemoved(t *testing.T) {
	const host = "api.example.com"
	w := newWorld(t)
	w.ca.Lifetime = 2 * time.Minute // of which one is over
	w.dns.delegate(host)
	w.s.Want(Want{Hostname: host, UID: "u1", DNS01: true})
	o := w.until(host, "certified", seen)
	w.halt()
	w.start()
	w.advance(time.Until(o.NotAfter) + keepExpired - time.Minute)
	w.until(host, "still known", seen)
	w.advance(2 * time.Minute)
	w.gone(host)
	if keys := w.inStorage(); len(keys) != 0 {
		t.Errorf("in storage are %v", keys)
	}
}

// Whoever keeps a deleted record's failures waits for a CA to forget them; a
// process that starts meanwhile does not know that it was deleted.
func TestWhatNobodyWantsIsForgottenAfterAStart(t *testing.T) {
	e := &entry{hostname: "a.example.com", since: epoch.UnixNano()}
	e.set(Want{}, dossier{Trouble: &trouble{Class: acme.ClassDNS, Message: "not delegated"}, Order: &acme.Order{CA: someCA}})
	if st, at := e.next(epoch); st != stepDrop || !at.Equal(epoch.Add(keepUnwanted)) {
		t.Errorf("%v at %v", st, at)
	}
	e.set(Want{}, dossier{Trouble: &trouble{Class: acme.ClassCustomer, Failed: []int64{epoch.Add(30 * time.Minute).Unix()}}})
	if st, at := e.next(epoch); st != stepDrop || !at.Equal(epoch.Add(90*time.Minute)) {
		t.Errorf("%v at %v", st, at)
	}
}

func TestTheKeyOfAnOrderThatIsGivenUpIsRemoved(t *testing.T) {
	const host = "api.example.com"
	for name, problem := range map[string]acmez.Problem{
		"refused":           {Type: acmez.ProblemTypeRejectedIdentifier, Detail: "policy"},
		"of a lost account": {Type: acmez.ProblemTypeUnauthorized, Detail: "account deactivated"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.ca.Inject = func(path string) *acmetest.Answer {
				if strings.Contains(path, "finalize") {
					return &acmetest.Answer{Status: 403, Problem: problem}
				}
				return nil
			}
			w.dns.delegate(host)
			w.s.Want(Want{Hostname: host, UID: "u1", DNS01: true})
			w.until(host, "in trouble", func(o ownership.CertificateObservation) bool { return o.Work == ownership.WorkFailed })
			if keys := w.inStorage(); len(keys) != 0 {
				t.Errorf("in storage are %v", keys)
			}
		})
	}
	t.Run("for another CA", func(t *testing.T) {
		w := newWorld(t)
		other := w.second()
		other.Serial = 1000 // unlike the first one's
		w.ca.Inject = func(path string) *acmetest.Answer {
			if strings.Contains(path, "finalize") {
				return &acmetest.Answer{Status: 503, Header: map[string]string{"Retry-After": "3600"}, Problem: acmez.Problem{Type: acmez.ProblemTypeServerInternal}}
			}
			return nil
		}
		w.dns.delegate(host)
		w.s.Want(Want{Hostname: host, UID: "u1", DNS01: true})
		w.until(host, "certified", seen)
		w.holds(host, other)
	})
}

// stubborn is a storage that deletes nothing.
type stubborn struct{ *certmagic.FileStorage }

func (stubborn) Delete(context.Context, string) error { return errors.New("read-only") }

func TestADeletionThatFailsIsTriedAgain(t *testing.T) {
	const host = "api.example.com"
	w := newWorld(t)
	w.dns.delegate(host)
	w.s.Want(Want{Hostname: host, UID: "u1", DNS01: true})
	o := w.until(host, "certified", seen)
	cfg := *w.magic
	cfg.Storage = stubborn{&certmagic.FileStorage{Path: filepath.Join(w.dir, "storage")}}
	c := newCA(acme.Authority{Directory: w.ca.Directory()}, &cfg, 0, nil)
	s := New(Config{})
	s.SetIssuers(&Issuers{list: []issuer{{member: "a", ca: c}}})
	j := &job{tools: s.tools, hostname: host, step: stepDrop, cas: []*ca{c}, rec: dossier{CA: c.Key, Serial: o.SerialNumber, NotAfter: o.NotAfter.Unix()}}
	if l := j.run(context.Background()); l.again != dropRetry || l.save || l.rec != j.rec {
		t.Errorf("%+v", l)
	}
	// And while another node works on the hostname nothing is deleted at all.
	if _, err := certfiles.TryLock(context.Background(), cfg.Storage, host); err != nil {
		t.Fatal(err)
	}
	if l := j.run(context.Background()); l.again != time.Minute || l.save || l.rec != j.rec {
		t.Errorf("%+v", l)
	}
	if err := certfiles.Unlock(context.Background(), cfg.Storage, host); err != nil {
		t.Fatal(err)
	}
}

// Without an index storage tells what there is, and what has been outlived goes.
func TestOfTwoCertificatesThatAreFoundOneStays(t *testing.T) {
	const host = "api.example.com"
	w := newWorld(t)
	other := w.second()
	other.Lifetime = 100 * 24 * time.Hour
	w.dns.delegate(host)
	w.s.Want(Want{Hostname: host, UID: "u1", DNS01: true})
	before := w.until(host, "certified", seen)
	files := map[string][]byte{}
	for _, k := range w.inStorage() {
		b, err := w.magic.Storage.Load(context.Background(), k)
		if err != nil {
			t.Fatal(err)
		}
		files[k] = b
	}
	w.is.Remove(w.magic.Issuers[0])
	other.Serial = 1000
	w.renewed(host, before)
	w.holds(host, other)
	w.halt()
	for k, v := range files {
		if err := w.magic.Storage.Store(context.Background(), k, v); err != nil {
			t.Fatal(err)
		}
	}
	w.dir = t.TempDir() // another store, the same storage
	w.start()
	w.is.Set("second", acme.Authority{Directory: other.Directory(), Email: "ops@example.net"}, w.magic, nil)
	w.s.Want(Want{Hostname: host, UID: "u1"})
	w.until(host, "found", seen)
	w.holds(host, other)
}

// certmagic keeps a staple for every certificate that names a responder.
func TestStaplesGoWithTheirCertificates(t *testing.T) {
	const host = "api.example.com"
	w, _, o := certified(t)
	staple := func() (keys []string) {
		for _, k := range w.inStorage() {
			if path.Dir(k) == "ocsp" {
				keys = append(keys, k)
			}
		}
		return keys
	}
	load := func() {
		t.Helper()
		if _, err := w.magic.CacheManagedCertificate(context.Background(), host); err != nil {
			t.Fatal(err)
		}
		if keys := staple(); len(keys) != 1 {
			t.Fatalf("staples %v", keys)
		}
	}
	load()
	first := staple()
	o = w.renewed(host, o)
	if keys := staple(); len(keys) != 0 {
		t.Errorf("after the renewal staples are left: %v", keys)
	}
	load()
	if slices.Equal(staple(), first) {
		t.Error("the staple is still the first one's")
	}
	if err := w.s.Revoke(context.Background(), host, 0); err != nil {
		t.Fatal(err)
	}
	w.until(host, "obtained anew", func(now ownership.CertificateObservation) bool {
		return seen(now) && now.SerialNumber != o.SerialNumber
	})
	if keys := staple(); len(keys) != 0 {
		t.Errorf("after the revocation staples are left: %v", keys)
	}
}
