package v1alpha3

import (
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/net/publicsuffix"
	"k8s.io/apimachinery/pkg/util/validation"
)

func TestNormalizeHostnameAccepts(t *testing.T) {
	for _, c := range []struct{ is, in, want string }{
		{"a subdomain", "api.example.com", "api.example.com"},
		{"an apex", "example.com", "example.com"},
		{"a deep subdomain", "a.b.c.d.example.com", "a.b.c.d.example.com"},
		{"upper case", "API.Example.COM", "api.example.com"},
		{"a final dot", "api.example.com.", "api.example.com"},
		{"U-labels", "bücher.example", "xn--bcher-kva.example"},
		{"U-labels in upper case", "BÜCHER.example", "xn--bcher-kva.example"},
		{"A-labels", "xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"an internationalized top-level domain", "пример.рф", "xn--e1afmkfd.xn--p1ai"},
		{"ideographic full stops", "例え。テスト。", "xn--r8jz45g.xn--zckzah"},
		{"full-width letters", "ａｐｉ.example.com", "api.example.com"},
		{"sharp s, which stays itself", "straße.example", "xn--strae-oqa.example"},
		{"a name below a private public suffix", "me.github.io", "me.github.io"},
		{"a top-level domain that nobody knows", "customer.test", "customer.test"},
		{"labels of digits", "1.2.example.com", "1.2.example.com"},
		{"a wildcard", "*.example.com", "*.example.com"},
		{"a wildcard with U-labels and a final dot", "*.Bücher.example.", "*.xn--bcher-kva.example"},
		{"a label of 63 octets", strings.Repeat("a", 63) + ".example.com", strings.Repeat("a", 63) + ".example.com"},
	} {
		t.Run(c.is, func(t *testing.T) {
			got, err := NormalizeHostname(c.in)
			if err != nil || got != c.want {
				t.Errorf("NormalizeHostname(%q) = %q, %v; want %q", c.in, got, err, c.want)
			}
		})
	}
}

func TestNormalizeHostnameRefuses(t *testing.T) {
	long := strings.Repeat("abcdefg.", 40) + "example.com"
	for _, c := range []struct{ is, in, says string }{
		{"nothing", "", "is empty"},
		{"spaces alone", "  ", "is empty"},
		{"the root", ".", "root of the DNS"},
		{"an IPv4 address", "192.0.2.1", "is an IP address"},
		{"an IPv4 address with a final dot", "192.0.2.1.", "is an IP address"},
		{"an IPv4 address in full-width digits", "１９２.0.2.1", "is an IP address"},
		{"an IPv6 address", "2001:db8::1", "is an IP address"},
		{"an IPv6 address in brackets", "[2001:db8::1]", "is an IP address"},
		{"what looks like an address", "1.2.3.456", "all digits"},
		{"a URL", "https://api.example.com/x", "is a URL"},
		{"a port", "api.example.com:443", "has a port"},
		{"an e-mail address", "me@example.com", "e-mail"},
		{"white space inside", "api .example.com", "white space"},
		{"an underscore", "my_api.example.com", "underscore"},
		{"a single label", "localhost", "is a single label"},
		{"an ICANN public suffix", "co.uk", "is a public suffix"},
		{"a private public suffix", "github.io", "is a public suffix"},
		{"a public suffix in upper case with a dot", "CO.UK.", "is a public suffix"},
		{"a wildcard over a public suffix", "*.co.uk", "is a wildcard over the public suffix"},
		{"a wildcard over a single label", "*.com", "is a wildcard over a single label"},
		{"two wildcard labels", "*.*.example.com", "has a *"},
		{"a wildcard in the middle", "api.*.example.com", "has a *"},
		{"a partial wildcard", "a*.example.com", "has a *"},
		{"a star alone", "*", "has a *"},
		{"an empty label", "api..example.com", "has an empty label"},
		{"a leading dot", ".example.com", "has an empty label"},
		{"a leading hyphen", "-api.example.com", "hyphen"},
		{"a trailing hyphen", "api-.example.com", "hyphen"},
		{"hyphens in third and fourth place", "ab--cd.example.com", "hyphen"},
		{"broken punycode", "xn--a.example.com", "is no valid"},
		{"a control character", "a\x00b.example.com", "is no valid"},
		{"invalid UTF-8", "a\xff.example.com", "is not UTF-8"},
		{"a label of 64 octets", strings.Repeat("a", 64) + ".example.com", "a label has at most 63"},
		{"a name of over 253 octets", long, "a hostname has at most 253"},
		{"an endless name", strings.Repeat("a", 1<<20), "a hostname has at most 253"},
		{"the name that a wildcard's record has", "example.com--wildcard", "kept for the records of wildcards"},
	} {
		t.Run(c.is, func(t *testing.T) {
			got, err := NormalizeHostname(c.in)
			if err == nil {
				t.Fatalf("NormalizeHostname(%q) = %q, want an error", c.in, got)
			}
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("the error %q does not say %q", err, c.says)
			}
			if len(err.Error()) > 600 {
				t.Errorf("the error has %d octets", len(err.Error()))
			}
		})
	}
}

func FuzzNormalizeHostname(f *testing.F) {
	for _, s := range []string{"api.example.com", "*.example.com", "Bücher.example.", "192.0.2.1", "[::1]", "co.uk", "a..b", "xn--a.b.c", "例え。テスト", "*.*", ".", "ab--cd.e.f", "example.xn--p1ai--wildcard"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		host, err := NormalizeHostname(in)
		if err != nil {
			if host != "" {
				t.Fatalf("an error beside %q", host)
			}
			return
		}
		again, err := NormalizeHostname(host)
		if err != nil || again != host {
			t.Fatalf("%q gives %q, which gives %q, %v", in, host, again, err)
		}
		base := BaseName(host)
		if _, err := netip.ParseAddr(base); err == nil {
			t.Fatalf("%q gives the address %q", in, host)
		}
		if msgs := validation.IsDNS1123Subdomain(base); len(msgs) > 0 {
			t.Fatalf("%q gives %q: %v", in, host, msgs)
		}
		if suffix, _ := publicsuffix.PublicSuffix(base); suffix == base {
			t.Fatalf("%q gives the public suffix %q", in, host)
		}
		if !IsWildcard(host) && strings.HasSuffix(host, wildcardNameSuffix) {
			t.Fatalf("%q gives %q, the name of a wildcard's record", in, host)
		}
		if len(host) > 253 {
			t.Fatalf("%q gives %d octets", in, len(host))
		}
	})
}
