package dnsprovider

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/libdns/libdns"
	"github.com/miekg/dns"
)

func newProvider(t *testing.T) (*Provider, *Authority) {
	t.Helper()
	names := testRecords()
	names["wild.example.com"] = Name{TLS: true}
	names["example.com"] = Name{TLS: true}
	z := mustZone(t, testConfig(), names, runSets(t, openStore(t)))
	p, err := NewProvider(z)
	if err != nil {
		t.Fatal(err)
	}
	return p, mustAuthority(t, z)
}

func lines(recs []libdns.Record) []string {
	var out []string
	for _, rec := range recs {
		rr := rec.RR()
		out = append(out, strings.Join([]string{rr.Name, rr.TTL.String(), rr.Type, rr.Data}, " "))
	}
	slices.Sort(out)
	return out
}

func TestProviderRoundTrip(t *testing.T) {
	p, a := newProvider(t)
	ctx := t.Context()
	in := []libdns.Record{
		libdns.Address{Name: "www", TTL: time.Minute, IP: netip.MustParseAddr("192.0.2.1")},
		libdns.Address{Name: "www", TTL: time.Minute, IP: netip.MustParseAddr("2001:db8::1")},
		libdns.RR{Name: "@", TTL: time.Hour, Type: "txt", Data: `v=spf1 "quoted" \ -all`},
		libdns.CNAME{Name: "alias", TTL: time.Minute, Target: "www.example.org."},
		libdns.MX{Name: "www", TTL: time.Minute, Preference: 10, Target: "mail.example.org."},
		libdns.TXT{Name: "long", TTL: time.Minute, Text: strings.Repeat("0123456789", 60)},
	}
	out, err := p.AppendRecords(ctx, testZone+".", in)
	if err != nil {
		t.Fatal(err)
	}
	if len(out) != len(in) {
		t.Fatalf("%d records returned, want %d", len(out), len(in))
	}
	if _, ok := out[0].(libdns.Address); !ok {
		t.Errorf("returned %T, want libdns.Address", out[0])
	}
	got, err := p.GetRecords(ctx, testZone)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(lines(out), lines(got)); diff != "" {
		t.Error(diff)
	}
	m := ask(t, a, question(t, testZone, dns.TypeTXT), false)
	if txt := m.Answer[0].(*dns.TXT).Txt; len(txt) != 1 || txt[0] != `v=spf1 \"quoted\" \\ -all` {
		t.Errorf("TXT %q", txt)
	}
	m = ask(t, a, question(t, "long."+testZone, dns.TypeTXT), true)
	if txt := m.Answer[0].(*dns.TXT).Txt; strings.Join(txt, "") != strings.Repeat("0123456789", 60) {
		t.Errorf("TXT %q", txt)
	}

	set, err := p.SetRecords(ctx, testZone+".", []libdns.Record{libdns.Address{Name: "www", TTL: time.Hour, IP: netip.MustParseAddr("192.0.2.2")}})
	if err != nil || len(set) != 1 {
		t.Fatal(set, err)
	}
	want := "NOERROR aa\nwww.cname.example.net. 3600 IN A 192.0.2.2"
	if got := show(ask(t, a, question(t, "www."+testZone, dns.TypeA), false)); got != want {
		t.Error(got)
	}
	for _, tc := range []struct {
		name string
		rec  libdns.RR
		want []string
	}{
		{"another value is not there", libdns.RR{Name: "www", Type: "A", Data: "192.0.2.1"}, nil},
		{"another TTL is not there", libdns.RR{Name: "www", Type: "A", TTL: time.Second}, nil},
		{"the exact one goes", libdns.RR{Name: "www", Type: "A", TTL: time.Hour, Data: "192.0.2.2"}, []string{"www 1h0m0s A 192.0.2.2"}},
		{"an empty type is every type", libdns.RR{Name: "www"}, []string{"www 1m0s AAAA 2001:db8::1", "www 1m0s MX 10 mail.example.org."}},
		{"what is gone is gone", libdns.RR{Name: "www"}, nil},
	} {
		gone, err := p.DeleteRecords(ctx, testZone+".", []libdns.Record{tc.rec})
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
		if diff := cmp.Diff(tc.want, lines(gone)); diff != "" {
			t.Errorf("%s: %s", tc.name, diff)
		}
	}
}

