package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// Name servers on special-purpose addresses, as all of this network are, are
// not contacted unless they are listed. What the resolver answers counts instead,
// for every step of a record's life, and the message says so.
func TestUnlistedPrivateNameServersAreNotContacted(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{detachAfter: 3 * time.Second, checkInterval: time.Second})
	p.reconfigure(t, "private_networks 127.0.0.0/8", "private_networks "+testnet.SpareAddr)
	customer := customer(t, n, "insider")
	plain, secure := "plain."+customer.name, "secure."+customer.name
	traffic := p.create(t, plain, false).line(t, "Traffic")
	delegation := p.create(t, secure, true).line(t, "ACMEChallenge")
	message := p.awaitProblem(t, plain, "Traffic", "NotFound", 20*time.Second)
	contains(t, message, "recursive")
	r, _ := p.look(t, plain)
	contains(t, r.condition("CNAMEConfigured").Message, testnet.ProviderAddr, "127.0.0.0/8, loopback", "`private_networks`",
		"what resolver "+testnet.ResolverAddr+" says is used instead")

	customer.set(t, traffic, delegation)
	p.await(t, plain, 30*time.Second, "the proof", is("phase=Active", "OwnershipVerified=True/CNAMEConfigured", "Ready=True"))
	p.await(t, secure, 30*time.Second, "the certificate", is("phase=Active", "TLSReady=True"))
	customer.set(t)
	p.await(t, plain, 30*time.Second, "the record to be detached", is("phase=Detached", "OwnershipVerified=False/ProofWithdrawn"))

	// Listed, the server is asked itself.
	p.reconfigure(t, "private_networks "+testnet.SpareAddr, "private_networks 127.0.0.0/8")
	customer.set(t, traffic)
	p.await(t, plain, 30*time.Second, "the proof to be back", is("phase=Active", "OwnershipVerified=True"))
	r = p.check(t, plain)
	if m := r.condition("CNAMEConfigured").Message; strings.Contains(m, "private_networks") || strings.Contains(m, "is used instead") {
		t.Errorf("a listed name server was passed over: %s", m)
	}
}

// A resolver that follows a fresh CNAME asks our zone by UDP, which proves nobody's
// address; the record is seen at once all the same, long before its next look.
func TestAFreshRecordIsSeenAtItsFirstUse(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{checkInterval: 5 * time.Minute})
	customer := customer(t, n, "firstuse")
	host := "api." + customer.name
	traffic := p.create(t, host, false).line(t, "Traffic")
	p.awaitProblem(t, host, "Traffic", "NotFound", 20*time.Second)
	customer.set(t, traffic)
	used := time.Now()
	if _, err := testnet.Ask(testnet.ResolverAddr, host, dns.TypeA); err != nil {
		t.Fatal(err)
	}
	p.await(t, host, 10*time.Second, "the proof", is("phase=Active", "OwnershipVerified=True/CNAMEConfigured"))
	took := time.Since(used)
	t.Logf("first use -> verified: %v", took.Round(time.Millisecond))
	if took > 2*time.Second {
		t.Errorf("the record was seen %v after its first use", took)
	}
}
