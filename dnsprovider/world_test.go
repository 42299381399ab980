package dnsprovider

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// records are Names in a map: the table of hostnames as small as it gets.
type records map[string]Name

func (r records) Lookup(hostname []byte) (Name, bool) {
	n, ok := r[string(hostname)]
	return n, ok
}

func (r records) Whole() bool { return true }

func (r records) HasBelow(name []byte) bool {
	for host := range r {
		if strings.HasSuffix(host, "."+string(name)) {
			return true
		}
	}
	return false
}

const testZone = "cname.example.net"

func testConfig() Config {
	return Config{
		Name: "CNAME.Example.net.",
		Nameservers: []Nameserver{
			{Name: "ns1.example.net", Addrs: []netip.Addr{netip.MustParseAddr("203.0.113.10")}},
			{Name: "ns2.dns.cname.example.net", Addrs: []netip.Addr{netip.MustParseAddr("203.0.113.11"), netip.MustParseAddr("2001:db8::11")}},
		},
		EdgeAddrs:  []netip.Addr{netip.MustParseAddr("203.0.113.10"), netip.MustParseAddr("2001:db8::10")},
		Hostmaster: "host.master@example.net",
		CAA:        []string{`0 issue "letsencrypt.org"`, `0 iodef "mailto:ca@example.net"`},
		Serial:     func() uint32 { return 77 },
	}
}

func testRecords() records {
	return records{
		"api.example.com":          {TTL: 300, TLS: true},
		"plain.example.com":        {TTL: 60},
		"a.b.c.deep.example.org":   {TTL: 5, TLS: true},
		"*.wild.example.com":       {TTL: 120, TLS: true},
		"fresh.example.com":        {TTL: 300, TLS: true, Unsettled: true},
		"both.example.org":         {TTL: 300, Unsettled: true},
		"*.both.example.org":       {TTL: 300, TLS: true, Unsettled: true},
		"*.open.example.org":       {TTL: 300},
		"shop.customer.test":       {TTL: 300, TLS: true},
		"xn--bcher-kva.example.de": {TTL: 300},
	}
}

func mustZone(t testing.TB, c Config, names Names, sets *RRSets) *Zone {
	t.Helper()
	z, err := NewZone(c, names, sets)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func mustAuthority(t testing.TB, sources ...Source) *Authority {
	t.Helper()
	a, err := NewAuthority(sources...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// question packs a query; edit changes it first.
func question(t testing.TB, name string, qtype uint16, edit ...func(*dns.Msg)) []byte {
	t.Helper()
	m := new(dns.Msg)
	m.Id = 4711
	m.RecursionDesired = true
	m.Question = []dns.Question{{Name: dns.Fqdn(name), Qtype: qtype, Qclass: dns.ClassINET}}
	for _, e := range edit {
		e(m)
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// ask answers a query from a and unpacks what comes.
func ask(t testing.TB, a *Authority, req []byte, tcp bool) *dns.Msg {
	t.Helper()
	out := a.Answer(req, make([]byte, 0, maxPayload), tcp)
	if out == nil {
		return nil
	}
	m := new(dns.Msg)
	if err := m.Unpack(out); err != nil {
		t.Fatalf("answer does not unpack: %v\n%x", err, out)
	}
	return m
}

// show puts an answer into a few comparable lines.
func show(m *dns.Msg) string {
	if m == nil {
		return "silence"
	}
	var b bytes.Buffer
	b.WriteString(dns.RcodeToString[m.Rcode])
	if m.Rcode == dns.RcodeBadVers {
		b.Reset()
		b.WriteString("BADVERS")
	}
	if m.Authoritative {
		b.WriteString(" aa")
	}
	if m.Truncated {
		b.WriteString(" tc")
	}
	for _, section := range []struct {
		name string
		rrs  []dns.RR
	}{{"", m.Answer}, {"auth ", m.Ns}, {"add ", m.Extra}} {
		for _, rr := range section.rrs {
			if rr.Header().Rrtype == dns.TypeOPT {
				continue
			}
			b.WriteString("\n" + section.name + strings.ReplaceAll(rr.String(), "\t", " "))
		}
	}
	return b.String()
}

// eventually waits for a condition that another goroutine brings about.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("never: %s", what)
		case <-tick.C:
		}
	}
}
