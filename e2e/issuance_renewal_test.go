package e2e

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// Certificates of 90 seconds are renewed under load without one failed
// handshake, each order naming the certificate that it replaces.
func TestIssuanceRenewsUnderLoad(t *testing.T) {
	n := network(t)
	const lifetime = 90 * time.Second
	short, err := testnet.StartCA("127.0.0.63", lifetime)
	if err != nil {
		t.Fatal(err)
	}
	g := openGate(t, "127.0.0.71", short)
	p := startAt(t, n, settings{}, g)
	customer := customer(t, n, "underload")
	var hosts []string
	for i := range 5 {
		hosts = append(hosts, fmt.Sprintf("h%d.%s", i, customer.name))
	}
	customer.delegated(t, hosts...)
	first := map[string]string{}
	for _, h := range hosts {
		p.submit(t, h)
		first[h] = p.certified(t, h, 30*time.Second).Status.Certificate.SerialNumber
	}
	next := make(chan string)
	go func() {
		for i := 0; t.Context().Err() == nil; i++ {
			select {
			case next <- hosts[i%len(hosts)]:
			case <-t.Context().Done():
			}
		}
	}()
	began := time.Now()
	h := hit(t, 2, func(context.Context) (string, error) {
		host := <-next
		state, err := p.handshake(host)
		if err != nil {
			return "", fmt.Errorf("%s: %w", host, err)
		}
		time.Sleep(5 * time.Millisecond) // leave the machine to the others
		return fmt.Sprintf("%s %x", host, state.PeerCertificates[0].SerialNumber), nil
	})
	for _, host := range hosts {
		p.await(t, host, lifetime+15*time.Second, "the renewal", func(r record) error {
			if err := is("TLSReady=True", "OwnershipVerified=True"); err(r) != nil {
				t.Error(err(r))
			}
			if r.Status.Certificate.SerialNumber == first[host] {
				return fmt.Errorf("still %+v", r.Status.Certificate)
			}
			return nil
		})
	}
	time.Sleep(max(0, lifetime+5*time.Second-time.Since(began))) // until every first certificate has expired
	h.stop()
	t.Logf("%d handshakes in %v over %d renewals", h.total(), time.Since(began).Round(time.Second), g.passed(atOrder)-len(hosts))
	if failed, err := h.failures(); failed > 0 {
		t.Errorf("%d of %d handshakes failed: %v", failed, h.total(), err)
	}
	for _, host := range hosts {
		replaced := map[string]bool{}
		for i, a := range orders(g, host) {
			if i > 0 && a.replaces == "" || i == 0 && a.replaces != "" {
				t.Errorf("order %d for %s replaces %q", i, host, a.replaces)
			}
			if a.replaces != "" && replaced[a.replaces] {
				t.Errorf("%s: two orders replace %q", host, a.replaces)
			}
			replaced[a.replaces] = true
		}
		if got := len(orders(g, host)); got > 8 {
			t.Errorf("%d orders for %s in %v", got, host, lifetime)
		}
	}
}

// orders are the orders for a hostname that reached the CA.
func orders(g *gate, host string) []asked {
	var out []asked
	for _, a := range g.seen(host) {
		if a.step == atOrder && !a.refused {
			out = append(out, a)
		}
	}
	return out
}

