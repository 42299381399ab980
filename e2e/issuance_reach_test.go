package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// An edge at which no CA would find us costs no order; once it is mended the
// hostname gets its certificate. An edge may be a hostname, and an apex that has
// its addresses arrives; with a stray one beside them it does not.
func TestIssuanceLooksAtTheEdgeFirst(t *testing.T) {
	n := network(t)
	g := openGate(t, "127.0.0.74", n.CA)
	p := startAt(t, n, settings{}, g)
	customer := customer(t, n, "canreach")
	host, apex := "www."+customer.name, customer.name
	p.reconfigure(t, "edge "+testnet.ProductAddr, "edge 127.0.0.41")
	customer.set(t, "www CNAME "+host+"."+testnet.Zone+".", "edge A "+testnet.ProductAddr)

	p.submit(t, host)
	r := p.await(t, host, 20*time.Second, "the trouble", is("TLSReady=False/CertificateError"))
	for _, said := range []string{"http-01: 127.0.0.41 port 80 refuses the connection", "tls-alpn-01: 127.0.0.41 port 443 refuses", "`edge`"} {
		if m := r.condition("TLSReady").Message; !strings.Contains(m, said) {
			t.Errorf("the message lacks %q: %s", said, m)
		}
	}
	if seen := g.seen(host); len(seen) > 0 {
		t.Errorf("the CA was asked: %+v", seen)
	}

	p.reconfigure(t, "edge 127.0.0.41", "edge edge."+customer.name)
	p.check(t, host)
	if r := p.certified(t, host, 60*time.Second); r.Status.Certificate.Challenge != "http-01" {
		t.Errorf("the certificate came by %s", r.Status.Certificate.Challenge)
	}

	customer.set(t, "@ A "+testnet.ProductAddr, "@ AAAA 2001:db8:bad::1", "www CNAME "+host+"."+testnet.Zone+".", "edge A "+testnet.ProductAddr)
	p.submit(t, apex)
	r = p.await(t, apex, 20*time.Second, "the stray address to be seen", is("CNAMEConfigured=False/CNAMEMismatch"))
	if m := r.condition("CNAMEConfigured").Message; !strings.Contains(m, "2001:db8:bad::1") {
		t.Errorf("the stray address is not named: %s", m)
	}
	if seen := g.seen(apex); len(seen) > 0 {
		t.Errorf("the CA was asked: %+v", seen)
	}
	customer.set(t, "@ A "+testnet.ProductAddr, "www CNAME "+host+"."+testnet.Zone+".", "edge A "+testnet.ProductAddr)
	p.await(t, apex, 20*time.Second, "the apex to arrive", is("CNAMEConfigured=True/AddressConfigured"))
	if r := p.certified(t, apex, 60*time.Second); r.Status.Certificate.Challenge != "http-01" {
		t.Errorf("the certificate came by %s", r.Status.Certificate.Challenge)
	}
}
