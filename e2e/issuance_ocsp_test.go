package e2e

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// withoutARI is a rule for a gate whose CA has no renewal information.
func (g *gate) withoutARI(a asked) http.HandlerFunc {
	switch a.step {
	case atRenewalInfo:
		return problem(http.StatusNotFound, "malformed", "no such thing", "")
	case atDirectory:
		return func(w http.ResponseWriter, r *http.Request) {
			said := httptest.NewRecorder()
			g.pass(said, r)
			var dir map[string]any
			if json.Unmarshal(said.Body.Bytes(), &dir) != nil {
				w.WriteHeader(http.StatusBadGateway)
				return
			}
			delete(dir, "renewalInfo")
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(dir) // the client may have gone
		}
	}
	return nil
}

// leaf is the certificate in the product's storage.
func (p *product) leaf(t *testing.T, host string) *x509.Certificate {
	t.Helper()
	text, err := os.ReadFile(p.stored(t, host, ".crt"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

// A certificate that its CA has revoked is replaced, with a new key, though
// nobody visits and the CA tells of it by OCSP alone.
func TestWhatOCSPCallsRevokedIsReplaced(t *testing.T) {
	n := network(t)
	responder := testnet.NewResponder("127.0.0.72", "2560")
	ca, err := testnet.StartCA("127.0.0.65", 90*24*time.Hour, responder.URL)
	if err != nil {
		t.Fatal(err)
	}
	c, base := manage(t, ca)
	var issuer [2][]byte // certificate and key
	for i, path := range []string{"/intermediates/0", "/intermediate-keys/0"} {
		status, body, err := fetch(t.Context(), c, base+path, "")
		if err != nil || status != http.StatusOK {
			t.Fatalf("the CA's %s: status %d, %v", path, status, err)
		}
		issuer[i] = []byte(body + "\n")
	}
	t.Cleanup(responder.Stop)
	g := openGate(t, "127.0.0.71", ca)
	g.obey(g.withoutARI)
	p := startAt(t, n, settings{}, g)
	customer := customer(t, n, "withdrawn")
	host := "api." + customer.name
	customer.delegated(t, host)
	p.submit(t, host)
	before := p.certified(t, host, 30*time.Second).Status.Certificate
	if before.RenewalTime.Before(time.Now().Add(24 * time.Hour)) {
		t.Errorf("a certificate of 90 days is to be renewed at %v", before.RenewalTime)
	}
	status := testnet.Status{Serial: before.SerialNumber, NotAfter: before.NotAfter}
	if err := responder.Serve(issuer[0], issuer[1], status); err != nil {
		t.Fatal(err)
	}
	answers := func(status string) int { return bytes.Count(responder.Log(), []byte("Cert Status: "+status)) }
	eventually(t, 90*time.Second, "the responder to be asked", func() error {
		if answers("good") == 0 {
			return errorf("it answered: %s", responder.Log())
		}
		return nil
	})
	old := p.leaf(t, host)

	status.RevokedAt, status.Reason = time.Now(), "keyCompromise"
	if err := responder.Serve(issuer[0], issuer[1], status); err != nil {
		t.Fatal(err)
	}
	// The first order after it is put off, so that what the record says
	// meanwhile can be read.
	var put sync.Once
	g.obey(func(a asked) http.HandlerFunc {
		h := g.withoutARI(a)
		if a.step == atOrder {
			put.Do(func() { h = problem(http.StatusServiceUnavailable, "serverInternal", "closed for lunch", "5") })
		}
		return h
	})
	var told string
	p.await(t, host, 100*time.Second, "the replacement", func(r record) error {
		if err := is("TLSReady=True", "OwnershipVerified=True")(r); err != nil {
			t.Error(err)
		}
		if m := r.condition("TLSReady").Message; strings.Contains(m, "revoked") {
			told = m
		}
		if r.Status.Certificate.SerialNumber == before.SerialNumber {
			return fmt.Errorf("still %+v", r.Status.Certificate)
		}
		return nil
	})
	if !strings.Contains(told, "The certificate authority revoked it at ") || !strings.Contains(told, "(keyCompromise), and it is being replaced.") {
		t.Errorf("meanwhile TLSReady said %q", told)
	}
	t.Logf("replaced %v after the responder knew (asked every minute, and the first order put off by 5s)", time.Since(status.RevokedAt).Round(time.Second))
	if answers("revoked") != 1 {
		t.Errorf("the responder said %d times that it is revoked", answers("revoked"))
	}
	if asked := g.passed(atRenewalInfo); asked != 0 || len(orders(g, host)) != 2 {
		t.Errorf("%d requests for renewal information, %d orders", asked, len(orders(g, host)))
	}
	if now := p.leaf(t, host); bytes.Equal(now.RawSubjectPublicKeyInfo, old.RawSubjectPublicKeyInfo) {
		t.Error("the new certificate has the old key")
	}
	state, err := p.handshake(host)
	if err != nil {
		t.Fatal(err)
	}
	if state.PeerCertificates[0].Equal(old) {
		t.Error("the revoked certificate is served")
	}
}
