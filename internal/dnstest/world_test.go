package dnstest

import (
	"fmt"
	"net"
	"slices"
	"testing"

	"github.com/miekg/dns"
)

func exchange(t *testing.T, w *World, addr string, name string, qtype uint16) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(name), qtype)
	m.SetEdns0(1232, false)
	in, _, err := new(dns.Client).Exchange(m, net.JoinHostPort(addr, fmt.Sprint(w.Port())))
	if err != nil {
		t.Fatalf("asking %s for %s: %v", addr, name, err)
	}
	return in
}

func answers(m *dns.Msg) []string {
	var out []string
	for _, rr := range m.Answer {
		out = append(out, dns.TypeToString[rr.Header().Rrtype])
	}
	return out
}

func TestWorld(t *testing.T) {
	w := New(t)
	ns1, ns2 := w.Server("ns1.provider.test"), w.Server("ns2.provider.test")
	z := w.Zone("example.com", ns1, ns2)
	z.Set("api IN CNAME target.example.org.", "@ IN A 192.0.2.1", "*.wild IN CNAME api")
	own := w.Server("ns1.example.org")
	w.Zone("example.org", own).Set("target IN A 192.0.2.2", "a.b IN A 192.0.2.3")

	for _, c := range []struct {
		what, name string
		qtype      uint16
		rcode      int
		answer     []string
	}{
		{"an address at the apex", "example.com", dns.TypeA, dns.RcodeSuccess, []string{"A"}},
		{"a chain over two zones", "api.example.com", dns.TypeA, dns.RcodeSuccess, []string{"CNAME", "A"}},
		{"a wildcard", "x.wild.example.com", dns.TypeA, dns.RcodeSuccess, []string{"CNAME", "CNAME", "A"}},
		{"the name servers of a zone", "example.com", dns.TypeNS, dns.RcodeSuccess, []string{"NS", "NS"}},
		{"an empty non-terminal", "b.example.org", dns.TypeA, dns.RcodeSuccess, nil},
		{"a name that does not exist", "no.example.org", dns.TypeA, dns.RcodeNameError, nil},
		{"a domain that is not registered", "nowhere.com", dns.TypeNS, dns.RcodeNameError, nil},
		{"the address of a name server", "ns2.provider.test", dns.TypeA, dns.RcodeSuccess, []string{"A"}},
	} {
		t.Run(c.what, func(t *testing.T) {
			m := exchange(t, w, "127.0.0.1", c.name, c.qtype)
			if m.Rcode != c.rcode || !slices.Equal(answers(m), c.answer) {
				t.Errorf("rcode %d, answers %v; want %d, %v\n%v", m.Rcode, answers(m), c.rcode, c.answer, m)
			}
		})
	}

	t.Run("a fork makes one server differ", func(t *testing.T) {
		ns2.Fork(z).Remove("api")
		if m := exchange(t, w, ns1.Addr.String(), "api.example.com", dns.TypeCNAME); len(m.Answer) != 1 {
			t.Errorf("ns1 lost the record: %v", m)
		}
		if m := exchange(t, w, ns2.Addr.String(), "api.example.com", dns.TypeCNAME); m.Rcode != dns.RcodeNameError {
			t.Errorf("ns2 kept the record: %v", m)
		}
	})
	t.Run("a bogus zone fails unless checking is disabled", func(t *testing.T) {
		z.SetBogus(true)
		defer z.SetBogus(false)
		if m := exchange(t, w, "127.0.0.1", "example.com", dns.TypeA); m.Rcode != dns.RcodeServerFailure {
			t.Errorf("a bogus zone answers: %v", m)
		}
	})
	t.Run("silent servers make the resolver fail", func(t *testing.T) {
		ns1.Behave(Silent)
		ns2.Behave(Fail(dns.RcodeRefused))
		if m := exchange(t, w, "127.0.0.1", "example.com", dns.TypeA); m.Rcode != dns.RcodeServerFailure {
			t.Errorf("dead servers answer: %v", m)
		}
	})
	t.Run("the parent refers", func(t *testing.T) {
		m := exchange(t, w, w.infra.Addr.String(), "x.example.com", dns.TypeA)
		if m.Authoritative || len(m.Ns) != 2 {
			t.Errorf("no referral: %v", m)
		}
	})
}
