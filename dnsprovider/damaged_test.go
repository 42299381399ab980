package dnsprovider

import (
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
	"github.com/apoxy-dev/caddy-apoxy/store/storetest"
)

func TestADamagedRRSetHarmsItselfAlone(t *testing.T) {
	st := openStore(t)
	first := runSets(t, st)
	for _, owner := range []string{"bad", "good"} {
		if err := first.Update(t.Context(), owner, "TXT", func(s *RRSet) error { s.Values = []Value{{Data: "value of " + owner}}; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	storetest.Spoil(t, st.(*boltstore.Store).Path(), "value of bad")

	second := runSets(t, st) // as after a restart
	a := mustAuthority(t, mustZone(t, testConfig(), testRecords(), second))
	if got := show(ask(t, a, question(t, "good."+testZone, dns.TypeTXT), false)); !strings.Contains(got, "value of good") {
		t.Error(got)
	}
	if got := show(ask(t, a, question(t, "bad."+testZone, dns.TypeTXT), false)); !strings.HasPrefix(got, "NXDOMAIN") {
		t.Error(got)
	}
	var listed []string
	if err := second.List(t.Context(), func(owner, typ string, _ RRSet) { listed = append(listed, owner+" "+typ) }); err != nil || len(listed) != 1 {
		t.Errorf("lists %q, %v", listed, err)
	}
	// A challenge for the same name goes into it all the same.
	err := second.Update(t.Context(), "bad", "TXT", func(s *RRSet) error {
		if len(s.Values) != 0 {
			t.Errorf("of the damaged set %+v is left", s.Values)
		}
		s.Values = append(s.Values, Value{Data: "new"})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := show(ask(t, a, question(t, "bad."+testZone, dns.TypeTXT), false)); !strings.Contains(got, `"new"`) {
		t.Error(got)
	}
	// What does not decode is begun anew too, and what was answered stays until then.
	rev, err := st.Write(t.Context(), store.Op{Key: "rrsets/" + testZone + "/bad/TXT", Value: []byte("{"), If: store.Any})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.WaitRevision(t.Context(), rev); err != nil {
		t.Fatal(err)
	}
	if got := show(ask(t, a, question(t, "bad."+testZone, dns.TypeTXT), false)); !strings.Contains(got, `"new"`) {
		t.Error(got)
	}
	if err := second.Update(t.Context(), "bad", "TXT", func(s *RRSet) error { s.Values = nil; return nil }); err != nil {
		t.Fatal(err)
	}
	if got := show(ask(t, a, question(t, "bad."+testZone, dns.TypeTXT), false)); !strings.HasPrefix(got, "NXDOMAIN") {
		t.Error(got)
	}
}

func TestCheckRRSet(t *testing.T) {
	for _, tc := range []struct {
		key, value string
		ok         bool
	}{
		{"rrsets/z.test/a/A", `{"ttl":9,"values":[{"data":"192.0.2.7"}]}`, true},
		{"rrsets/z.test/_acme-challenge.x/TXT", `{"values":[{"data":"x","expires":"2026-01-01T00:00:00Z"}]}`, true},
		{"rrsets/z.test/a/A", `{"values":[{"data":"::1"}]}`, false},
		{"rrsets/z.test/a/A", `{`, false},
		{"rrsets/z.test/a/NOTYPE", `{}`, false},
		{"rrsets/z.test/a", `{}`, false},
		{"rrsets/z.test", `{}`, false},
	} {
		if err := CheckRRSet(tc.key, []byte(tc.value)); (err == nil) != tc.ok {
			t.Errorf("%s %s: %v", tc.key, tc.value, err)
		}
	}
}
