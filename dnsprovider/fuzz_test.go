package dnsprovider

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/libdns/libdns"
	"github.com/miekg/dns"
	"go.uber.org/zap"
)

// sealed is a zone whose RRsets are never run: what is put into them comes from
// the test alone.
func sealed(t testing.TB) (*Zone, *RRSets, *Authority) {
	t.Helper()
	sets, err := NewRRSets(nil, testZone, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	z := mustZone(t, testConfig(), testRecords(), sets)
	return z, sets, mustAuthority(t, z)
}

// answers asks for what every neighbour of a foreign RRset answers.
func answers(t testing.TB, a *Authority) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, q := range []struct {
		name string
		typ  uint16
	}{
		{"api.example.com." + testZone, dns.TypeA}, {"_acme-challenge.plain.example.com." + testZone, dns.TypeTXT},
		{"_wildcard.wild.example.com." + testZone, dns.TypeAAAA}, {"_apoxy-verify." + testZone, dns.TypeTXT},
		{"token._apoxy-verify." + testZone, dns.TypeA}, {testZone, dns.TypeSOA}, {testZone, dns.TypeNS}, {testZone, dns.TypeCAA},
		{"ns2.dns." + testZone, dns.TypeA},
	} {
		out[q.name+" "+dns.TypeToString[q.typ]] = show(ask(t, a, question(t, q.name, q.typ), true))
	}
	return out
}

// FuzzStoredRRSet puts anything into the store as an RRset of any owner and
// type. It never changes what the configuration and the records answer; what
// is answered for it unpacks, has the type, and ends when it expires.
func FuzzStoredRRSet(f *testing.F) {
	for _, seed := range []struct{ key, value string }{
		{"www/A", `{"ttl":60,"values":[{"data":"192.0.2.1"}]}`},
		{"www/A", `{"ttl":60,"values":[{"data":"192.0.2.1","expires":"1970-01-01T00:00:00Z"}]}`},
		{"www/A", `{"ttl":60,"values":[{"data":"192.0.2.1","expires":"2020-01-01T00:00:00Z"},{"data":"192.0.2.2"}]}`},
		{"_acme-challenge.api.example.com/TXT", `{"ttl":0,"values":[{"data":"","expires":"9999-01-01T00:00:00Z"}]}`},
		{"@/TXT", `{"values":[{"data":"a\"b\\\u0000"}]}`},
		{"api.example.com/A", `{"values":[{"data":"192.0.2.66"}]}`}, {"@/SOA", `{"values":[{"data":". . 1 2 3 4 5"}]}`},
		{"_apoxy-verify/TXT", `{"values":[{"data":"x"}]}`}, {"token._apoxy-verify/A", `{"values":[{"data":"192.0.2.66"}]}`},
		{"ns2.dns/A", `{"values":[{"data":"192.0.2.66"}]}`}, {"x/CNAME", `{"values":[{"data":"a."},{"data":"b."}]}`},
		{"x/NS", `{"values":[{"data":"ns.example.org."}]}`}, {"dns/NS", `{"values":[{"data":"ns.example.org."}]}`}, {"x/ANY", `{}`},
		{"x/OPT", `{"values":[{"data":"\\# 0"}]}`}, {"x/TYPE65400", `{"values":[{"data":"\\# 1 00"}]}`}, {"no slash", `null`},
		{"example.com/CNAME", `{"values":[{"data":"x."}]}`}, {"com/CNAME", `{"values":[{"data":"x."}]}`},
	} {
		f.Add(seed.key, []byte(seed.value))
	}
	_, _, a := sealed(f)
	want := answers(f, a)
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		_, sets, a := sealed(t)
		sets.take(sets.prefix+key, value, 1, nil)
		owner, typ, _ := strings.Cut(key, "/")
		if d := cmp.Diff(want, answers(t, a)); d != "" {
			t.Fatalf("%q changes what others answer:\n%s", key, d)
		}
		name, err := packLower(owner + "." + testZone)
		if err != nil || len(name) > maxNameOctets {
			return
		}
		code := dns.StringToType[typ]
		req := append([]byte{0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0}, name...)
		out := a.Answer(append(req, byte(code>>8), byte(code), 0, 1), make([]byte, 0, maxPayload), true)
		m := new(dns.Msg)
		if err := m.Unpack(out); err != nil {
			t.Fatalf("%q %s: %v", key, value, err)
		}
		var kept RRSet
		if json.Unmarshal(value, &kept) != nil {
			return
		}
		now, live := time.Now(), 0
		for _, v := range kept.Values {
			if v.Expires == nil || now.Before(*v.Expires) {
				live++
			}
		}
		if n := sets.lookup([]byte(owner)); n != nil {
			for _, set := range n.sets {
				if set.typ != code || set.live(now.Unix()+1) > live {
					t.Fatalf("%q %s: %d values are live, of type %d %d are answered", key, value, live, set.typ, set.live(now.Unix()+1))
				}
			}
		}
	})
}

