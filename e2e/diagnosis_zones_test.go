package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// A domain that nobody has registered.
func TestDiagnosisOfUnregisteredDomain(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{})
	p.add(t, "api.expired.com", true, nil)
	message := p.awaitProblem(t, "api.expired.com", "Traffic", "DomainNotRegistered", 15*time.Second)
	if !strings.Contains(message, "renews it") {
		t.Errorf("the message does not say what to do: %s", message)
	}
}

// The registrar names servers that do not know the zone.
func TestDiagnosisOfLameDelegation(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{})
	// The TLD points at the provider's name; the zone lies on another server.
	impostor := namedServer(t, impostorAddr, "ns1.provider.org.")
	if err := n.Delegate("lame.com", impostor); err != nil {
		t.Fatal(err)
	}
	if err := call(t.Context(), http.MethodPost, recordsPath, manifest("api.lame.com", true), nil); err != nil {
		t.Fatal(err)
	}
	message := p.awaitProblem(t, "api.lame.com", "Traffic", "ZoneLame", 20*time.Second)
	if !strings.Contains(message, testnet.ProviderAddr) {
		t.Errorf("the message does not name the server: %s", message)
	}
}

// A name server whose zone file is broken answers SERVFAIL; what was proven
// before holds.
func TestDiagnosisOfServFailKeepsWhatWasProven(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{detachAfter: 2 * time.Second})
	server := nameServer(t, n, brokenAddr, "broken-dns")
	if err := n.Delegate("servfail.com", server); err != nil {
		t.Fatal(err)
	}
	host := "api.servfail.com"
	r := p.add(t, host, false, nil)
	if err := server.SetZone("servfail.com", r.line(t, "Traffic")); err != nil {
		t.Fatal(err)
	}
	p.await(t, host, 20*time.Second, "ownership", is("OwnershipVerified=True/CNAMEConfigured", "phase=Active"))
	if err := server.SetZone("servfail.com", "this is no zone file ("); err == nil {
		t.Fatal("the name server takes a broken zone file")
	}
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	if answer, err := testnet.Ask(brokenAddr, host, dns.TypeA); err != nil || answer.Rcode != dns.RcodeServerFailure {
		t.Fatalf("the broken name server answers %v, %v, want SERVFAIL", answer, err)
	}
	p.awaitProblem(t, host, "Traffic", "ServFail", 30*time.Second)
	for range 3 {
		r, _ := p.look(t, host)
		if err := is("OwnershipVerified=True", "CNAMEConfigured=True", "phase=Active")(r); err != nil {
			t.Fatalf("a failing look-up changed a condition: %v", err)
		}
	}
}

// A zone whose signatures do not hold is refused by certificate authorities:
// that is said, and no order is placed.
func TestDiagnosisOfBogusZone(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{})
	const host = "api.bogus.com"
	if err := n.Delegate("bogus.com", n.Provider); err != nil {
		t.Fatal(err)
	}
	r := p.add(t, host, true, nil)
	records := []string{r.line(t, "ACMEChallenge"), r.line(t, "Traffic")}
	bad, ds := signed(t, "bogus.com", "ns1.provider.org.", true, records...)
	resolver(t, validatingAddr, `module-config: "validator iterator"`, `trust-anchor: "`+ds+`"`, testnet.ShortCaches)
	if err := n.Provider.SetZone("bogus.com", bad...); err != nil {
		t.Fatal(err)
	}
	if answer, err := testnet.Ask(validatingAddr, host, dns.TypeCNAME); err != nil || answer.Rcode != dns.RcodeServerFailure {
		t.Fatalf("the validating resolver answers %v, %v, want SERVFAIL", answer, err)
	}
	p.useResolvers(t, validatingAddr)
	before := p.ca.Orders(host)
	for purpose, kind := range map[string]string{"Traffic": "CNAMEConfigured", "ACMEChallenge": "ACMEChallengeDelegationReady"} {
		message := p.awaitProblem(t, host, purpose, "DNSSECBogus", 30*time.Second)
		if !strings.Contains(message, "signed anew") {
			t.Errorf("the message does not say what to do: %s", message)
		}
		r, err := p.get(t.Context(), host)
		if err != nil {
			t.Fatal(err)
		}
		if c := r.condition(kind); !strings.Contains(c.Message, "DNSSEC") {
			t.Errorf("%s does not speak of DNSSEC: %s", kind, c.Message)
		}
	}
	if got := p.ca.Orders(host) - before; got > 0 {
		t.Errorf("%d orders reached the CA for a zone that it refuses", got)
	}
}

// While one of two servers has the old content nothing is believed, and who
// says what is told.
func TestDiagnosisOfPartialPropagation(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{})
	second := spareProvider(t)
	const domain, host = "partial.com", "api.partial.com"
	both := "@ NS ns1.provider.org.\n@ NS ns1.spare.org."
	for _, server := range []*testnet.Server{n.Provider, second} {
		if err := n.Delegate(domain, server); err != nil {
			t.Fatal(err)
		}
		if err := server.SetZone(domain, both, "api CNAME old.provider.org."); err != nil {
			t.Fatal(err)
		}
	}
	r := p.add(t, host, true, nil)
	records := both + "\n" + r.line(t, "Traffic") + "\n" + r.line(t, "ACMEChallenge")
	if err := n.Provider.SetZone(domain, records); err != nil {
		t.Fatal(err)
	}
	for _, purpose := range []string{"Traffic", "ACMEChallenge"} {
		message := p.awaitProblem(t, host, purpose, "ServersDisagree", 20*time.Second)
		if !strings.Contains(message, "1 of 2") || !strings.Contains(message, testnet.SpareAddr) {
			t.Errorf("the message does not say who disagrees: %s", message)
		}
	}
	r, _ = p.look(t, host)
	if err := is("OwnershipVerified=False", "ACMEChallengeDelegationReady=False", "CNAMEConfigured=False")(r); err != nil {
		t.Errorf("half a change was believed: %v", err)
	}
	if got := p.ca.Orders(host); got != 0 {
		t.Errorf("%d orders reached the CA although one server has not the delegation", got)
	}
	if err := second.SetZone(domain, records); err != nil {
		t.Fatal(err)
	}
	p.await(t, host, 30*time.Second, "everything", is("Ready=True", "ACMEChallengeDelegationReady=True"))
}

