package issuance

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	acmez "github.com/mholt/acmez/v3/acme"
	"golang.org/x/crypto/ocsp"

	"github.com/apoxy-dev/caddy-apoxy/internal/acmetest"
	"github.com/apoxy-dev/caddy-apoxy/internal/times"
	"github.com/apoxy-dev/caddy-apoxy/issuance/certfiles"
	"github.com/apoxy-dev/caddy-apoxy/issuance/fairqueue"
	"github.com/apoxy-dev/caddy-apoxy/issuance/revocation"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

func TestACertificateThatItsCARevokedIsReplacedUnvisited(t *testing.T) {
	w, r, before := certified(t)
	if _, err := w.magic.CacheManagedCertificate(context.Background(), "api.example.com"); err != nil {
		t.Fatal(err)
	}
	asked := r.count(before.SerialNumber) // certmagic's staple
	w.advance(2 * time.Minute)
	o := w.polled(r, before.SerialNumber, asked+1)
	if next := times.Unix(o.Poll).Sub(w.s.now()); next < time.Hour || next > 2*time.Hour {
		t.Errorf("asked again in %v of an answer that holds 4 hours", next)
	}
	r.revoke(before.SerialNumber, ocsp.Superseded)
	w.advance(2 * time.Hour)
	after := w.until("api.example.com", "replaced", otherThan(before.SerialNumber))
	if certfiles.InMemory(w.magic, "api.example.com") {
		t.Error("it stays in memory")
	}
	if !after.Revoked.IsZero() || after.RenewalTime.Before(w.s.now().Add(24*time.Hour)) || w.ca.Placed() != 2 {
		t.Errorf("observed %+v after %d orders", after, w.ca.Placed())
	}
	w.advance(2 * time.Minute)
	w.polled(r, after.SerialNumber, 1)
}

func TestARevocationIsToldAndOutlivesARestart(t *testing.T) {
	w, r, before := certified(t)
	if _, err := w.magic.CacheManagedCertificate(context.Background(), "api.example.com"); err != nil {
		t.Fatal(err)
	}
	w.ca.Mu.Lock()
	w.ca.Inject = func(path string) *acmetest.Answer {
		return &acmetest.Answer{Status: 503, Header: map[string]string{"Retry-After": "3600"}, Problem: acmez.Problem{Detail: "closed"}}
	}
	w.ca.Mu.Unlock()
	r.revoke(before.SerialNumber, ocsp.KeyCompromise)
	w.advance(2 * time.Minute)
	revoked := func(o ownership.CertificateObservation) bool {
		return o.Work == ownership.WorkRateLimited && !o.Revoked.IsZero() && o.RevocationReason == "keyCompromise" &&
			o.SerialNumber == before.SerialNumber && !o.RenewalTime.After(w.s.now())
	}
	w.until("api.example.com", "revoked and held", revoked)
	if !certfiles.InMemory(w.magic, "api.example.com") {
		t.Error("it is not in memory while there is no other")
	}
	w.halt()
	w.start()
	w.s.Want(Want{Hostname: "api.example.com", UID: "u1", DNS01: true})
	w.until("api.example.com", "still revoked", revoked)
	w.ca.Mu.Lock()
	w.ca.Inject = nil
	w.ca.Mu.Unlock()
	w.advance(2 * time.Hour)
	w.until("api.example.com", "replaced", otherThan(before.SerialNumber))
}

// A certificate lies in two files, of which certmagic puts one away and a crash
// may have left the other behind.
func TestACertificateIsAskedAboutFromEitherFile(t *testing.T) {
	for _, lost := range []string{".crt", ".key"} {
		t.Run("without "+lost, func(t *testing.T) {
			w, r, before := certified(t)
			at := certmagic.StorageKeys.CertsSitePrefix(w.key(), "api.example.com") + "/api.example.com" + lost
			if err := w.magic.Storage.Delete(t.Context(), at); err != nil {
				t.Fatal(err)
			}
			r.revoke(before.SerialNumber, ocsp.Superseded)
			w.advance(2 * time.Minute)
			w.until("api.example.com", "replaced", otherThan(before.SerialNumber))
		})
	}
}

