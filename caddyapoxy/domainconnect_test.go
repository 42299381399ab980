package caddyapoxy

import (
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/domainconnect"
)

// The key is published while the option is there, and is the same after a reload and a
// restart.
func TestTheKeyOfDomainConnectIsPublished(t *testing.T) {
	w := newWorld(t)
	published := func() []string {
		m := new(dns.Msg)
		m.SetQuestion(domainconnect.KeyLabel+"."+w.zone+".", dns.TypeTXT)
		in, _, err := (&dns.Client{Net: "tcp"}).Exchange(m, w.dns)
		if err != nil {
			return nil // it is not served yet
		}
		var texts []string
		for _, rr := range in.Answer {
			texts = append(texts, strings.Join(rr.(*dns.TXT).Txt, ""))
		}
		return texts
	}
	without := w.caddyfile()
	with := strings.Replace(without, "\t\tstore bolt", "\t\tdomain_connect {\n\t\t\tprovider_id example.net\n\t\t\tservice_id custom-domain\n\t\t}\n\t\tstore bolt", 1)
	if err := load(t, with); err != nil {
		t.Fatal(err)
	}
	until(t, "the public key in the zone", func() bool { return len(published()) == 2 })
	first := published()
	if err := load(t, without); err != nil {
		t.Fatal(err)
	}
	until(t, "a zone without it", func() bool { return len(published()) == 0 })
	if err := load(t, with); err != nil {
		t.Fatal(err)
	}
	until(t, "the same key after a reload", func() bool { return slices.Equal(published(), first) })
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := load(t, with); err != nil {
		t.Fatal(err)
	}
	until(t, "the same key after a restart", func() bool { return slices.Equal(published(), first) })
}
