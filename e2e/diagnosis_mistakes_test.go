package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// Each mistake that a customer can make in a zone is made there for real and
// read back in the condition, in dnsRecords and in describe.
func TestDiagnosisOfEachMistake(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{})
	d := customer(t, n, "mistakes")
	host, apex := "api."+d.name, d.name
	main, delegation := host+"."+testnet.Zone+".", "_acme-challenge."+host+"."+testnet.Zone+"."
	p.add(t, host, true, nil)
	p.add(t, apex, true, nil)

	for _, c := range []struct {
		mistake string
		records []string
		host    string // default: api
		purpose string
		reason  string
		says    string
	}{
		{"nothing yet", nil, "", "Traffic", "NotFound", "not in place since"},
		{"nothing yet for the delegation", nil, "", "ACMEChallenge", "NotFound", "CNAME " + delegation},
		{"the zone's TLD dropped", []string{"api CNAME " + strings.TrimSuffix(main, ".net.") + "."}, "", "Traffic", "TLDDropped", `"net"`},
		{"the hostname's TLD dropped", []string{"api CNAME " + strings.Replace(main, ".com.", ".", 1)}, "", "Traffic", "TLDDropped", `"com"`},
		{"a label dropped", []string{"api CNAME " + strings.Replace(main, "cname.", "", 1)}, "", "Traffic", "LabelDropped", `"cname"`},
		{"the registrar appended its zone to the target", []string{"api CNAME " + strings.TrimSuffix(main, ".")}, "", "Traffic", "ZoneAppendedToTarget", "final dot"},
		{"the registrar appended its zone to the name", []string{host + " CNAME " + main}, "", "Traffic", "ZoneAppendedToName", "types only api"},
		{"the delegation stands at the wrong name", []string{"_acme-challenge CNAME " + delegation}, "", "ACMEChallenge", "RecordAtWrongName", "moves it"},
		{"TXT in place of the CNAME", []string{`_acme-challenge.api TXT "` + delegation + `"`}, "", "ACMEChallenge", "TXTInsteadOfCNAME", "the right value, but in a TXT record"},
		{"an old challenge value", []string{`_acme-challenge.api TXT "6qRRsu2n9Q4k0xkQ8q5eB1nq2wOwbq7rS1pNf2vQm3E"`}, "", "ACMEChallenge", "TXTInsteadOfCNAME", "old challenge value"},
		{"A in place of the CNAME", []string{"api A 192.0.2.1"}, "", "Traffic", "AddressInsteadOfCNAME", "lead elsewhere"},
		{"the registrar's redirect", []string{"api A 162.255.119.17"}, "", "Traffic", "RedirectInsteadOfCNAME", "Namecheap"},
		{"the wrong zone", []string{"api CNAME " + host + ".edge.provider.org."}, "", "Traffic", "WrongZone", "edge.provider.org"},
		{"another record's target", []string{"api CNAME shop." + main}, "", "Traffic", "AnotherRecordsTarget", "shop." + host},
		{"the delegation's target", []string{"api CNAME " + delegation}, "", "Traffic", "SwappedTarget", "_acme-challenge"},
		{"misspelt", []string{"api CNAME " + strings.Replace(main, "cname", "cnane", 1)}, "", "Traffic", "Misspelt", "misspelt"},
		{"the old provider", []string{"api CNAME app.provider.org."}, "", "Traffic", "OldTarget", "app.provider.org"},
		{"a CDN's proxy", []string{"api A 104.16.132.229"}, "", "Traffic", "ProxiedByCDN", "Cloudflare"},
		{"a CDN by name", []string{"api CNAME d111111abcdef8.cloudfront.net."}, "", "Traffic", "ProxiedByCDN", "CloudFront"},
		{"a wildcard answers for the delegation", []string{"* CNAME parked.provider.org."}, "", "ACMEChallenge", "WildcardAnswers", "leaves the wildcard"},
		{"a wildcard answers for the main record", []string{"* CNAME parked.provider.org."}, "", "Traffic", "WildcardAnswers", "adds beside it"},
		{"another type", []string{"api MX 10 mail"}, "", "Traffic", "NotFound", "no record of this kind"},
		{"the apex without an address", []string{"@ MX 10 mail"}, apex, "Traffic", "NotFound", "A and AAAA records with " + testnet.ProductAddr},
		{"the apex elsewhere", []string{"@ A 192.0.2.1"}, apex, "Traffic", "ApexNeedsAddress", "ALIAS"},
		{"a stray AAAA at the apex", []string{"@ A " + testnet.ProductAddr, "@ AAAA 2001:db8::bad"}, apex, "Traffic", "StrayAddress", "2001:db8::bad"},
	} {
		t.Run(c.mistake, func(t *testing.T) {
			host := c.host
			if host == "" {
				host = "api." + d.name
			}
			d.set(t, c.records...)
			message := p.awaitProblem(t, host, c.purpose, c.reason, 10*time.Second)
			if !strings.Contains(message, c.says) {
				t.Errorf("the problem's message lacks %q: %s", c.says, message)
			}
			r, err := p.get(t.Context(), host)
			if err != nil {
				t.Fatal(err)
			}
			if want := r.line(t, c.purpose); !strings.Contains(message, want) {
				t.Errorf("the problem's message lacks the exact record %q: %s", want, message)
			}
			kind := map[string]string{"Traffic": "CNAMEConfigured", "ACMEChallenge": "ACMEChallengeDelegationReady"}[c.purpose]
			if condition := r.condition(kind); condition.Status != "False" || !strings.Contains(condition.Message, c.says) {
				t.Errorf("%s is %s with a message that lacks %q: %s", kind, condition.Status, c.says, condition.Message)
			}
			contains(t, p.describe(t, host), c.reason+":")
			if err := is("OwnershipVerified=False")(r); err != nil {
				t.Error(err)
			}
		})
	}
	if got := p.ca.Orders(host) + p.ca.Orders(apex); got != 0 {
		t.Errorf("%d orders reached the CA although nothing could be proven", got)
	}
}