// Right at the name servers, while a resolver keeps the old answer: both is said,
// and until when.
func TestDiagnosisOfStaleResolverCaches(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{})
	resolver(t, hoardingAddr, testnet.Trusting)
	p.useResolvers(t, testnet.ResolverAddr, hoardingAddr)
	d := customer(t, n, "stale")
	host := "api." + d.name
	d.set(t, "api CNAME old.provider.org.")
	r := p.add(t, host, false, nil)
	for _, qtype := range []uint16{dns.TypeCNAME, dns.TypeA, dns.TypeAAAA} {
		if _, err := testnet.Ask(hoardingAddr, host, qtype); err != nil {
			t.Fatal(err)
		}
	}
	d.set(t, r.line(t, "Traffic"))
	message := p.awaitProblem(t, host, "Traffic", "StillCached", 15*time.Second)
	for _, want := range []string{hoardingAddr, "old.provider.org.", "until about"} {
		if !strings.Contains(message, want) {
			t.Errorf("the message lacks %q: %s", want, message)
		}
	}
	r, _ = p.look(t, host)
	if err := is("CNAMEConfigured=True", "OwnershipVerified=True", "phase=Active")(r); err != nil {
		t.Errorf("a stale cache held the record back: %v", err)
	}
	if m := r.condition("CNAMEConfigured").Message; !strings.Contains(m, hoardingAddr) {
		t.Errorf("CNAMEConfigured does not speak of the cache: %s", m)
	}
	contains(t, p.describe(t, host), hoardingAddr)
}

// No name server answers: said, and nothing falls.
func TestDiagnosisOfUnreachableServers(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{detachAfter: 2 * time.Second})
	second := spareProvider(t)
	if err := n.Delegate("silent.com", second); err != nil {
		t.Fatal(err)
	}
	host := "api.silent.com"
	r := p.add(t, host, false, nil)
	if err := second.SetZone("silent.com", r.line(t, "Traffic")); err != nil {
		t.Fatal(err)
	}
	p.await(t, host, 20*time.Second, "ownership", is("OwnershipVerified=True/CNAMEConfigured"))
	if err := second.Stop(); err != nil {
		t.Fatal(err)
	}
	var last error
	eventually(t, 40*time.Second, "the diagnosis", func() error {
		r, d := p.look(t, host)
		if err := is("OwnershipVerified=True", "CNAMEConfigured=True", "phase=Active")(r); err != nil {
			last = err
			return nil
		}
		if reason, message := d.problem("Traffic"); reason != "ServersUnreachable" {
			return fmt.Errorf("the problem is %q: %s", reason, message)
		}
		return nil
	})
	if last != nil {
		t.Errorf("silence changed a condition: %v", last)
	}
}

// A zone on its parent's own name servers, where no referral tells that it begins:
// its top is an apex, where the edge's addresses are as they should be and prove an
// HTTP-only record; a name below them is none.
func TestDiagnosisOfAnApexOnItsParentsServers(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{})
	d := customer(t, n, "samehost")
	apex := "shop." + d.name
	if err := n.Provider.SetZone(apex, "@ A "+testnet.ProductAddr, "below A "+testnet.ProductAddr); err != nil {
		t.Fatal(err)
	}
	d.set(t, "shop NS ns1.provider.org.")
	p.add(t, apex, false, nil)
	p.add(t, "below."+apex, false, nil)
	p.await(t, apex, 20*time.Second, "the apex", is("CNAMEConfigured=True/AddressConfigured", "OwnershipVerified=True"))
	_, shown := p.look(t, apex)
	if reason, message := shown.problem("Traffic"); reason != "" {
		t.Errorf("the apex has the problem %s: %s", reason, message)
	}
	p.check(t, "below."+apex)
	if r, err := p.get(t.Context(), "below."+apex); err != nil || r.condition("OwnershipVerified").Status == "True" {
		t.Errorf("addresses below the apex prove an HTTP-only record: %+v, %v", r.Status.Conditions, err)
	}
}

// A resolver in place of the domain's name servers is not taken for one that does
// not know the zone, and who must act is said.
func TestDiagnosisOfAResolverAsNameServer(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{})
	d := customer(t, n, "resolverns")
	const addr = "127.0.0.186"
	zone := "sub." + d.name
	laxZone(t, addr, zone, "ns."+zone+".", func(w dns.ResponseWriter, req *dns.Msg) bool {
		m := new(dns.Msg).SetRcode(req, dns.RcodeRefused)
		m.RecursionAvailable = true
		_ = w.WriteMsg(m)
		return true
	})
	d.set(t, "sub NS ns."+zone+".", "ns.sub A "+addr)
	host := "api." + zone
	if err := call(t.Context(), http.MethodPost, recordsPath, manifest(host, true), nil); err != nil {
		t.Fatal(err)
	}
	message := p.awaitProblem(t, host, "ACMEChallenge", "ResolverAnswers", 20*time.Second)
	contains(t, message, "the customer corrects them", "the operator", "as a resolver does")
}