// FuzzLibdnsUpdate appends any record through the libdns face. What is taken is
// stored as it can be read again, is answered, comes back from libdns as it
// went in, and changes nothing that the configuration and the records answer.
func FuzzLibdnsUpdate(f *testing.F) {
	for _, seed := range []struct {
		zone, name, typ, data string
		ttl                   int64
	}{
		{testZone, "www", "A", "192.0.2.1", 60}, {testZone + ".", "@", "txt", `v=spf1 "q" \ -all`, 3600},
		{testZone, "x", "CNAME", "www.example.org.", 0}, {testZone, "", "CAA", `0 issue "x"`, 1}, {testZone, "@", "SOA", ". . 1 2 3 4 5", 1},
		{"example.com", "_acme-challenge.api", "TXT", "value", 0}, {"com", "_acme-challenge.plain.example", "TXT", "value", 0},
		{testZone, "api.example.com", "A", "192.0.2.66", 60}, {testZone, "_wildcard.wild.example.com", "A", "192.0.2.66", 60},
		{testZone, "*", "A", "192.0.2.66", 60}, {testZone, "token._apoxy-verify", "A", "192.0.2.66", 60}, {testZone, "ns2.dns", "NS", ".", 60},
		{testZone, "dns", "NS", "ns.example.org.", 60}, {testZone, "b\\046c", "A", "192.0.2.1", -1}, {"example.org", "", "A", "192.0.2.1", 1},
		{testZone, "x", "HTTPS", `1 . alpn="h3"`, 60}, {testZone, "x", "TYPE65400", `\# 1 00`, 60}, {testZone, "x", "A", "192.0.2.1 ; note", 60},
		{testZone, "x", "TXT", strings.Repeat("a", 5000), 60}, {testZone, "x", "MX", "10 a.\n@ A 192.0.2.66", 60}, {"", "", "", "", 0},
		{testZone, "x", "TXT", "a\xffb", 60}, {testZone, "x", "A", "192.0.2.1\xff", 60},
	} {
		f.Add(seed.zone, seed.name, seed.typ, seed.data, seed.ttl)
	}
	_, _, a := sealed(f)
	want := answers(f, a)
	f.Fuzz(func(t *testing.T, zone, name, typ, data string, seconds int64) {
		z, sets, a := sealed(t)
		p := &Provider{z}
		rec := libdns.RR{Name: name, Type: typ, Data: data, TTL: time.Duration(seconds) * time.Second}
		groups, err := p.groups(zone, []libdns.Record{rec})
		if err != nil {
			return
		}
		var set RRSet
		g := groups[0]
		if err := g.add(&set); err != nil {
			return
		}
		code, err := sets.check(g.owner, g.typ)
		if err != nil || code == dns.TypeNS || code == dns.TypeSOA {
			t.Fatalf("%v is to be stored at %q %q: %v", rec, g.owner, g.typ, err)
		}
		if _, err := set.pack(code); err != nil {
			t.Fatalf("%v is taken and cannot be packed: %v", rec, err)
		}
		raw, err := json.Marshal(set)
		if err != nil {
			t.Fatal(err)
		}
		var back RRSet
		if err := json.Unmarshal(raw, &back); err != nil || back.Values[0].Data != set.Values[0].Data {
			t.Fatalf("%q is stored as %s and read as %q (%v)", data, raw, back.Values[0].Data, err)
		}
		sets.take(sets.prefix+g.owner+"/"+g.typ, raw, 1, nil)
		if sets.lookup([]byte(g.owner)) == nil {
			t.Fatalf("%v is taken, stored as %s and not answered", rec, raw)
		}
		if d := cmp.Diff(want, answers(t, a)); d != "" && !strings.HasPrefix(g.owner+".", challengePrefix) {
			t.Fatalf("%v changes what others answer:\n%s", rec, d)
		}
		outer, ok := p.outer(g.owner, zone)
		if again, err := p.owner(outer, zone); !ok || err != nil || again != g.owner {
			t.Fatalf("%v in zone %q is stored at %q, which is called %q there (%v, %v)", rec, zone, g.owner, outer, ok, err)
		}
		if rr := record(outer, g.typ, back.TTL, back.Values[0].Data).RR(); rr.Data != data || rr.Type != g.typ {
			t.Fatalf("%v comes back as %v", rec, rr)
		}
	})
}
