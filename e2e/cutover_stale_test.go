package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// A CA that asks a resolver which still holds what was there before the cutover, or
// that there was no challenge, is asked once that has passed: not one validation
// fails for what could be known.
func TestOrdersWaitForWhatResolversStillHold(t *testing.T) {
	n := network(t)
	resolver(t, hoardingAddr, testnet.Trusting)
	ca, err := testnet.StartCABehind(hoardingAddr, "127.0.0.66", 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, n, settings{ca: ca})
	p.useResolvers(t, testnet.ResolverAddr, hoardingAddr)
	d := customer(t, n, "held")
	cutover, later, early := "www."+d.name, "later."+d.name, "early."+d.name
	hoard := func(name string, qtype uint16) time.Time {
		t.Helper()
		answer, err := testnet.Ask(hoardingAddr, name, qtype)
		if err != nil {
			t.Fatal(err)
		}
		ttl := uint32(0)
		for _, rr := range append(answer.Answer, answer.Ns...) {
			ttl = max(ttl, rr.Header().Ttl)
		}
		return time.Now().Add(time.Duration(ttl) * time.Second)
	}
	// delegation is what the customer of a hostname creates, known before its record.
	delegation := func(host string) string {
		return fmt.Sprintf("_acme-challenge.%s. CNAME _acme-challenge.%s.%s.", host, host, testnet.Zone)
	}

	old := []string{"www 15 A " + testnet.ForeignAddr, delegation(later), delegation(early)}
	d.set(t, old...)
	r := p.create(t, cutover, true)
	p.create(t, later, false)
	held := hoard(cutover, dns.TypeA)
	d.set(t, append(old[1:], r.line(t, "Traffic"))...)
	r = p.await(t, cutover, 10*time.Second, "the wait", is("TLSReady=False/WaitingForDNS", "CNAMEConfigured=True", "phase=Issuing"))
	for _, want := range []string{hoardingAddr, "still holds an old answer", "Nobody needs to do anything"} {
		if m := r.condition("TLSReady").Message; !strings.Contains(m, want) {
			t.Errorf("TLSReady lacks %q: %s", want, m)
		}
	}
	// Meanwhile TLS is turned on later, and a record is created after its delegation.
	for _, host := range []string{later, early} {
		hoard("_acme-challenge."+host, dns.TypeTXT)
	}
	p.create(t, early, true)
	if _, err := p.kubectl(t.Context(), "", "patch", "domainrecord", later, "--type=merge", "-p", `{"spec":{"tls":{}}}`); err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{later, early, cutover} {
		p.await(t, host, 30*time.Second, "the certificate", is("TLSReady=True/CertificateIssued"))
		if got := ca.Orders(host); got != 1 {
			t.Errorf("%d orders for %s reached the CA for one certificate", got, host)
		}
	}
	if early := time.Until(held); early > 0 {
		t.Errorf("the certificate came %v before the resolver had forgotten", early)
	}
	if log := string(p.proc.Log()); strings.Contains(log, "no certificate was obtained") {
		t.Errorf("a try failed:\n%s", log)
	}
}
