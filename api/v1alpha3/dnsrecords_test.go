package v1alpha3

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
)

func TestExpectedDNSRecords(t *testing.T) {
	const token = "0123456789abcdef0123456789abcdef"
	for _, c := range []struct {
		is    string
		r     *DomainRecord
		token string
		want  string // purpose name value required, one a line
	}{
		{"a record with TLS", record("api.example.com"), "", `
			Traffic api.example.com. api.example.com.cname.example.net. true
			ACMEChallenge _acme-challenge.api.example.com. _acme-challenge.api.example.com.cname.example.net. false
			Ownership _apoxy-challenge.api.example.com. _apoxy-verify.cname.example.net. false`},
		{"an HTTP-only record", record("api.example.com", httpOnly), "", `
			Traffic api.example.com. api.example.com.cname.example.net. true
			Ownership _apoxy-challenge.api.example.com. _apoxy-verify.cname.example.net. false`},
		{"a hostname that another owner held", record("api.example.com"), token, `
			Traffic api.example.com. api.example.com.cname.example.net. true
			ACMEChallenge _acme-challenge.api.example.com. _acme-challenge.api.example.com.cname.example.net. false
			Ownership _apoxy-challenge.api.example.com. 0123456789abcdef0123456789abcdef._apoxy-verify.cname.example.net. true`},
		{"a wildcard", record("*.example.com"), "", `
			Traffic *.example.com. _wildcard.example.com.cname.example.net. true
			ACMEChallenge _acme-challenge.example.com. _acme-challenge.example.com.cname.example.net. false
			Ownership _apoxy-challenge.example.com. _apoxy-verify.cname.example.net. false`},
	} {
		t.Run(c.is, func(t *testing.T) {
			for _, z := range []string{zone, zone + "."} {
				var got []string
				for _, d := range ExpectedDNSRecords(c.r, z, c.token) {
					if d.Type != "CNAME" || d.Observed == nil || d.Configured || d.Problem != nil || d.LastTransitionTime != nil {
						t.Errorf("%+v", d)
					}
					got = append(got, strings.Join([]string{string(d.Purpose), d.Name, d.Value, map[bool]string{true: "true", false: "false"}[d.Required]}, " "))
				}
				var want []string
				for line := range strings.SplitSeq(strings.TrimSpace(c.want), "\n") {
					want = append(want, strings.TrimSpace(line))
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

func TestDNSRecordAsJSON(t *testing.T) {
	raw, err := json.Marshal(ExpectedDNSRecords(record("api.example.com"), zone, "")[0])
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"purpose":"Traffic","type":"CNAME","name":"api.example.com.","value":"api.example.com.cname.example.net.","observed":[],"configured":false,"required":true}`
	if string(raw) != want {
		t.Errorf("%s, want %s", raw, want)
	}
}

func TestVerifyToken(t *testing.T) {
	if got, want := VerifyToken("8E1F8C3A-0b6d-4c1e-9a70-0123456789ab"), "8e1f8c3a0b6d4c1e9a700123456789ab"; got != want {
		t.Errorf("a UUID gives %q, want its digits %q", got, want)
	}
	for _, uid := range []types.UID{"", "not.a/label", "8e1f8c3a", "ümlaut"} {
		if got := VerifyToken(uid); len(got) != 32 || strings.Trim(got, "0123456789abcdef") != "" {
			t.Errorf("%q gives %q, which is not 32 hexadecimal digits", uid, got)
		}
	}
	if VerifyToken("a") == VerifyToken("b") {
		t.Error("two uids share a token")
	}
}

func TestNoHostnameSharesAWildcardsNames(t *testing.T) {
	for _, name := range []string{ZoneLabel("*.example.com"), RecordName("*.example.com")} {
		if host, err := NormalizeHostname(name); err == nil {
			t.Errorf("%q is also the hostname %q", name, host)
		}
	}
}
