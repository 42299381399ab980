package doctor

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/miekg/dns"
)

// FuzzSetup reads anything as the configuration of a running Caddy: what is
// taken has a zone, name servers and addresses that can be asked, and each
// authority once.
func FuzzSetup(f *testing.F) {
	f.Add([]byte(`{"zone":{"name":"Cname.example.net.","nameservers":[{"name":"ns1.example.net","addresses":["203.0.113.10"]}],"edge":["2001:db8::1","e.example"]}}`),
		[]byte(`{"policies":[{"issuers":[{"module":"apoxy"},{"module":"apoxy","ca":"https://ca.test"},{"module":"acme"}]}]}`))
	f.Add([]byte(`{"zone":{"name":"{env.ZONE}"}}`), []byte(`null`))
	f.Add([]byte(`{"zone":{"name":"."}}`), []byte(`{"policies":[null,{"issuers":[null]}]}`))
	f.Fuzz(func(t *testing.T, app, automation []byte) {
		s, err := parseSetup(app, automation)
		if err != nil {
			return
		}
		if s.Zone == "" || s.Zone != canonical(s.Zone) && !strings.HasSuffix(s.Zone, ".") || len(s.DNS) == 0 || s.HTTPPort == 0 || s.HTTPSPort == 0 {
			t.Fatalf("%+v", s)
		}
		for _, a := range s.EdgeAddresses {
			if !a.IsValid() {
				t.Fatalf("edge %v", s.EdgeAddresses)
			}
		}
		seen := map[string]bool{}
		for _, ca := range s.Authorities {
			if ca.Directory == "" || seen[ca.Directory] {
				t.Fatalf("authorities %+v", s.Authorities)
			}
			seen[ca.Directory] = true
		}
	})
}

// FuzzReplies has the doctor judge a set-up by any message as the answer to
// every question: each finding says what it is of, one that is wrong how to mend
// it, and what is printed holds no control character.
func FuzzReplies(f *testing.F) {
	m := new(dns.Msg).SetQuestion("cname.example.net.", dns.TypeSOA)
	m.Response, m.Authoritative = true, true
	for _, text := range []string{
		"cname.example.net. 60 IN SOA ns1.example.net. hostmaster.example.net. 1 2 3 4 300", "cname.example.net. 60 IN NS ns1.example.net.",
		"cname.example.net. 60 IN DS 1 13 2 00", `cname.example.net. 60 IN CAA 0 issue "ca.test; accounturi=x"`, `cname.example.net. 60 IN TXT "a\027[2J"`,
		"ns1.example.net. 60 IN A 203.0.113.10",
	} {
		rr, err := dns.NewRR(text)
		if err != nil {
			f.Fatal(err)
		}
		m.Answer = append(m.Answer, rr)
	}
	raw, err := m.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw, "ca.test")
	m.Rcode = 12 // which has no name
	if raw, err = m.Pack(); err != nil {
		f.Fatal(err)
	}
	f.Add(raw, "ca.test")
	f.Add([]byte("\x00\x00\x80\x03\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x06\x00\x01"), "")
	s := Setup{Zone: "cname.example.net", Nameservers: []Nameserver{{"ns1.example.net", []netip.Addr{netip.MustParseAddr("203.0.113.10")}}},
		EdgeAddresses: []netip.Addr{netip.MustParseAddr("203.0.113.10")}, DNS: []string{":53"}, Hostnames: []string{"api.example.com"}}
	f.Fuzz(func(t *testing.T, raw []byte, identity string) {
		msg := new(dns.Msg)
		if msg.Unpack(raw) != nil {
			return
		}
		answer := func(name string, qtype uint16) reply {
			return reply{question: dns.Question{Name: dns.Fqdn(name), Qtype: qtype, Qclass: dns.ClassINET}, at: "203.0.113.10:53", proto: "udp", msg: msg}
		}
		d := delegation{parent: "example.net", ns: []reply{answer(s.Zone, dns.TypeNS)}, ds: []reply{answer(s.Zone, dns.TypeDS)}, soa: []reply{answer("example.net", dns.TypeSOA)},
			addresses: map[string][]netip.Addr{"ns1.example.net": addressesOf(msg.Answer)}}
		var probes []probe
		for _, k := range []probeKind{probeSOA, probeVerify, probeNobody, probeRecord} {
			name, qtype := k.question(s, "api.example.com")
			probes = append(probes, probe{"ns1.example.net", k, answer(name, qtype)})
		}
		r := Report{Zone: s.Zone, Findings: slices.Concat(judgeInterception(d), judgeDelegation(s, d), judgeNames(s, d), judgeServers(s, probes), judgeResolvers(s, probes),
			judgeCAA(s, []reply{answer(s.Zone, dns.TypeCAA)}, []string{identity}))}
		for _, f := range r.Findings {
			if f.Check == "" || f.Subject == "" || f.Seen == "" || f.Level == Wrong && (f.Expected == "" || f.Mend == "") {
				t.Fatalf("%+v", f)
			}
		}
		var out bytes.Buffer
		if err := r.WriteText(&out); err != nil {
			t.Fatal(err)
		}
		if i := strings.IndexFunc(strings.ReplaceAll(out.String(), identity, ""), func(r rune) bool { return r != '\n' && unicode.IsControl(r) }); i >= 0 {
			t.Fatalf("printed: %q", out.String())
		}
	})
}
