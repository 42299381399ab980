package dnshosting

import (
	"net/url"
	"slices"
	"strings"
	"testing"
)

func TestRecognise(t *testing.T) {
	for _, c := range []struct {
		what    string
		servers []string
		want    string // empty: not known
	}{
		{"two of Cloudflare's, in any case, with and without the final dot", []string{"Ada.NS.cloudflare.com.", "bob.ns.cloudflare.com"}, "Cloudflare"},
		{"four of Route 53's, each in another zone", []string{"ns-1.awsdns-00.com.", "ns-512.awsdns-01.net.", "ns-1024.awsdns-02.org.", "ns-1536.awsdns-03.co.uk."}, "AWS Route 53"},
		{"Cloud DNS and Squarespace share their servers", []string{"ns-cloud-a1.googledomains.com.", "ns-cloud-a2.googledomains.com."}, "Google Cloud DNS or Squarespace"},
		{"Squarespace with NS1 beside it", []string{"dns1.p07.nsone.net.", "ns01.squarespacedns.com.", "dns2.p07.nsone.net.", "ns02.squarespacedns.com."}, "Squarespace"},
		{"NS1 alone", []string{"dns1.p01.nsone.net.", "dns2.p01.nsone.net."}, "NS1 or Netlify"},
		{"Azure's under four top-level domains", []string{"ns1-05.azure-dns.com.", "ns2-05.azure-dns.net.", "ns3-05.azure-dns.org.", "ns4-05.azure-dns.info."}, "Azure DNS"},
		{"GoDaddy", []string{"ns63.domaincontrol.com.", "ns64.domaincontrol.com."}, "GoDaddy"},
		{"Namecheap", []string{"dns1.registrar-servers.com.", "dns2.registrar-servers.com."}, "Namecheap"},
		{"IONOS", []string{"ns1045.ui-dns.de.", "ns1058.ui-dns.biz.", "ns1067.ui-dns.com.", "ns1087.ui-dns.org."}, "IONOS"},
		{"OVHcloud", []string{"dns104.ovh.net.", "ns104.ovh.net."}, "OVHcloud"},
		{"Gandi", []string{"ns-100-a.gandi.net.", "ns-22-b.gandi.net.", "ns-5-c.gandi.net."}, "Gandi"},
		{"Hetzner", []string{"helium.ns.hetzner.de.", "hydrogen.ns.hetzner.com.", "oxygen.ns.hetzner.com."}, "Hetzner"},
		{"STRATO", []string{"docks07.rzone.de.", "shades12.rzone.de."}, "STRATO"},
		{"Name.com", []string{"ns1fkl.name.com.", "ns2dgr.name.com."}, "Name.com"},

		{"none", nil, ""},
		{"two providers serve the zone", []string{"ada.ns.cloudflare.com.", "ns1.digitalocean.com."}, ""},
		{"one is unknown", []string{"ada.ns.cloudflare.com.", "ns1.customer.example."}, ""},
		{"all are unknown", []string{"ns1.customer.example.", "ns2.customer.example."}, ""},
		{"a stranger's name that ends alike", []string{"ada.ns.cloudflare.com.evil.example."}, ""},
		{"a stranger's label that ends alike", []string{"ada.ns.notcloudflare.com."}, ""},
		{"the pattern itself is no wildcard over labels", []string{"a.b.ns.cloudflare.com."}, ""},
		{"too few labels", []string{"cloudflare.com."}, ""},
		{"the root", []string{"."}, ""},
		{"an empty name", []string{""}, ""},
		{"an empty name beside one that is known", []string{"ada.ns.cloudflare.com.", ""}, ""},
		{"NS1 beside another than Squarespace", []string{"dns1.p01.nsone.net.", "ns1.digitalocean.com."}, ""},
		{"a name too long for DNS", []string{strings.Repeat("a", 300) + ".ns.cloudflare.com."}, ""},
		{"more servers than any zone has", slices.Repeat([]string{"ada.ns.cloudflare.com."}, 33), ""},
	} {
		t.Run(c.what, func(t *testing.T) {
			got, ok := Recognise(c.servers)
			if ok != (c.want != "") || got.Name != c.want {
				t.Errorf("Recognise(%q) = %q, %t; want %q", c.servers, got.Name, ok, c.want)
			}
			reversed := slices.Clone(c.servers)
			slices.Reverse(reversed)
			if again, _ := Recognise(reversed); again != got {
				t.Errorf("in the other order it is %q, not %q", again.Name, got.Name)
			}
		})
	}
}

// The table holds together: every provider is found by its own servers and by its name,
// and has words for each field.
func TestTable(t *testing.T) {
	seen := map[string]bool{}
	for _, e := range table {
		if e.Name == "" || seen[e.Name] {
			t.Errorf("name %q: empty or there twice", e.Name)
		}
		seen[e.Name] = true
		if u, err := url.Parse(e.ControlPanel); e.ControlPanel != "" && (err != nil || u.Scheme != "https" || u.Host == "") {
			t.Errorf("%s: control panel %q is no https URL", e.Name, e.ControlPanel)
		}
		p, ok := ByName(e.Name)
		if !ok || p.HostLabel == "" || p.ValueLabel == "" || p.TTLLabel == "" || p.AddButton == "" || p.Top == topEmpty {
			t.Errorf("%s: ByName = %+v, %t", e.Name, p, ok)
		}
		for _, pattern := range e.servers {
			if pattern != strings.ToLower(pattern) || strings.HasSuffix(pattern, ".") || strings.Count(pattern, ".") < 2 {
				t.Errorf("%s: pattern %q is not lower case without the final dot, of three labels or more", e.Name, pattern)
			}
			server := strings.ReplaceAll(pattern, "*", "7")
			if got, ok := Recognise([]string{server}); !ok || got.Name != e.Name {
				t.Errorf("%s: its server %s is taken for %q", e.Name, server, got.Name)
			}
		}
	}
	if _, ok := ByName("nobody"); ok {
		t.Error("ByName knows nobody")
	}
}

func TestWhatToEnter(t *testing.T) {
	cloudflare, _ := ByName("Cloudflare")
	route53, _ := ByName("AWS Route 53")
	gandi, _ := ByName("Gandi")
	for _, c := range []struct{ what, got, want string }{
		{"a relative name", cloudflare.Host("www", "www.example.com."), "www"},
		{"the zone's top", cloudflare.Host("@", "example.com."), "@"},
		{"the zone's top, where the field stays empty", route53.Host("@", "example.com."), ""},
		{"a whole name", Form{WholeName: true}.Host("www", "www.example.com."), "www.example.com"},
		{"a value without the final dot", cloudflare.Value("x.cname.example.net."), "x.cname.example.net"},
		{"a value with the final dot", gandi.Value("x.cname.example.net."), "x.cname.example.net."},
		{"a value that had none", gandi.Value("x.cname.example.net"), "x.cname.example.net."},
		{"the generic top", Generic().Host("@", "example.com."), "@"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %q, want %q", c.what, c.got, c.want)
		}
	}
	if !cloudflare.Proxies() || gandi.Proxies() {
		t.Error("Cloudflare can proxy, Gandi cannot")
	}
}
