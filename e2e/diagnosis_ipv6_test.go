package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// A zone whose only name server has only an IPv6 address is seen as any other:
// what is there, what changes, and that it does not answer.
func TestDiagnosisOfAZoneServedOverIPv6Only(t *testing.T) {
	n := network(t)
	resolver(t, sixAddr, testnet.Trusting, testnet.ShortCaches, testnet.OverIPv6)
	p := start(t, n, settings{})
	p.useResolvers(t, sixAddr)
	// The machine gets IPv6 while the product runs: an address in the network of
	// the one by which it sees whether it has a way there.
	const serverAddr = "2001:4860:4860::53"
	remove, err := testnet.AddIPv6(serverAddr + "/64")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := remove(); err != nil {
			t.Error(err)
		}
	})
	server := nameServer(t, n, serverAddr, "six")
	const domain, host = "overipv6.com", "api.overipv6.com"
	if err := n.Delegate(domain, server); err != nil {
		t.Fatal(err)
	}
	if answer, err := testnet.Ask(testnet.ResolverAddr, host, dns.TypeCNAME); err != nil || answer.Rcode != dns.RcodeServerFailure {
		t.Fatalf("who asks over IPv4 alone gets %v, %v, want SERVFAIL", answer, err)
	}
	r := p.add(t, host, false, nil)
	if err := server.SetZone(domain, "api CNAME old.provider.org."); err != nil {
		t.Fatal(err)
	}
	if message := p.awaitProblem(t, host, "Traffic", "OldTarget", 20*time.Second); strings.Contains(message, "recursive") {
		t.Errorf("the name server was not asked itself: %s", message)
	}
	if err := server.SetZone(domain, r.line(t, "Traffic")); err != nil {
		t.Fatal(err)
	}
	p.await(t, host, 20*time.Second, "ownership", is("OwnershipVerified=True/CNAMEConfigured", "phase=Active"))
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	message := p.awaitProblem(t, host, "Traffic", "ServersUnreachable", 40*time.Second)
	contains(t, message, serverAddr)
	r, _ = p.look(t, host)
	if err := is("OwnershipVerified=True", "phase=Active")(r); err != nil {
		t.Errorf("silence changed a condition: %v", err)
	}
}
