package issuance

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"testing"
	"time"

	"github.com/mholt/acmez/v3/acme"
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
	validate := w.ca.validate
	w.ca.validate = func(host, kind, token, keyAuth string) (p *acme.Problem) {
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

// A deletion that failed is tried again in an hour; a record is not made to wait.
func TestAHostnameWantedWhileItIsDroppedDoesNotWait(t *testing.T) {
	s := New(Config{})
	s.loaded = true
	e := s.add("api.example.com")
	e.set(Want{}, record{CA: someCA, NotBefore: 1, NotAfter: 3, Renewal: 2})
	e.flight = &flight{cancel: func() {}, done: make(chan struct{})}
	s.looking++
	s.Want(Want{Hostname: e.hostname, UID: "u1", DNS01: true})
	s.land(context.Background(), e, landing{rec: e.record(), again: dropRetry, quiet: true})
	if e.ready == nil {
		t.Errorf("it waits until %v", time.Unix(0, e.due))
	}
}

// Work may reach a lane that dispatch has just been at.
func TestAnOpenLaneIsNotSleptOver(t *testing.T) {
	s := New(Config{Concurrency: 1})
	s.loaded = true
	c := &ca{key: "ca", auth: Authority{Directory: "https://ca.test"}}
	for _, l := range []struct {
		key    string
		ca     *ca
		exempt bool
	}{{"", nil, false}, {laneOCSP, nil, false}, {"ca", c, true}, {"ca", c, false}} {
		clear(s.lanes)
		if p := s.pause(); p < time.Minute {
			t.Errorf("without work it sleeps for %v", p)
		}
		s.queue(&entry{hostname: "api.example.com", index: -1}, l.key, l.ca, l.exempt, s.now())
		if p := s.pause(); p > time.Millisecond {
			t.Errorf("with work in the lane %+v it sleeps for %v", l, p)
		}
		s.flying, s.looking, s.asking = 1, lookConcurrency, ocspConcurrency
		if p := s.pause(); p < time.Minute {
			t.Errorf("without room for work in the lane %+v it sleeps for %v", l, p)
		}
		s.flying, s.looking, s.asking = 0, 0, 0
	}
}
