package e2e

import (
	"net/http"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// A record without TLS is proven by the challenge record, or by the cutover
// itself, and never touches the CA.
func TestHTTPOnlyRecordIsVerified(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{})
	before := p.ca.AllOrders()

	t.Run("by its challenge, before the cutover", func(t *testing.T) {
		customer := customer(t, n, "challenge")
		host := "plain." + customer.name
		elsewhere := "plain A " + testnet.ForeignAddr
		customer.set(t, elsewhere)
		r := p.create(t, host, false)
		for _, absent := range []string{"TLSReady", "ACMEChallengeDelegationReady"} {
			if c := r.condition(absent); c.Status != "" {
				t.Errorf("an HTTP-only record has the condition %+v", c)
			}
		}
		if status, _, err := p.plain(t.Context(), host); err != nil || status != http.StatusMisdirectedRequest {
			t.Errorf("an unverified host is answered %d, %v, want 421", status, err)
		}
		customer.set(t, elsewhere, r.line(t, "Ownership"))
		r = p.await(t, host, 20*time.Second, "the proof", is("phase=Active", "OwnershipVerified=True/ApoxyChallengeConfigured", "CNAMEConfigured=False"))
		for purpose, want := range map[string]string{"Traffic": "plain", "Ownership": "_apoxy-challenge.plain"} {
			if w := r.wanted(purpose); w.Zone != customer.name+"." || w.Host != want {
				t.Errorf("%s is told to be %q in the zone %q, want %q in %s.", purpose, w.Host, w.Zone, want, customer.name)
			}
		}
		if status, body, err := p.plain(t.Context(), host); err != nil || status != http.StatusOK || body != ours {
			t.Errorf("a verified host is answered %d %q, %v, want 200 %q", status, body, err, ours)
		}
	})

	t.Run("by the cutover", func(t *testing.T) {
		customer := customer(t, n, "plaincutover")
		host := "plain." + customer.name
		customer.set(t, "plain A "+testnet.ForeignAddr)
		r := p.create(t, host, false)
		customer.set(t, r.line(t, "Traffic"))
		p.await(t, host, 20*time.Second, "the proof", is("phase=Active", "OwnershipVerified=True/CNAMEConfigured", "CNAMEConfigured=True", "Ready=True"))
		eventually(t, 10*time.Second, "the resolver to send visitors to us", func() error {
			return resolvesTo(t.Context(), host, testnet.ProductAddr)
		})
		body, err := visit(t.Context(), client(), "http://"+host+"/")
		if err != nil || body != ours {
			t.Errorf("the host is answered %q, %v, want %q", body, err, ours)
		}
		if _, err := p.handshake(host); err == nil {
			t.Error("an HTTP-only host was given a certificate")
		}
	})

	if got := p.ca.AllOrders() - before; got != 0 {
		t.Errorf("%d orders reached the CA for HTTP-only records", got)
	}
}