func TestACompromisedKeyIsNotReused(t *testing.T) {
	for name, tt := range map[string]struct {
		reason int
		reused bool
	}{
		"superseded":    {ocsp.Superseded, true},
		"keyCompromise": {ocsp.KeyCompromise, false},
	} {
		t.Run(name, func(t *testing.T) {
			w, r, before := certified(t)
			w.magic.ReusePrivateKeys = true
			first := w.publicKey()
			r.revoke(before.SerialNumber, tt.reason)
			w.advance(2 * time.Minute)
			w.until("api.example.com", "replaced", otherThan(before.SerialNumber))
			if reused := bytes.Equal(first, w.publicKey()); reused != tt.reused {
				t.Errorf("the key is reused: %v", reused)
			}
		})
	}
}

func TestAnAnswerThatDoesNotCountChangesNothingAndIsAskedForAgain(t *testing.T) {
	stranger := acmetest.New(t)
	for name, instead := range map[string]http.HandlerFunc{
		"a stranger's": nil,
		"garbage":      func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") },
		"oversize":     func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, strings.Repeat("0", 1<<20)) },
		"a failure":    func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"unknown":      nil,
	} {
		t.Run(name, func(t *testing.T) {
			w, r, before := certified(t)
			switch name {
			case "unknown":
				r.set(before.SerialNumber, ocsp.Response{Status: ocsp.Unknown})
			case "a stranger's":
				r.sign(stranger)
				r.revoke(before.SerialNumber, ocsp.Superseded)
			}
			r.answer(instead)
			w.advance(2 * time.Minute)
			w.polled(r, before.SerialNumber, 1)
			if o := w.s.Observe("api.example.com"); o != before {
				t.Errorf("observed %+v, before %+v", o, before)
			}
			r.answer(nil)
			r.sign(w.ca)
			r.revoke(before.SerialNumber, ocsp.Superseded)
			w.advance(2 * time.Hour)
			w.until("api.example.com", "replaced", otherThan(before.SerialNumber))
		})
	}
}

// certmagic learns of a revocation from the staple that it fetches, and wants a
// renewal of its own; it is refused, and the scheduler looks at once. For a
// compromised key certmagic moves the key away first.
func TestWhatCertmagicNoticesLeadsToAReplacement(t *testing.T) {
	for name, reason := range map[string]int{"superseded": ocsp.Superseded, "keyCompromise": ocsp.KeyCompromise} {
		t.Run(name, func(t *testing.T) {
			w, r, before := certified(t)
			r.revoke(before.SerialNumber, reason)
			if _, err := w.magic.CacheManagedCertificate(context.Background(), "api.example.com"); err != nil {
				t.Fatal(err)
			}
			if _, err := w.magic.GetCertificate(hello(t, "api.example.com")); err != nil {
				t.Fatal(err)
			}
			after := w.until("api.example.com", "replaced", otherThan(before.SerialNumber))
			if w.ca.Placed() != 2 {
				t.Errorf("%d orders", w.ca.Placed())
			}
			w.wait("the new certificate to be served", func() bool {
				cert, err := w.magic.GetCertificate(hello(t, "api.example.com"))
				return err == nil && cert.Leaf.SerialNumber.Text(16) == after.SerialNumber
			}, func() string { return "another" })
		})
	}
}

func TestADeadResponderIsNotWaitedForOncePerCertificate(t *testing.T) {
	w := newWorld(t)
	r := respond(t, w.ca)
	asked := 0
	r.answer(func(rw http.ResponseWriter, _ *http.Request) { asked++; rw.WriteHeader(http.StatusBadGateway) })
	hosts := []string{"a.example.com", "b.example.com", "c.example.com", "d.example.com", "e.example.com", "f.example.com", "g.example.com", "h.example.com"}
	for _, h := range hosts {
		w.dns.delegate(h)
		w.s.Want(Want{Hostname: h, UID: h, DNS01: true})
	}
	for _, h := range hosts {
		w.until(h, "certified", seen)
	}
	w.advance(2 * time.Minute)
	w.wait("all to have been looked at", func() bool {
		w.s.entries.mu.Lock()
		defer w.s.entries.mu.Unlock()
		for _, h := range hosts {
			if e := w.s.entries.of.get(h); e.flight() != nil || e.dossier().OCSP.Asked == 0 {
				return false
			}
		}
		return true
	}, func() string { return "" })
	r.mu.Lock()
	defer r.mu.Unlock()
	if asked == 0 || asked > ocspConcurrency {
		t.Errorf("asked %d times for %d certificates", asked, len(hosts))
	}
}