// A CNAME beside other records, which NSD refuses to serve and others do not.
func TestDiagnosisOfCNAMEBesideOthers(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{})
	const server = "ns.lax-dns.com."
	home := customer(t, n, "lax-dns")
	home.set(t, "ns A "+laxAddr)
	spare := namedServer(t, impostorAddr, server)
	if err := n.Delegate("beside.com", spare); err != nil {
		t.Fatal(err)
	}
	set := laxZone(t, laxAddr, "beside.com", server)
	host := "api.beside.com"
	r := p.add(t, host, true, nil)
	set(r.line(t, "ACMEChallenge"), `_acme-challenge.api TXT "left behind"`)
	message := p.awaitProblem(t, host, "ACMEChallenge", "CNAMEBesideOthers", 15*time.Second)
	if !strings.Contains(message, "left behind") {
		t.Errorf("the message does not say what stands there: %s", message)
	}
	// What a CDN puts there for its own certificate is no record that a customer sees.
	hidden := strings.Repeat("Ab-_", 10) + "xyz"
	set(r.line(t, "ACMEChallenge"), `_acme-challenge.api TXT "`+hidden+`"`)
	p.await(t, host, 15*time.Second, "the CDN", func(r record) error {
		if m := r.condition("TLSReady").Message; !strings.Contains(m, "Universal SSL") || !strings.Contains(m, hidden) {
			return fmt.Errorf("TLSReady says %q", m)
		}
		return is("TLSReady=False/WaitingForDNS")(r)
	})
	if got := p.ca.Orders(host); got != 0 {
		t.Errorf("%d orders reached the CA, which would find somebody else's value", got)
	}
}

// CAA that forbids the CA stops the order and gives the line to add, wherever on
// the way up it stands (RFC 8659 section 3).
func TestDiagnosisOfCAA(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{})
	d := customer(t, n, "caa")
	host := "deep.api." + d.name
	r := p.add(t, host, true, nil)
	d.set(t, r.line(t, "ACMEChallenge"), `@ CAA 0 issue "other.example"`)
	r = p.await(t, host, 20*time.Second, "CAAForbidden", is("TLSReady=False/CAAForbidden", "ACMEChallengeDelegationReady=True"))
	if message := r.condition("TLSReady").Message; !strings.Contains(message, d.name+`. CAA 0 issue "`) {
		t.Errorf("the message lacks the line to add: %s", message)
	}
	if got := p.ca.Orders(host); got != 0 {
		t.Errorf("%d orders reached the CA against CAA", got)
	}
	contains(t, p.describe(t, host), "CAAForbidden", `CAA 0 issue "`)
	d.set(t, r.line(t, "ACMEChallenge"))
	p.await(t, host, 30*time.Second, "the certificate", is("TLSReady=True/CertificateIssued"))
}

// Who stays behind a CDN or a load balancer is told what that takes, and once it is
// there, that nothing is missing.
func TestDiagnosisOfFrontsOnPurpose(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{})
	d := customer(t, n, "fronted")
	cdn, balanced := "cdn."+d.name, "lb."+d.name
	delegation := p.add(t, cdn, true, nil).line(t, "ACMEChallenge")
	other := p.add(t, balanced, true, nil).line(t, "ACMEChallenge")
	addresses := []string{"cdn A 104.16.132.229", "lb A 192.0.2.1"}
	d.set(t, addresses...)
	r := p.await(t, cdn, 20*time.Second, "the CDN to be seen", is("CNAMEConfigured=False/CNAMEMismatch", "TLSReady=False/WaitingForDNS"))
	stay := "To stay behind it, the customer creates " + delegation
	for _, kind := range []string{"CNAMEConfigured", "TLSReady"} {
		contains(t, r.condition(kind).Message, "Cloudflare", stay)
	}
	d.set(t, append(addresses, delegation, other)...)
	for _, host := range []string{cdn, balanced} {
		p.check(t, host)
		r := p.await(t, host, 30*time.Second, "the certificate", is("OwnershipVerified=True", "TLSReady=True", "CNAMEConfigured=False/CNAMEMismatch", "phase=Active"))
		contains(t, r.condition("CNAMEConfigured").Message, "nothing is missing", "OwnershipVerified and TLSReady", host+". CNAME "+host+"."+testnet.Zone+".")
		contains(t, strings.Join(strings.Fields(p.describe(t, host)), " "), "nothing is missing")
	}
}
