package acmetest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	acmez "github.com/mholt/acmez/v3/acme"
)

// CA is an ACME server (RFC 8555 with RFC 9773) in memory. It checks nonces,
// signatures, order states and, through Validate, challenges. Its fields may be
// changed before the first request or, those below Mu, while Mu is held.
type CA struct {
	// T is told of what goes wrong here.
	T *testing.T
	// Server answers at Directory.
	Server *httptest.Server
	// Key and Cert are those of the root, which signs every certificate.
	Key  *ecdsa.PrivateKey
	Cert *x509.Certificate

	// Validate decides a challenge of a type for a host; nil: it is passed.
	Validate func(host, kind, token, keyAuth string) *acmez.Problem
	// Inject may answer a request in the CA's place; nil: it does not. Mu is held, as
	// it is for Validate. The path is
	// that below the root, such as "order" for a new one and "order/1".
	Inject func(path string) *Answer
	// Replaces, if set, is the answer to orders that name what they replace.
	Replaces *acmez.Problem
	// Strict has the CA give an order up that is finalized before it is ready.
	Strict bool
	// Lags are answers to finalizing, by a server that takes a ready order for
	// pending; each is given once.
	Lags []acmez.Problem

	Mu sync.Mutex
	// Slow is what the CA takes its time with, nil for nothing.
	Slow *Slowness
	// Lifetime is that of certificates; Responder the URL of the OCSP responder that
	// they name, empty for none.
	Lifetime  time.Duration
	Responder string
	// Identities are the CAA issuer domain names in the directory.
	Identities []string
	// Offer are the challenge types of every authorization.
	Offer []string
	// Windows gives the renewal window of a certificate (RFC 9773). Default: two days
	// that begin 30 days before its end.
	Windows func(notBefore, notAfter time.Time) (start, end time.Time)
	// Accounts are the accounts by id; Faults the answers to requests with one.
	Accounts map[string]*ecdsa.PublicKey
	Faults   map[string]acmez.Problem
	// Orders are all that were placed.
	Orders []*Order
	// Requests counts requests by the first segment of their path.
	Requests map[string]int
	// Serial is the last serial number.
	Serial int64
	// Bound is the externalAccountBinding of the last registration.
	Bound []byte

	nonces map[string]bool
}

// Answer is a problem document in place of the CA's own answer.
type Answer struct {
	Status  int
	Header  map[string]string
	Problem acmez.Problem
}

// Slowness is what a CA takes its time with: at "validating", "signing", or "ready",
// which is to find an order ready whose authorization is valid. Host is a prefix of
// the hostnames that it holds for, RetryAfter the header that it answers with.
type Slowness struct{ At, RetryAfter, Host string }

// slows reports whether the CA takes its time with an order, and says so.
func (ca *CA) slows(w http.ResponseWriter, o *Order, at string) bool {
	if s := ca.Slow; s == nil || s.At != at || !strings.HasPrefix(o.Host, s.Host) {
		return false
	}
	if ca.Slow.RetryAfter != "" {
		w.Header().Set("Retry-After", ca.Slow.RetryAfter)
	}
	return true
}

// Order is an order and its one authorization.
type Order struct {
	ID       int
	Host     string
	Replaces string
	Status   string
	Authz    string // status
	Error    *acmez.Problem
	Kind     string // challenge type that was tried
	Begun    bool   // the client has asked for it to be validated
	Token    string
	Chain    []byte
	Profile  string
	NotAfter *time.Time // asked for
	CSR      *x509.CertificateRequest
	account  string
	lagging  bool // the next answer takes it for pending
}

// New starts a CA, until the test ends.
func New(t *testing.T) *CA {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Root 1", Organization: []string{"Test"}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * 24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		SubjectKeyId: []byte{1, 2, 3, 4}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	crt, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	ca := &CA{T: t, Key: key, Cert: crt, Lifetime: 90 * 24 * time.Hour, nonces: map[string]bool{},
		Accounts: map[string]*ecdsa.PublicKey{}, Faults: map[string]acmez.Problem{}, Requests: map[string]int{}, Serial: 100,
		Offer:    []string{"http-01", "dns-01", "tls-alpn-01"},
		Validate: func(string, string, string, string) *acmez.Problem { return nil }}
	ca.Server = httptest.NewServer(ca)
	t.Cleanup(ca.Server.Close)
	return ca
}

// Directory is the URL of the ACME directory.
func (ca *CA) Directory() string { return ca.Server.URL + "/dir" }

// Count returns how many requests of a kind came; "" for all.
func (ca *CA) Count(kind string) int {
	ca.Mu.Lock()
	defer ca.Mu.Unlock()
	if kind != "" {
		return ca.Requests[kind]
	}
	n := 0
	for _, c := range ca.Requests {
		n += c
	}
	return n
}

// Order returns a copy of the i-th order, from 0.
func (ca *CA) Order(i int) Order {
	ca.Mu.Lock()
	defer ca.Mu.Unlock()
	return *ca.Orders[i]
}

// Placed is how many orders were placed.
func (ca *CA) Placed() int {
	ca.Mu.Lock()
	defer ca.Mu.Unlock()
	return len(ca.Orders)
}

// Slowly has the CA take its time, see Slowness, until end is called.
func (ca *CA) Slowly(at, retryAfter, host string) (end func()) {
	ca.Mu.Lock()
	defer ca.Mu.Unlock()
	ca.Slow = &Slowness{At: at, RetryAfter: retryAfter, Host: host}
	return func() {
		ca.Mu.Lock()
		defer ca.Mu.Unlock()
		ca.Slow = nil
	}
}

// AnswerOrders has new orders answered with in; nil ends that.
func (ca *CA) AnswerOrders(in *Answer) {
	ca.Mu.Lock()
	defer ca.Mu.Unlock()
	ca.Inject = func(path string) *Answer {
		if path != "order" {
			return nil
		}
		return in
	}
}

// RefuseAccounts has every account that the CA has refused with a problem; nil ends
// that.
func (ca *CA) RefuseAccounts(p *acmez.Problem) {
	ca.Mu.Lock()
	defer ca.Mu.Unlock()
	clear(ca.Faults)
	for id := range ca.Accounts {
		if p != nil {
			ca.Faults[id] = *p
		}
	}
}

// Refuse writes a problem with a fresh nonce, as an answer to a request that the CA
// never saw.
func (ca *CA) Refuse(w http.ResponseWriter, p acmez.Problem) {
	ca.Mu.Lock()
	defer ca.Mu.Unlock()
	ca.nonce(w)
	ca.problem(w, p)
}