// A CA that pulls the renewal window forward, as before a revocation, is obeyed
// at the next poll, and the new certificate is what the next handshake gets.
func TestIssuanceFollowsARIPulledForward(t *testing.T) {
	n := network(t)
	g := openGate(t, "127.0.0.71", n.CA)
	g.rewrite = func(_ asked, resp *http.Response) { resp.Header.Set("Retry-After", "30") }
	p := startAt(t, n, settings{}, g)
	customer := customer(t, n, "pulled")
	host := "api." + customer.name
	customer.delegated(t, host)
	p.submit(t, host)
	before := p.certified(t, host, 30*time.Second).Status.Certificate
	if before.RenewalTime.Before(time.Now().Add(24 * time.Hour)) {
		t.Errorf("a certificate of 90 days is to be renewed at %v", before.RenewalTime)
	}
	state, err := p.handshake(host)
	if err != nil {
		t.Fatal(err)
	}
	setRenewalInfo(t, n.CA, state.PeerCertificates[0], time.Now().Add(-time.Hour), time.Now().Add(-time.Minute))
	set := time.Now()
	p.await(t, host, 100*time.Second, "the renewal", func(r record) error {
		if r.Status.Certificate.SerialNumber == before.SerialNumber {
			return fmt.Errorf("still %+v", r.Status.Certificate)
		}
		return nil
	})
	t.Logf("renewed %v after the CA pulled the window forward (polled every minute)", time.Since(set).Round(time.Second))
	now, err := p.handshake(host)
	if err != nil {
		t.Fatal(err)
	}
	if now.PeerCertificates[0].Equal(state.PeerCertificates[0]) {
		t.Error("the old certificate is still served")
	}
	placed := orders(g, host)
	if len(placed) != 2 || placed[1].replaces == "" || !strings.Contains(placed[1].replaces, ".") {
		t.Errorf("the orders are %+v, want a second that names what it replaces", placed)
	}
}

// manage is a client for Pebble's management interface.
func manage(t *testing.T, ca *testnet.CA) (*http.Client, string) {
	t.Helper()
	trust, err := os.ReadFile(ca.Trust)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(ca.Directory)
	if err != nil {
		t.Fatal(err)
	}
	return client(trust), "https://" + u.Hostname() + ":15000"
}

func setRenewalInfo(t *testing.T, ca *testnet.CA, leaf *x509.Certificate, start, end time.Time) {
	t.Helper()
	c, base := manage(t, ca)
	window, err := json.Marshal(map[string]any{"suggestedWindow": map[string]any{"start": start.UTC(), "end": end.UTC()}})
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(map[string]string{
		"Certificate": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw})),
		"ARIResponse": string(window),
	})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := c.Post(base+"/set-renewal-info/", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("setting the renewal window: status %d", answer.StatusCode)
	}
}

// A certificate revoked on request is gone at once, and another with a new key
// takes its place.
func TestIssuanceRevokesOnRequest(t *testing.T) {
	n := network(t)
	g := openGate(t, "127.0.0.71", n.CA)
	p := startAt(t, n, settings{}, g)
	customer := customer(t, n, "revoked")
	host := "api." + customer.name
	customer.delegated(t, host)
	p.submit(t, host)
	before := p.certified(t, host, 30*time.Second).Status.Certificate.SerialNumber
	old, err := p.handshake(host)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.caddy(t.Context(), "", "apoxy", "domainrecord", "revoke", host, "--reason", "boredom"); exitStatus(err) != 2 {
		t.Errorf("an unknown reason: %v, want exit status 2", err)
	}
	out, err := p.caddy(t.Context(), "", "apoxy", "domainrecord", "revoke", host, "--reason", "keyCompromise")
	if err != nil {
		t.Fatal(err)
	}
	t.Log(strings.TrimSpace(out))
	p.await(t, host, 20*time.Second, "the new certificate", func(r record) error {
		if c := r.Status.Certificate; c == nil || c.SerialNumber == before {
			return fmt.Errorf("still %+v", c)
		}
		return is("TLSReady=True", "OwnershipVerified=True")(r)
	})
	now, err := p.handshake(host)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(now.PeerCertificates[0].RawSubjectPublicKeyInfo, old.PeerCertificates[0].RawSubjectPublicKeyInfo) {
		t.Error("the new certificate has the old key")
	}
	c, base := manage(t, n.CA)
	status, body, err := fetch(t.Context(), c, fmt.Sprintf("%s/cert-status-by-serial/%x", base, old.PeerCertificates[0].SerialNumber), "")
	if err != nil || status != http.StatusOK || !strings.Contains(body, "Revoked") {
		t.Errorf("the CA says %d %s, %v", status, body, err)
	}
	if _, err := p.caddy(t.Context(), "", "apoxy", "domainrecord", "revoke", "unknown."+customer.name); exitStatus(err) != 1 {
		t.Errorf("a record that does not exist: %v, want exit status 1", err)
	}
}
