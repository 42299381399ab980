package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// Whatever a stranger asks for, no order for a name without proof reaches the CA.
func TestUnverifiedNamesAreRefusedWithoutAnOrder(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{})
	customer := customer(t, n, "unverified")
	host := "api." + customer.name
	customer.set(t, "api A "+testnet.ForeignAddr)
	p.create(t, host, true)
	requests := p.ca.Requests()

	for _, name := range []string{host, "unknown." + customer.name, "no-record.example", "x." + testnet.Zone, host + "." + testnet.Zone} {
		for range 5 {
			started := time.Now()
			if _, err := p.handshake(name); err == nil {
				t.Errorf("%s was given a certificate", name)
			}
			if took := time.Since(started); took > 12*time.Second {
				t.Errorf("refusing %s took %v", name, took)
			}
		}
		status, body, err := p.plain(t.Context(), name)
		if err != nil || status != http.StatusMisdirectedRequest {
			t.Errorf("%s over HTTP is answered %d %q, %v, want 421", name, status, body, err)
		}
	}
	r := p.check(t, host)
	if err := is("phase=Pending", "OwnershipVerified=False", "TLSReady=False/WaitingForDNS")(r); err != nil {
		t.Error(err)
	}
	if got := p.ca.Orders(host); got != 0 {
		t.Errorf("%d orders for %s reached the CA", got, host)
	}
	// An account may be registered ahead of need; nothing else may be asked.
	if got := p.ca.Requests() - requests; got > 5 {
		t.Errorf("%d requests reached the CA while no name was verified", got)
	}
}

// A wrong record is told apart from a missing one, and the message holds what
// was found and what to put there.
func TestWrongTargetIsDiagnosed(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{})
	customer := customer(t, n, "wrongtarget")
	host := "api." + customer.name
	elsewhere := "api A " + testnet.ForeignAddr
	customer.set(t, elsewhere)
	r := p.create(t, host, true)
	delegation, expected := r.line(t, "ACMEChallenge"), r.wanted("ACMEChallenge").Value

	for name, found := range map[string]string{
		"the last label is missing":  strings.TrimSuffix(expected, "net."),
		"another record's name":      "_acme-challenge.other." + customer.name + "." + testnet.Zone + ".",
		"the registrar added a zone": expected + customer.name + ".",
		"a zone elsewhere":           "_acme-challenge.api.old-provider.org.",
	} {
		t.Run(name, func(t *testing.T) {
			customer.set(t, elsewhere, "_acme-challenge.api CNAME "+found)
			r := p.await(t, host, 20*time.Second, "the diagnosis", func(r record) error {
				if seen := r.wanted("ACMEChallenge").Observed; !slices.Contains(seen, "CNAME "+found) {
					return fmt.Errorf("what was seen is %v, want CNAME %s", seen, found)
				}
				return is("ACMEChallengeDelegationReady=False/ACMEChallengeDelegationMismatch")(r)
			})
			message := r.condition("ACMEChallengeDelegationReady").Message
			t.Log(message)
			for _, part := range []string{found, "_acme-challenge." + host, expected} {
				if !strings.Contains(message, part) {
					t.Errorf("the message does not hold %s", part)
				}
			}
			if err := is("phase=Pending", "TLSReady=False")(r); err != nil {
				t.Error(err)
			}
		})
	}
	if got := p.ca.Orders(host); got != 0 {
		t.Errorf("%d orders reached the CA for a name that could not succeed", got)
	}

	customer.set(t, "api CNAME other."+customer.name+"."+testnet.Zone+".")
	r = p.await(t, host, 20*time.Second, "the diagnosis of the main record", is("CNAMEConfigured=False/CNAMEMismatch"))
	t.Log(r.condition("CNAMEConfigured").Message)
	if want := host + "." + testnet.Zone + "."; !strings.Contains(r.condition("CNAMEConfigured").Message, want) {
		t.Errorf("the message of CNAMEConfigured does not hold %s", want)
	}

	customer.set(t, elsewhere, delegation)
	p.await(t, host, 30*time.Second, "the certificate once mended", is("TLSReady=True", "ACMEChallengeDelegationReady=True"))
}
