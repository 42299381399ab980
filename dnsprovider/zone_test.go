package dnsprovider

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

const negativeSOA = "\nauth cname.example.net. 300 IN SOA ns1.example.net. host\\.master.example.net. 77 3600 600 604800 300"

// absentSOA is negativeSOA at challenge names: the smaller of TTL and MINIMUM counts.
const absentSOA = "\nauth cname.example.net. 2 IN SOA ns1.example.net. host\\.master.example.net. 77 3600 600 604800 300"

func TestZoneAnswers(t *testing.T) {
	a := mustAuthority(t, mustZone(t, testConfig(), testRecords(), nil))
	const z = "." + testZone
	for _, tc := range []struct {
		name  string
		owner string
		qtype uint16
		want  string
	}{
		{"a record answers the edge's IPv4", "api.example.com" + z, dns.TypeA,
			"NOERROR aa\napi.example.com.cname.example.net. 300 IN A 203.0.113.10"},
		{"a record answers the edge's IPv6 with its own TTL", "plain.example.com" + z, dns.TypeAAAA,
			"NOERROR aa\nplain.example.com.cname.example.net. 60 IN AAAA 2001:db8::10"},
		{"the question's case is echoed", "Api.eXample.COM.cName.Example.net", dns.TypeA,
			"NOERROR aa\nApi.eXample.COM.cName.Example.net. 300 IN A 203.0.113.10"},
		{"a record answers the configured CAA", "api.example.com" + z, dns.TypeCAA,
			"NOERROR aa\napi.example.com.cname.example.net. 300 IN CAA 0 issue \"letsencrypt.org\"" +
				"\napi.example.com.cname.example.net. 300 IN CAA 0 iodef \"mailto:ca@example.net\""},
		{"another type at a record is NODATA", "api.example.com" + z, dns.TypeMX, "NOERROR aa" + negativeSOA},
		{"ANY at a record is RFC 8482's HINFO", "api.example.com" + z, dns.TypeANY,
			"NOERROR aa\napi.example.com.cname.example.net. 3600 IN HINFO \"RFC8482\" \"\""},
		{"a challenge name with tls and no value is NODATA", "_acme-challenge.api.example.com" + z, dns.TypeTXT, "NOERROR aa" + absentSOA},
		{"a challenge name without tls does not exist", "_acme-challenge.plain.example.com" + z, dns.TypeTXT, "NXDOMAIN aa" + absentSOA},
		{"a challenge name without a record does not exist", "_acme-challenge.none.example.com" + z, dns.TypeTXT, "NXDOMAIN aa" + absentSOA},
		{"below a challenge name there is nothing", "x._acme-challenge.api.example.com" + z, dns.TypeTXT, "NXDOMAIN aa" + negativeSOA},
		{"below a record there is nothing", "www.api.example.com" + z, dns.TypeA, "NXDOMAIN aa" + negativeSOA},
		{"a wildcard record answers at _wildcard", "_wildcard.wild.example.com" + z, dns.TypeA,
			"NOERROR aa\n_wildcard.wild.example.com.cname.example.net. 120 IN A 203.0.113.10"},
		{"a wildcard record's challenge name is its base's", "_acme-challenge.wild.example.com" + z, dns.TypeTXT, "NOERROR aa" + absentSOA},
		{"a wildcard record has no other challenge name", "_acme-challenge._wildcard.wild.example.com" + z, dns.TypeTXT, "NXDOMAIN aa" + absentSOA},
		{"a wildcard record's tls gives its base a challenge name", "_acme-challenge.both.example.org" + z, dns.TypeTXT, "NOERROR aa" + absentSOA},
		{"a wildcard record without tls has no challenge name", "_acme-challenge.open.example.org" + z, dns.TypeTXT, "NXDOMAIN aa" + absentSOA},
		{"above a wildcard record's challenge name is an empty non-terminal", "open.example.org" + z, dns.TypeTXT, "NOERROR aa" + negativeSOA},
		{"a wildcard record does not answer at the asterisk", "*.wild.example.com" + z, dns.TypeA, "NXDOMAIN aa" + negativeSOA},
		{"a wildcard record answers for no other name", "www.wild.example.com" + z, dns.TypeA, "NXDOMAIN aa" + negativeSOA},
		{"above a wildcard record is an empty non-terminal", "wild.example.com" + z, dns.TypeA, "NOERROR aa" + negativeSOA},
		{"above a record is an empty non-terminal", "c.deep.example.org" + z, dns.TypeA, "NOERROR aa" + negativeSOA},
		{"a top-level label is an empty non-terminal", "com" + z, dns.TypeNS, "NOERROR aa" + negativeSOA},
		{"ANY at an empty non-terminal is NODATA", "com" + z, dns.TypeANY, "NOERROR aa" + negativeSOA},
		{"part of a label is no suffix", "ample.com" + z, dns.TypeA, "NXDOMAIN aa" + negativeSOA},
		{"another name does not exist", "nowhere.example.info" + z, dns.TypeA, "NXDOMAIN aa" + negativeSOA},
		{"a dot inside a label matches nothing", `api\.example.com` + z, dns.TypeA, "NXDOMAIN aa" + negativeSOA},
		{"a zero octet in a label matches nothing", `a\000pi.example.com` + z, dns.TypeA, "NXDOMAIN aa" + negativeSOA},
		{"_apoxy-verify exists", "_apoxy-verify" + z, dns.TypeTXT,
			"NOERROR aa\n_apoxy-verify.cname.example.net. 300 IN TXT \"domain ownership verification\""},
		{"_apoxy-verify has no address", "_apoxy-verify" + z, dns.TypeA, "NOERROR aa" + negativeSOA},
		{"a token below _apoxy-verify exists", "0123456789abcdef._apoxy-verify" + z, dns.TypeTXT,
			"NOERROR aa\n0123456789abcdef._apoxy-verify.cname.example.net. 300 IN TXT \"domain ownership verification\""},
		{"two labels below _apoxy-verify do not exist", "a.b._apoxy-verify" + z, dns.TypeTXT, "NXDOMAIN aa" + negativeSOA},
		{"the zone has its SOA", testZone, dns.TypeSOA,
			"NOERROR aa\ncname.example.net. 3600 IN SOA ns1.example.net. host\\.master.example.net. 77 3600 600 604800 300"},
		{"the zone has its NS, with the addresses inside it", testZone, dns.TypeNS,
			"NOERROR aa\ncname.example.net. 3600 IN NS ns1.example.net.\ncname.example.net. 3600 IN NS ns2.dns.cname.example.net." +
				"\nadd ns2.dns.cname.example.net. 3600 IN A 203.0.113.11\nadd ns2.dns.cname.example.net. 3600 IN AAAA 2001:db8::11"},
		{"the zone has its CAA", testZone, dns.TypeCAA,
			"NOERROR aa\ncname.example.net. 300 IN CAA 0 issue \"letsencrypt.org\"\ncname.example.net. 300 IN CAA 0 iodef \"mailto:ca@example.net\""},
		{"the zone has no address", testZone, dns.TypeA, "NOERROR aa" + negativeSOA},
		{"a name server inside the zone has its address", "ns2.dns" + z, dns.TypeA,
			"NOERROR aa\nns2.dns.cname.example.net. 3600 IN A 203.0.113.11"},
		{"above a name server is an empty non-terminal", "dns" + z, dns.TypeA, "NOERROR aa" + negativeSOA},
		{"outside the zone is refused", "example.net", dns.TypeA, "REFUSED"},
		{"the root is refused", ".", dns.TypeNS, "REFUSED"},
		{"a name that only ends alike is refused", "xcname.example.net", dns.TypeA, "REFUSED"},
		{"AXFR is refused", testZone, dns.TypeAXFR, "REFUSED"},
		{"IXFR is refused", testZone, dns.TypeIXFR, "REFUSED"},
		{"MAILB is not implemented", testZone, dns.TypeMAILB, "NOTIMP"},
		{"a question for OPT is malformed", testZone, dns.TypeOPT, "FORMERR"},
		{"DS at the zone without its parent is NODATA", testZone, dns.TypeDS, "NOERROR aa" + negativeSOA},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, tcp := range []bool{false, true} {
				got := ask(t, a, question(t, tc.owner, tc.qtype), tcp)
				if diff := cmp.Diff(tc.want, show(got)); diff != "" {
					t.Errorf("tcp %v: %s", tcp, diff)
				}
				if got.Id != 4711 || !got.Response || !got.RecursionDesired || got.RecursionAvailable {
					t.Errorf("header: %v", got.MsgHdr)
				}
				if len(got.Question) != 1 || got.Question[0].Name != dns.Fqdn(tc.owner) {
					t.Errorf("question: %v", got.Question)
				}
			}
		})
	}
}

