package e2e

import (
	"bufio"
	"io"
	"net"
	"net/http"
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

// outsideOnly listens at an address as a router without hairpin does: whoever is
// inside is not answered, and the CA reaches port 80 of the product.
func outsideOnly(t *testing.T, addr string) {
	t.Helper()
	for _, port := range []string{"80", "443"} {
		listener, err := net.Listen("tcp", net.JoinHostPort(addr, port))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { listener.Close() })
		go func() {
			for conn, err := listener.Accept(); err == nil; conn, err = listener.Accept() {
				go func() {
					defer conn.Close()
					in := bufio.NewReader(conn)
					req, err := http.ReadRequest(in)
					if err != nil || !strings.Contains(strings.ToLower(req.UserAgent()), "pebble") {
						_, _ = io.Copy(io.Discard, in) // until the other side gives up
						return
					}
					out, err := net.Dial("tcp", testnet.ProductAddr+":80")
					if err != nil {
						return
					}
					defer out.Close()
					req.Close = true
					if req.Write(out) == nil {
						_, _ = io.Copy(conn, out)
					}
				}()
			}
		}()
	}
}

// A machine that cannot reach its own edge has its first certificate within two
// minutes of the CNAME, and what the CA taught by it survives a restart; with
// edge_check nothing needs to be learnt.
func TestIssuanceWithoutHairpin(t *testing.T) {
	const outside, another = "127.0.0.75", "127.0.0.76"
	n := network(t)
	outsideOnly(t, outside)
	outsideOnly(t, another) // of which nothing is learnt
	p := start(t, n, settings{})
	d := customer(t, n, "nohairpin")
	hosts := map[string]string{}
	var records []string
	for _, label := range []string{"first", "second", "asked", "unasked"} {
		hosts[label] = label + "." + d.name
		records = append(records, label+" CNAME "+hosts[label]+"."+testnet.Zone+".")
	}
	d.set(t, records...)
	p.reconfigure(t, "edge "+testnet.ProductAddr, "edge "+outside)
	p.submit(t, hosts["first"])
	r := p.await(t, hosts["first"], 30*time.Second, "the silence to be told", is("TLSReady=False/CertificateError"))
	contains(t, r.condition("TLSReady").Message, outside+" port 80 does not answer", "edge_check")
	p.certified(t, hosts["first"], 100*time.Second)

	p.stop(t)
	p.run(t)
	p.submit(t, hosts["second"])
	p.certified(t, hosts["second"], 25*time.Second) // sooner than silence is doubted

	edge := "edge " + outside
	for label, check := range map[string]string{"asked": testnet.ProductAddr, "unasked": "off"} {
		next := "edge " + another + "\n\t\t\tedge_check " + check
		p.reconfigure(t, edge, next)
		p.submit(t, hosts[label])
		p.certified(t, hosts[label], 20*time.Second)
		edge = next
	}
}
