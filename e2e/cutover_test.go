package e2e

import (
	"context"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// A domain in use elsewhere gets its certificate before the cutover, by DNS-01
// through the delegation, and then moves without one failed request.
func TestPreIssuedDomainMovesWithoutAFailedRequest(t *testing.T) {
	n := network(t)
	set := settings{checkInterval: 2 * time.Second}
	p := start(t, n, set)
	customer := customer(t, n, "preissue")
	host := "api." + customer.name
	elsewhere := "api A " + testnet.ForeignAddr
	customer.set(t, elsewhere)
	orders := p.ca.Orders(host) // of earlier runs in this process

	r := p.create(t, host, true)
	if err := is("phase=Pending", "OwnershipVerified=False/OwnershipNotVerified", "TLSReady=False/WaitingForDNS",
		"ACMEChallengeDelegationReady=False/ACMEChallengeDelegationNotConfigured", "Ready=False")(r); err != nil {
		t.Fatal(err)
	}
	delegation, traffic := r.line(t, "ACMEChallenge"), r.line(t, "Traffic")

	t.Run("the certificate is there before the cutover", func(t *testing.T) {
		customer.set(t, elsewhere, delegation)
		published := time.Now()
		r := p.await(t, host, 30*time.Second, "the certificate", is("TLSReady=True/CertificateIssued"))
		took := time.Since(published)
		t.Logf("delegation published -> TLSReady: %v (check_interval %v, nothing else using the product)", took.Round(time.Millisecond), set.checkInterval)
		if limit := set.checkInterval + 3*time.Second; took > limit {
			t.Errorf("the certificate took %v from the delegation on, want at most check_interval plus 3 s: %v", took, limit)
		}
		r = p.await(t, host, 10*time.Second, "the phase", is("phase=Active", "OwnershipVerified=True/TLSCertificateIssued",
			"ACMEChallengeDelegationReady=True/ACMEChallengeDelegationConfigured", "CNAMEConfigured=False", "Ready=False"))
		if r.Status.Certificate == nil || r.Status.Certificate.Challenge != "dns-01" {
			t.Errorf("status.certificate is %+v, want one obtained by dns-01", r.Status.Certificate)
		}
		if _, err := p.handshake(host); err != nil {
			t.Errorf("shaking hands before the cutover: %v", err)
		}
		if err := resolvesTo(t.Context(), host, testnet.ForeignAddr); err != nil {
			t.Error(err)
		}
	})

	t.Run("the cutover loses nothing", func(t *testing.T) {
		c := client(n.ForeignPEM, p.ca.RootPEM)
		h := hit(t, 2, func(ctx context.Context) (string, error) { return visit(ctx, c, "https://"+host+"/") })
		h.until(t, 10*time.Second, testnet.ForeignBody, 50)
		customer.set(t, traffic, delegation)
		flipped := time.Now()
		p.await(t, host, 30*time.Second, "Ready", is("Ready=True/Ready", "CNAMEConfigured=True/CNAMEConfigured", "TargetReady=True"))
		t.Logf("cutover -> Ready: %v", time.Since(flipped).Round(time.Millisecond))
		h.until(t, 20*time.Second, ours, 100)
		h.stop()
		t.Logf("cutover -> first good answer from us: %v (resolver cache 1 s); %d requests, %d to the old place, %d to us",
			h.firstSeen(ours).Sub(flipped).Round(time.Millisecond), h.total(), h.count(testnet.ForeignBody), h.count(ours))
		if failed, err := h.failures(); failed > 0 {
			t.Errorf("%d of %d requests failed over the cutover: %v", failed, h.total(), err)
		}
	})

	if got := p.ca.Orders(host) - orders; got != 1 {
		t.Errorf("%d orders reached the CA for one certificate", got)
	}
}

// Without the delegation the certificate is obtained after the cutover, and
// whoever comes in between waits for it.
func TestFallbackVisitorWaitsInsteadOfFailing(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{})
	customer := customer(t, n, "fallback")
	host := "www." + customer.name
	customer.set(t, "www A "+testnet.ForeignAddr)
	r := p.create(t, host, true)

	c := client(n.ForeignPEM, p.ca.RootPEM)
	h := hit(t, 1, func(ctx context.Context) (string, error) { return visit(ctx, c, "https://"+host+"/") })
	h.until(t, 10*time.Second, testnet.ForeignBody, 20)
	customer.set(t, r.line(t, "Traffic"))
	flipped := time.Now()
	h.until(t, 20*time.Second, ours, 1)
	took := h.firstSeen(ours).Sub(flipped)
	h.until(t, 10*time.Second, ours, 50)
	h.stop()
	t.Logf("cutover without delegation -> first good handshake: %v (resolver cache 1 s)", took.Round(time.Millisecond))
	if took > 5*time.Second {
		t.Errorf("the first good handshake came %v after the cutover, want at most 5 s", took)
	}
	if failed, err := h.failures(); failed > 0 {
		t.Errorf("%d of %d visits failed over the cutover: %v", failed, h.total(), err)
	}
	r = p.await(t, host, 10*time.Second, "Ready", is("phase=Active", "Ready=True", "OwnershipVerified=True", "ACMEChallengeDelegationReady=False"))
	if cert := r.Status.Certificate; cert == nil || cert.Challenge != "http-01" && cert.Challenge != "tls-alpn-01" {
		t.Errorf("status.certificate is %+v, want one obtained by http-01 or tls-alpn-01", cert)
	}
}
