package ownership

import (
	"net/netip"
	"strings"
	"sync"
)

// networks are published address ranges of those that answer in place of a customer's
// record. They serve only to word a diagnosis; nothing is allowed or refused by
// them, so an outdated range costs a less exact sentence.
var networks = []struct{ name, ranges string }{
	// https://www.cloudflare.com/ips/
	{"Cloudflare", `173.245.48.0/20 103.21.244.0/22 103.22.200.0/22 103.31.4.0/22 141.101.64.0/18
		108.162.192.0/18 190.93.240.0/20 188.114.96.0/20 197.234.240.0/22 198.41.128.0/17
		162.158.0.0/15 104.16.0.0/13 104.24.0.0/14 172.64.0.0/13 131.0.72.0/22
		2400:cb00::/32 2606:4700::/32 2803:f800::/32 2405:b500::/32 2405:8100::/32
		2a06:98c0::/29 2c0f:f248::/32`},
	// https://api.fastly.com/public-ip-list
	{"Fastly", `23.235.32.0/20 43.249.72.0/22 103.244.50.0/24 103.245.222.0/23 103.245.224.0/24
		104.156.80.0/20 140.248.64.0/18 140.248.128.0/17 146.75.0.0/17 151.101.0.0/16
		157.52.64.0/18 167.82.0.0/17 167.82.128.0/20 167.82.160.0/20 167.82.224.0/20
		172.111.64.0/18 185.31.16.0/22 199.27.72.0/21 199.232.0.0/16
		2a04:4e40::/32 2a04:4e42::/32`},
	// https://ip-ranges.amazonaws.com/ip-ranges.json, service CLOUDFRONT: the large ones
	{"CloudFront", `13.32.0.0/15 13.35.0.0/16 13.224.0.0/14 13.249.0.0/16 18.64.0.0/14 18.154.0.0/15
		18.160.0.0/15 18.164.0.0/15 18.172.0.0/15 18.238.0.0/15 18.244.0.0/15 52.84.0.0/15
		52.222.128.0/17 54.182.0.0/16 54.192.0.0/16 54.230.0.0/17 54.239.128.0/18 54.240.128.0/18
		64.252.64.0/18 65.8.0.0/16 65.9.0.0/17 70.132.0.0/18 71.152.0.0/17 99.84.0.0/16
		99.86.0.0/16 108.138.0.0/15 108.156.0.0/14 130.176.0.0/17 143.204.0.0/16 144.220.0.0/16
		204.246.164.0/22 216.137.32.0/19 3.160.0.0/14 2600:9000::/28`},
}

// redirectors are the addresses to which registrars send names with their web redirect.
var redirectors = []struct{ name, ranges string }{
	{"GoDaddy", "3.33.130.190/32 15.197.148.33/32 50.63.202.0/24 184.168.131.0/24"},
	{"Namecheap", "162.255.119.0/24"},
}

// cdnSuffixes are those of the names that CDNs give their customers to point at.
var cdnSuffixes = []struct{ suffix, name string }{
	{".cdn.cloudflare.net.", "Cloudflare"},
	{".cloudfront.net.", "CloudFront"},
	{".fastly.net.", "Fastly"},
	{".fastlylb.net.", "Fastly"},
	{".edgekey.net.", "Akamai"},
	{".edgesuite.net.", "Akamai"},
	{".akamaiedge.net.", "Akamai"},
	{".azurefd.net.", "Azure Front Door"},
	{".azureedge.net.", "Azure CDN"},
	{".b-cdn.net.", "bunny.net"},
	{".incapdns.net.", "Imperva"},
}

// cdnOfName names the CDN that a chain leads to, "" if none is known.
func cdnOfName(chain []string) string {
	for _, c := range chain {
		for _, s := range cdnSuffixes {
			if strings.HasSuffix(absolute(c), s.suffix) {
				return s.name
			}
		}
	}
	return ""
}

type namedPrefix struct {
	prefix netip.Prefix
	name   string
}

var (
	cdnPrefixes        = sync.OnceValue(func() []namedPrefix { return parse(networks) })
	redirectorPrefixes = sync.OnceValue(func() []namedPrefix { return parse(redirectors) })
)

func parse(of []struct{ name, ranges string }) []namedPrefix {
	var out []namedPrefix
	for _, n := range of {
		for _, r := range strings.Fields(n.ranges) {
			out = append(out, namedPrefix{netip.MustParsePrefix(r), n.name})
		}
	}
	return out
}

// cdnOfAddresses names the CDN that every address belongs to, "" otherwise.
func cdnOfAddresses(addrs []netip.Addr) string { return ownerOf(addrs, cdnPrefixes()) }

// redirector names the registrar whose web redirect every address is.
func redirector(addrs []netip.Addr) string { return ownerOf(addrs, redirectorPrefixes()) }

func ownerOf(addrs []netip.Addr, prefixes []namedPrefix) string {
	name := ""
	for _, a := range addrs {
		found := ""
		for _, p := range prefixes {
			if p.prefix.Contains(a.Unmap()) {
				found = p.name
				break
			}
		}
		if found == "" || name != "" && found != name {
			return ""
		}
		name = found
	}
	return name
}
