package issuance

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/apoxy-dev/caddy-apoxy/internal/acmetest"
	"github.com/apoxy-dev/caddy-apoxy/internal/times"
	"github.com/apoxy-dev/caddy-apoxy/issuance/certfiles"
	"github.com/apoxy-dev/caddy-apoxy/issuance/revocation"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// testResponder is the OCSP responder (RFC 6960) of a acmetest.CA.
type testResponder struct {
	ca *acmetest.CA
	by *acmetest.CA // who signs

	mu      sync.Mutex
	status  map[string]ocsp.Response // by serial number; others are good
	instead http.HandlerFunc         // answers in its place
	asked   map[string]int           // by serial number
}

// respond gives the CA a responder, which its certificates name from now on.
func respond(t *testing.T, ca *acmetest.CA) *testResponder {
	r := &testResponder{ca: ca, by: ca, status: map[string]ocsp.Response{}, asked: map[string]int{}}
	srv := httptest.NewServer(r)
	t.Cleanup(srv.Close)
	ca.Mu.Lock()
	ca.Responder = srv.URL
	ca.Mu.Unlock()
	return r
}

func (r *testResponder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	q, err := ocsp.ParseRequest(body)
	if err != nil {
		w.Write(ocsp.MalformedRequestErrorResponse)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	serial := q.SerialNumber.Text(16)
	r.asked[serial]++
	if r.instead != nil {
		r.instead(w, req)
		return
	}
	a := r.status[serial]
	a.SerialNumber, a.ThisUpdate, a.NextUpdate = q.SerialNumber, time.Now().Add(-time.Minute), time.Now().Add(4*time.Hour)
	raw, err := ocsp.CreateResponse(r.ca.Cert, r.by.Cert, a, r.by.Key)
	if err != nil {
		r.ca.T.Error(err)
	}
	w.Write(raw)
}

func (r *testResponder) set(serial string, a ocsp.Response) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status[serial] = a
}

func (r *testResponder) revoke(serial string, reason int) {
	r.set(serial, ocsp.Response{Status: ocsp.Revoked, RevokedAt: time.Now().Add(-time.Minute).Truncate(time.Second), RevocationReason: reason})
}

func (r *testResponder) answer(h http.HandlerFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.instead = h
}

func (r *testResponder) sign(by *acmetest.CA) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.by = by
}

func (r *testResponder) count(serial string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked[serial]
}

// certified is a world with one certificate that names a responder.
func certified(t *testing.T) (*world, *testResponder, ownership.CertificateObservation) {
	w := newWorld(t)
	r := respond(t, w.ca)
	w.dns.delegate("api.example.com")
	w.s.Want(Want{Hostname: "api.example.com", UID: "u1", DNS01: true})
	return w, r, w.until("api.example.com", "certified", seen)
}

// polled waits until the responder has been asked n times about a certificate
// and the answer has been taken in.
func (w *world) polled(r *testResponder, serial string, n int) revocation.OCSP {
	w.t.Helper()
	var o revocation.OCSP
	w.wait("the responder to be asked", func() bool {
		w.s.entries.mu.Lock()
		defer w.s.entries.mu.Unlock()
		e := w.s.entries.of.get("api.example.com")
		rec := e.dossier()
		if e.flight() != nil || rec.OCSP == nil {
			return false
		}
		o = *rec.OCSP
		return r.count(serial) >= n && (o.IsRevoked() || times.Unix(o.Poll).After(w.s.now()))
	}, func() string { return "" })
	return o
}

func otherThan(serial string) func(ownership.CertificateObservation) bool {
	return func(o ownership.CertificateObservation) bool { return seen(o) && o.SerialNumber != serial }
}

// publicKey is the one in storage.
func (w *world) publicKey() []byte {
	w.t.Helper()
	st, err := certfiles.At(w.magic.Storage, w.is.cas()[0].Key, "api.example.com").Load(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	return st.Leaf.RawSubjectPublicKeyInfo
}

func hello(t *testing.T, name string) *tls.ClientHelloInfo {
	here, there := net.Pipe()
	t.Cleanup(func() { here.Close(); there.Close() })
	return &tls.ClientHelloInfo{ServerName: name, Conn: here, SupportedVersions: []uint16{tls.VersionTLS13},
		CipherSuites: []uint16{tls.TLS_AES_128_GCM_SHA256}, SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256}}
}
