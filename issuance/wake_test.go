package issuance

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"testing"
	"time"

	acmez "github.com/mholt/acmez/v3/acme"

	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// Its context ends after three minutes, while a CA may validate for five.
func TestAHandshakeThatGivesUpLosesNoHostname(t *testing.T) {
	const host = "api.example.com"
	w := newWorld(t)
	w.s.DropIssuers(w.is) // so that the handshake is the first to order
	if _, err := w.s.Indexed(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.dns.delegate(host)
	w.s.Want(Want{Hostname: host, UID: "u1", DNS01: true})
	ctx, cancel := context.WithCancel(t.Context())
	validate := w.ca.Validate
	w.ca.Validate = func(host, kind, token, keyAuth string) (p *acmez.Problem) {
		cancel()
		return validate(host, kind, token, keyAuth)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := request(key, host, false)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.s.Issue(ctx, w.is, w.magic.Issuers[0], csr); err == nil {
		t.Fatal("the handshake did not give up")
	}
	w.s.SetIssuers(w.is)
	w.until(host, "certified", seen)
}

// fly takes an entry up.
func fly(s *Scheduler, e *entry, st step) taken {
	s.entries.mu.Lock()
	defer s.entries.mu.Unlock()
	return taken{flight: s.entries.fly(e, st, nil, func() {}), ctx: context.Background(), term: s.cfg.Term()}
}

// A deletion that failed is tried again in an hour; a record is not made to wait.
func TestAHostnameWantedWhileItIsDroppedDoesNotWait(t *testing.T) {
	s := New(Config{})
	s.entries.loaded = true
	e := s.entries.add("api.example.com")
	e.set(Want{}, dossier{CA: someCA, NotBefore: 1, NotAfter: 3, Renewal: 2})
	f := fly(s, e, stepDrop)
	s.Want(Want{Hostname: e.hostname, UID: "u1", DNS01: true})
	s.land(f, landing{rec: e.dossier(), again: dropRetry, unchanged: true})
	if e.ready() == nil {
		t.Errorf("it waits until %v", time.Unix(0, e.due))
	}
}

// Work may reach a lane that takeUp has just been at.
func TestAnOpenLaneIsNotSleptOver(t *testing.T) {
	s := New(Config{Concurrency: 1})
	s.entries.loaded = true
	c := &ca{CA: &acme.CA{Key: "ca", Auth: acme.Authority{Directory: "https://ca.test"}}}
	for _, l := range []struct {
		ca  *ca
		key laneKey
	}{{nil, laneKey{}}, {nil, laneKey{ocsp: true}}, {c, laneKey{exempt: true}}, {c, laneKey{}}} {
		clear(s.entries.lanes)
		if p := s.entries.pause(); p < time.Minute {
			t.Errorf("without work it sleeps for %v", p)
		}
		s.entries.enter(&entry{hostname: "api.example.com", slot: -1}, s.entries.lane(l.ca, l.key), s.now())
		if p := s.entries.pause(); p > time.Millisecond {
			t.Errorf("with work in the lane %+v it sleeps for %v", l, p)
		}
		s.entries.flying, s.entries.beside, s.entries.asking = 1, besideConcurrency, ocspConcurrency
		if p := s.entries.pause(); p < time.Minute {
			t.Errorf("without room for work in the lane %+v it sleeps for %v", l, p)
		}
		s.entries.flying, s.entries.beside, s.entries.asking = 0, 0, 0
	}
}

// Its DNS was mended after the probe had looked.
func TestARetryDuringATryIsNotLost(t *testing.T) {
	for class, soon := range map[acme.Class]bool{acme.ClassCAA: true, acme.ClassDNS: true, acme.ClassEdge: true, acme.ClassCustomer: false} {
		s := New(Config{})
		s.entries.loaded = true
		e := s.entries.add("api.example.com")
		e.wanted, e.looked = true, true
		w := Want{UID: "u1", DNS01: true}
		e.set(w, dossier{})
		f := fly(s, e, stepOrder)
		s.Retry(e.hostname)
		s.land(f, landing{rec: dossier{Trouble: &trouble{Class: class, UID: "u1", Facts: factsOf(w),
			Message: "not there", Until: s.now().Add(time.Hour).Unix()}}})
		if got := e.ready() != nil; got != soon {
			t.Errorf("%s: tried again at once: %v, want %v", class, got, soon)
		}
	}
}

// Another node renewed it while this one asked a responder in vain.
func TestANewCertificateIsNotMissedDuringOtherWork(t *testing.T) {
	var told []string
	s := New(Config{OnChange: func(h string) { told = append(told, h) }})
	s.entries.loaded = true
	e := s.entries.add("api.example.com")
	e.wanted = true
	until := s.now().Add(time.Hour).Unix()
	before := dossier{UID: "u1", CA: someCA, Serial: "1", NotBefore: 1, NotAfter: until, Renewal: until}
	e.set(Want{UID: "u1", DNS01: true}, before)
	f := fly(s, e, stepOCSP)
	after := before
	after.Serial = "2"
	s.takeOver(s.decode([]store.KeyValue{{Key: IndexPrefix + e.hostname, Value: after.marshal(), Revision: 7}}))
	s.land(f, landing{rec: before, unchanged: true})
	if e.serialNumber() != "2" || e.revision != 7 || len(told) != 1 {
		t.Errorf("it has %s of revision %d, told %v", e.serialNumber(), e.revision, told)
	}
}