func TestEdgeHost(t *testing.T) {
	c := testConfig()
	c.EdgeAddrs, c.EdgeHost = nil, "Edge.example.net."
	a := mustAuthority(t, mustZone(t, c, testRecords(), nil))
	const owner = "api.example.com.cname.example.net"
	for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeCNAME, dns.TypeCAA, dns.TypeMX} {
		want := "NOERROR aa\napi.example.com.cname.example.net. 300 IN CNAME edge.example.net."
		if diff := cmp.Diff(want, show(ask(t, a, question(t, owner, qtype), false))); diff != "" {
			t.Errorf("%s: %s", dns.TypeToString[qtype], diff)
		}
	}
	if got := show(ask(t, a, question(t, owner, dns.TypeANY), false)); !strings.Contains(got, "HINFO") {
		t.Errorf("ANY: %s", got)
	}
}

func TestHints(t *testing.T) {
	var seen []string
	c := testConfig()
	c.OnQuery = func(hostname []byte, _ bool) { seen = append(seen, string(hostname)) }
	a := mustAuthority(t, mustZone(t, c, testRecords(), nil))
	for _, owner := range []string{"api.example.com", "fresh.example.com", "_acme-challenge.fresh.example.com", "none.example.com",
		"_acme-challenge.both.example.org", "_wildcard.both.example.org"} {
		ask(t, a, question(t, owner+"."+testZone, dns.TypeA), false)
	}
	if diff := cmp.Diff([]string{"fresh.example.com", "fresh.example.com", "both.example.org", "*.both.example.org", "*.both.example.org"}, seen); diff != "" {
		t.Error(diff)
	}
}

