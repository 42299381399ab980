package resolver

import (
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/internal/dnstest"
)

func TestTexts(t *testing.T) {
	w := dnstest.NewCustomer(t)
	w.Domain.Set("_domainconnect TXT connect.provider.test/dc", "alias CNAME _domainconnect.example.com.",
		`long TXT "`+strings.Repeat("a", 200)+`" "`+strings.Repeat("b", 200)+`"`, "api A 192.0.2.1")
	r := newTestResolver(t, w.World)
	for name, want := range map[string][]string{
		"_domainconnect.example.com.": {"connect.provider.test/dc"},
		"alias.example.com.":          {"connect.provider.test/dc"},
		"long.example.com.":           {strings.Repeat("a", 200) + strings.Repeat("b", 200)},
		"api.example.com.":            nil,
		"nothing.example.com.":        nil,
	} {
		if got, err := r.Texts(t.Context(), name); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v; want %q", name, got, err, want)
		}
	}
	w.Behave(dnstest.Fail(dns.RcodeServerFailure))
	if got, err := r.Texts(t.Context(), "other.example.com."); err == nil {
		t.Errorf("nobody could tell, and %q is told", got)
	}
}
