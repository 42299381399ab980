package resolver

import (
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/internal/dnstest"
)

// A person sees what each server answers, where they differ and which one does not.
func TestSurvey(t *testing.T) {
	w := dnstest.NewCustomer(t)
	w.NS2.Fork(w.Domain)
	w.Domain.Set(dnstest.RightTraffic, `txt TXT "one" "two"`, "both A 192.0.2.1", "both AAAA 2001:db8::1")
	r := newTestResolver(t, w.World)
	survey := func(name string) map[string][]string {
		t.Helper()
		all, err := r.Survey(t.Context(), name)
		if err != nil || len(all) != 2 {
			t.Fatalf("%s: %+v, %v", name, all, err)
		}
		said := map[string][]string{}
		for _, s := range all {
			if !s.Addr.IsValid() {
				t.Errorf("%s has no address", s.Name)
			}
			if said[s.Name] = s.Answers; s.Err != "" {
				said[s.Name] = []string{"error"}
			}
		}
		return said
	}
	for name, want := range map[string][]string{
		"api.example.com":      {"CNAME api.example.com.cname.example.net."},
		"txt.example.com.":     {`TXT "one" "two"`},
		"both.example.com.":    {"A 192.0.2.1", "AAAA 2001:db8::1"},
		"nothing.example.com.": nil,
	} {
		said := survey(name)
		if one, two := said["ns1.provider.test."], said["ns2.provider.test."]; !slices.Equal(one, want) || len(two) != 0 {
			t.Errorf("%s: %q and %q, want %q and nothing", name, one, two, want)
		}
	}
	w.NS2.Behave(dnstest.Fail(dns.RcodeServerFailure))
	if said := survey("api.example.com."); !slices.Equal(said["ns2.provider.test."], []string{"error"}) || len(said["ns1.provider.test."]) != 1 {
		t.Errorf("with one that fails: %q", said)
	}

	barred := newTestResolver(t, w.World, func(c *Config) { c.PrivateNetworks = nil })
	all, err := barred.Survey(t.Context(), "api.example.com.")
	if err != nil || len(all) == 0 || slices.ContainsFunc(all, func(s ServerAnswer) bool { return !strings.Contains(s.Err, "private_networks") || len(s.Answers) > 0 }) {
		t.Errorf("servers that may not be contacted: %+v, %v", all, err)
	}
	if all, err := r.Survey(t.Context(), "nobody.unregistered.invalid."); err == nil && slices.ContainsFunc(all, func(s ServerAnswer) bool { return len(s.Answers) > 0 }) {
		t.Errorf("of a domain that is not there: %+v", all)
	}
}