func TestZoneConfigErrors(t *testing.T) {
	inside := []Nameserver{{Name: "ns1.cname.example.net"}}
	for _, tc := range []struct {
		name string
		edit func(*Config)
		want string
	}{
		{"a bad name", func(c *Config) { c.Name = "a b" }, "no hostname"},
		{"no name server", func(c *Config) { c.Nameservers = nil }, "nameserver: missing"},
		{"a name server inside without addresses", func(c *Config) { c.Nameservers = inside }, "nameserver: ns1.cname.example.net lies inside"},
		{"the zone as name server", func(c *Config) { c.Nameservers[0].Name = testZone }, "nameserver: cname.example.net is the zone itself"},
		{"a name server twice", func(c *Config) { c.Nameservers[1].Name = "NS1.example.net." }, "nameserver: ns1.example.net is given twice"},
		{"no edge", func(c *Config) { c.EdgeAddrs = nil }, "edge: missing"},
		{"two kinds of edge", func(c *Config) { c.EdgeHost = "edge.example.net" }, "edge: give addresses or one hostname"},
		{"an edge nobody reaches", func(c *Config) { c.EdgeAddrs[0] = netip.IPv4Unspecified() }, "edge: 0.0.0.0"},
		{"an edge address twice", func(c *Config) { c.EdgeAddrs[1] = c.EdgeAddrs[0] }, "edge: 203.0.113.10 is given twice"},
		{"the zone as edge", func(c *Config) { c.EdgeAddrs, c.EdgeHost = nil, testZone }, "edge: cname.example.net is the zone itself"},
		{"no mailbox", func(c *Config) { c.Hostmaster = "hostmaster" }, "hostmaster: \"hostmaster\" is no mailbox"},
		{"a long negative TTL", func(c *Config) { c.NegativeTTL = 48 * time.Hour }, "negative_ttl: 48h"},
		{"a fraction of a second", func(c *Config) { c.NegativeTTL = 1500 * time.Millisecond }, "negative_ttl: 1.5s"},
		{"a CAA tag that is none", func(c *Config) { c.CAA = []string{`0 is-sue "letsencrypt.org"`} }, "caa: \"0 is-sue"},
		{"a bad CAA", func(c *Config) { c.CAA = []string{"letsencrypt.org"} }, "caa: \"letsencrypt.org\""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := testConfig()
			tc.edit(&c)
			_, err := NewZone(c, testRecords(), nil)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q in it", err, tc.want)
			}
		})
	}
}

func TestARecordAboveANameServerIsAnswered(t *testing.T) {
	c := testConfig()
	c.Nameservers[1].Name = "ns2.api.example.com." + testZone
	a := mustAuthority(t, mustZone(t, c, testRecords(), nil))
	for name, want := range map[string]int{"ns2.api.example.com": 1, "api.example.com": 1, "example.com": 0} {
		m := ask(t, a, question(t, name+"."+testZone, dns.TypeA), false)
		if m.Rcode != dns.RcodeSuccess || len(m.Answer) != want {
			t.Errorf("%s: %s with %d answers, want NOERROR with %d", name, dns.RcodeToString[m.Rcode], len(m.Answer), want)
		}
	}
}

func TestTwoZonesOfOneName(t *testing.T) {
	z := mustZone(t, testConfig(), testRecords(), nil)
	if _, err := NewAuthority(z, z); err == nil || !strings.Contains(err.Error(), "cname.example.net is configured twice") {
		t.Errorf("error %v", err)
	}
}

// partly is records that are not all known yet.
type partly struct{ records }

func (partly) Whole() bool { return false }

func TestNoNameIsDeniedBeforeAllRecordsAreKnown(t *testing.T) {
	a := mustAuthority(t, mustZone(t, testConfig(), partly{testRecords()}, nil))
	whole := mustAuthority(t, mustZone(t, testConfig(), testRecords(), nil))
	for name := range testRecords() {
		q := question(t, name+"."+strings.TrimSuffix(testConfig().Name, "."), dns.TypeA)
		if got, want := show(ask(t, a, q, false)), show(ask(t, whole, q, false)); got != want {
			t.Errorf("%s:\n%s\nand when all are known\n%s", name, got, want)
		}
	}
	for _, name := range []string{"nobody.example.org", "_acme-challenge.nobody.example.org"} {
		if m := ask(t, a, question(t, name+"."+strings.TrimSuffix(testConfig().Name, "."), dns.TypeA), false); m.Rcode != dns.RcodeServerFailure {
			t.Errorf("%s is answered with %s", name, show(m))
		}
	}
}
