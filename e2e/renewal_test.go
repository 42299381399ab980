package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// Certificates that nobody asks for are renewed in time, deleted ones never.
func TestIdleCertificatesAreRenewed(t *testing.T) {
	n := network(t)
	const lifetime = 30 * time.Second
	ca, err := testnet.StartCA("127.0.0.61", lifetime)
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, n, settings{ca: ca})
	customer := customer(t, n, "renewal")
	idle, deleted := "idle."+customer.name, "deleted."+customer.name
	records := []string{
		p.create(t, idle, true).line(t, "ACMEChallenge"),
		p.create(t, deleted, true).line(t, "ACMEChallenge"),
	}
	customer.set(t, records...)
	first := p.await(t, idle, 30*time.Second, "the first certificate", is("TLSReady=True"))
	p.await(t, deleted, 30*time.Second, "the first certificate", is("TLSReady=True"))
	p.delete(t, deleted)
	orders := ca.Orders(deleted)

	cert := *first.Status.Certificate
	for range 2 {
		r := p.await(t, idle, lifetime+10*time.Second, "the renewal", func(r record) error {
			if err := is("TLSReady=True", "OwnershipVerified=True", "phase=Active")(r); err != nil {
				t.Error(err)
			}
			if r.Status.Certificate.SerialNumber == cert.SerialNumber {
				return fmt.Errorf("the certificate is still %+v", cert)
			}
			return nil
		})
		now := time.Now()
		t.Logf("renewed %v before the end of %v, without a handshake", cert.NotAfter.Sub(now).Round(time.Millisecond), lifetime)
		if now.After(cert.NotAfter) {
			t.Errorf("the certificate ended at %v and was renewed at %v", cert.NotAfter, now)
		}
		cert = *r.Status.Certificate
	}
	state, err := p.handshake(idle)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("%x", state.PeerCertificates[0].SerialNumber); got != cert.SerialNumber {
		r, err := p.get(t.Context(), idle)
		if err != nil || got != r.Status.Certificate.SerialNumber {
			t.Errorf("the handshake gave certificate %s, want %s", got, cert.SerialNumber)
		}
	}
	if got := ca.Orders(deleted); got != orders {
		t.Errorf("%d orders for the deleted record reached the CA after its deletion", got-orders)
	}
}