func TestNobodyIsAskedWhereNothingIsToBeAsked(t *testing.T) {
	t.Run("no responder", func(t *testing.T) {
		w := newWorld(t)
		w.dns.delegate("api.example.com")
		w.s.Want(Want{Hostname: "api.example.com", UID: "u1", DNS01: true})
		w.until("api.example.com", "certified", seen)
		w.s.entries.mu.Lock()
		defer w.s.entries.mu.Unlock()
		if o := w.s.entries.of.get("api.example.com").dossier().OCSP; o != nil {
			t.Errorf("kept %+v", o)
		}
	})
	for name, off := range map[string]certmagic.OCSPConfig{
		"turned off": {DisableStapling: true}, "overridden with nothing": {},
	} {
		t.Run(name, func(t *testing.T) {
			w, r, before := certified(t)
			if !off.DisableStapling {
				off.ResponderOverrides = map[string]string{w.ca.Responder: ""}
			}
			w.magic.OCSP = off
			w.advance(2 * time.Minute)
			w.polled(r, before.SerialNumber, 0)
			if n := r.count(before.SerialNumber); n != 0 {
				t.Errorf("asked %d times", n)
			}
		})
	}
}

func TestAResponderThatRevokesEverythingDoesNotUseUpTheCA(t *testing.T) {
	leaf := &x509.Certificate{OCSPServer: []string{"http://ocsp.example.com"}}
	no := &ocsp.Response{Status: ocsp.Revoked, RevokedAt: epoch}
	var o *revocation.OCSP
	now := epoch
	var due []time.Duration
	for range 3 {
		o = o.Succeed(leaf, "api.example.com", now)
		now = times.Unix(o.Poll)
		o = o.Withdraw(no, leaf, now)
		due = append(due, times.Unix(o.Due).Sub(now))
		now = times.Unix(o.Due)
	}
	if due[0] != 0 || due[1] < revocation.Apart-2*time.Minute || due[2] < revocation.Apart-2*time.Minute {
		t.Errorf("replaced after %v", due)
	}
	o = o.Succeed(leaf, "api.example.com", now) // and one that stays good for long
	if o = o.Withdraw(no, leaf, now.Add(24*time.Hour)); times.Unix(o.Due) != now.Add(24*time.Hour) {
		t.Errorf("due at %v", times.Unix(o.Due))
	}
}

func TestARevokedCertificateGoesFirst(t *testing.T) {
	e := &entry{wanted: true, looked: true}
	e.set(Want{UID: "u1"}, dossier{UID: "u1", Renewal: epoch.Add(3 * time.Hour).Unix(), NotAfter: epoch.Add(24 * time.Hour).Unix(),
		ARI:  &renewalInfo{Start: epoch.Unix(), End: epoch.Add(time.Hour).Unix(), Poll: epoch.Add(time.Hour).Unix()},
		OCSP: &revocation.OCSP{Poll: epoch.Add(2 * time.Hour).Unix()}})
	rec := &e.loose.rec
	at := func(want step, when time.Time) {
		t.Helper()
		if st, due := e.next(epoch); st != want || !due.Equal(when) {
			t.Errorf("step %d at %v", st, due)
		}
	}
	at(stepARI, epoch.Add(time.Hour)) // one due time, the earliest
	rec.ARI.Poll = epoch.Add(4 * time.Hour).Unix()
	at(stepOCSP, epoch.Add(2*time.Hour))
	if u, _ := e.urgency(epoch); u != fairqueue.Routine {
		t.Errorf("urgency %d", u)
	}
	rec.OCSP = rec.OCSP.Withdraw(&ocsp.Response{RevokedAt: epoch}, &x509.Certificate{}, epoch)
	rec.hasten()
	at(stepOrder, epoch)
	if u, _ := e.urgency(epoch); u != fairqueue.Urgent {
		t.Errorf("urgency %d", u)
	}
	rec.schedule("api.example.com", 0) // by a renewal window of the CA's that says otherwise
	at(stepOrder, times.Unix(rec.Renewal))
	if times.Unix(rec.Renewal).After(epoch) {
		t.Errorf("put off to %v", times.Unix(rec.Renewal))
	}
	raw, err := json.Marshal(rec)
	if err != nil {
		t.Fatal(err)
	}
	if _, again, err := decodeDossier(IndexPrefix+"x", raw); err != nil || !again.OCSP.IsRevoked() || *again.OCSP != *rec.OCSP {
		t.Errorf("kept as %s: %+v, %v", raw, again.OCSP, err)
	}
}
