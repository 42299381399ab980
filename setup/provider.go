package setup

import (
	"net/url"
	"strings"

	"golang.org/x/net/publicsuffix"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/dnshosting"
)

// provider is what is known of the customer's DNS provider.
type provider struct {
	dnshosting.Form
	// name is empty where it is not known, and the form's words are generic then.
	name string
	// panel is the https URL where records are changed; empty: not known.
	panel string
}

// providerOf is the one that the status names. Its words are those of our own table,
// and so is the link: who writes to a status leads no customer anywhere.
func providerOf(r *v1alpha3.DomainRecord) provider {
	if r.Status.DNSProvider != nil {
		if p, ok := dnshosting.ByName(r.Status.DNSProvider.Name); ok {
			return provider{Form: p.Form, name: p.Name, panel: p.ControlPanel}
		}
	}
	return provider{Form: dnshosting.Generic()}
}

// place is where a record stands: its zone, without the final dot, and its name relative
// to that, "@" at the top. Before the zone was seen it is taken to be what was bought.
func place(d v1alpha3.DNSRecord) (zone, host string) {
	name := strings.TrimSuffix(d.Name, ".")
	if zone = strings.TrimSuffix(d.Zone, "."); zone != "" {
		if host = relative(name, zone); host != name {
			return zone, host
		}
	}
	bare := name
	for strings.HasPrefix(bare, "_") || strings.HasPrefix(bare, "*.") {
		_, bare, _ = strings.Cut(bare, ".")
	}
	zone, err := publicsuffix.EffectiveTLDPlusOne(bare)
	if err != nil {
		return "", name
	}
	return zone, relative(name, zone)
}

// connectURL is where the provider sets everything up itself; empty: it does not, or
// nobody knows that it does.
func connectURL(r *v1alpha3.DomainRecord) string {
	if r.Status.DomainConnect == nil {
		return ""
	}
	u, err := url.Parse(r.Status.DomainConnect.URL)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || len(r.Status.DomainConnect.URL) > maxConnectURL {
		return ""
	}
	return u.String()
}

// maxConnectURL bounds a link to a provider, in octets.
const maxConnectURL = 8 << 10

// relative is a name relative to a zone as forms want it, "@" at its top.
func relative(name, zone string) string {
	name, zone = strings.TrimSuffix(name, "."), strings.TrimSuffix(zone, ".")
	if strings.EqualFold(name, zone) {
		return "@"
	}
	if n := len(name) - len(zone) - 1; zone != "" && n > 0 && name[n] == '.' && strings.EqualFold(name[n+1:], zone) {
		return name[:n]
	}
	return name
}