func TestProviderChallengeInTheCustomersZone(t *testing.T) {
	p, a := newProvider(t)
	ctx := t.Context()
	rec := libdns.RR{Name: "_acme-challenge.api", Type: "TXT", Data: "value", TTL: 2 * time.Minute}
	out, err := p.AppendRecords(ctx, "example.com.", []libdns.Record{rec})
	if err != nil || len(out) != 1 {
		t.Fatal(out, err)
	}
	if rr := out[0].RR(); rr.Type != rec.Type || rr.Data != rec.Data || rr.Name != rec.Name {
		t.Errorf("returned %v", rr)
	}
	if diff := cmp.Diff([]string{"value"}, texts(t, a, "_acme-challenge.api.example.com."+testZone)); diff != "" {
		t.Error(diff)
	}
	got, err := p.GetRecords(ctx, "example.com.")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"_acme-challenge.api 0s TXT value"}, lines(got)); diff != "" {
		t.Error(diff)
	}
	gone, err := p.DeleteRecords(ctx, "example.com.", []libdns.Record{rec})
	if err != nil || len(gone) != 1 {
		t.Fatal(gone, err)
	}
	if got := texts(t, a, "_acme-challenge.api.example.com."+testZone); got != nil {
		t.Errorf("left behind: %v", got)
	}
	// wild.example.com and *.wild.example.com share one challenge name.
	shared := []libdns.Record{libdns.TXT{Name: "_acme-challenge", Text: "both"}}
	if out, err := p.AppendRecords(ctx, "wild.example.com.", shared); err != nil || len(out) != 1 {
		t.Fatal(out, err)
	}
	if diff := cmp.Diff([]string{"both"}, texts(t, a, "_acme-challenge.wild.example.com."+testZone)); diff != "" {
		t.Error(diff)
	}
	if gone, err := p.DeleteRecords(ctx, "wild.example.com.", shared); err != nil || len(gone) != 1 {
		t.Fatal(gone, err)
	}
}

func TestProviderRefuses(t *testing.T) {
	p, _ := newProvider(t)
	for _, tc := range []struct{ name, zone, owner, typ, data, want string }{
		{"a name outside", "example.com.", "www", "A", "192.0.2.1", "www.example.com lies outside zone cname.example.net"},
		{"a challenge without a record", "example.com.", "_acme-challenge.none", "TXT", "x", "no DomainRecord with tls for none.example.com"},
		{"a challenge without tls", "example.com.", "_acme-challenge.plain", "TXT", "x", "no DomainRecord with tls for plain.example.com"},
		{"a challenge in Z without tls", testZone, "_acme-challenge.plain.example.com", "TXT", "x", "has no tls"},
		{"a wildcard's challenge without tls", "example.org.", "_acme-challenge.open", "TXT", "x", "no DomainRecord with tls for open.example.org"},
		{"a wildcard's own name", testZone, "_wildcard.wild.example.com", "A", "192.0.2.1", "answered for the DomainRecord of *.wild.example.com"},
		{"a record's own name", testZone, "api.example.com", "A", "192.0.2.1", "answered for the DomainRecord of api.example.com"},
		{"a name server", testZone, "ns2.dns", "A", "192.0.2.1", "answered by the configuration"},
		{"the verification name", testZone, "_apoxy-verify", "TXT", "x", "answered by the configuration"},
		{"below the verification name", testZone, "token._apoxy-verify", "TXT", "x", "answered by the configuration"},
		{"the zone's CAA", testZone, "@", "CAA", `0 issue "x.example"`, "cname.example.net CAA is answered by the configuration"},
		{"SOA", testZone, "@", "SOA", "a. b. 1 2 3 4 5", `type "SOA" cannot be put`},
		{"NS", testZone, "sub", "NS", "a.", `type "NS" cannot be put`},
		{"an unknown type", testZone, "sub", "NOTYPE", "a.", `type "NOTYPE" cannot be put`},
		{"a bad address", testZone, "www", "A", "192.0.2", `A value "192.0.2"`},
		{"a second line", testZone, "www", "A", "192.0.2.1\nx A 192.0.2.1", "A value"},
		{"a CNAME at the zone's name", testZone, "@", "CNAME", "x.example.", "zone's own name"},
		{"a bad name", testZone, "w w", "A", "192.0.2.1", "no hostname"},
		{"a long value", testZone, "www", "TXT", strings.Repeat("x", 5000), "5000 octets"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := p.AppendRecords(t.Context(), tc.zone, []libdns.Record{libdns.RR{Name: tc.owner, Type: tc.typ, Data: tc.data}})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q in it", err, tc.want)
			}
		})
	}
	add := func(typ, data string) error {
		_, err := p.AppendRecords(t.Context(), testZone, []libdns.Record{libdns.RR{Name: "both", Type: typ, Data: data}})
		return err
	}
	if err := add("A", "192.0.2.1"); err != nil {
		t.Fatal(err)
	}
	if err := add("CNAME", "x.example."); err == nil || !strings.Contains(err.Error(), "stands alone") {
		t.Errorf("error %v", err)
	}
}

func TestProviderTakesAZoneBelowZ(t *testing.T) {
	p, a := newProvider(t)
	in := []libdns.Record{libdns.TXT{Name: "_acme-challenge", Text: "value"}, libdns.RR{Name: "@", Type: "A", Data: "192.0.2.9", TTL: time.Minute}}
	if _, err := p.AppendRecords(t.Context(), "panel."+testZone+".", in); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"value"}, texts(t, a, "_acme-challenge.panel."+testZone)); diff != "" {
		t.Error(diff)
	}
	got, err := p.GetRecords(t.Context(), "panel."+testZone+".")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"@ 1m0s A 192.0.2.9", "_acme-challenge 0s TXT value"}, lines(got)); diff != "" {
		t.Error(diff)
	}
	if zones, err := p.ListZones(t.Context()); err != nil || len(zones) != 1 || zones[0].Name != testZone+"." {
		t.Error(zones, err)
	}
}
