package dnsprovider

import (
	"strings"
	"testing"
)

func TestCAAValuesAreWhatCAsUnderstand(t *testing.T) {
	for _, c := range []struct{ text, says string }{
		{`0 issue "letsencrypt.org"`, ""},
		{`0 issue letsencrypt.org`, ""},
		{`128 ISSUE "Sectigo.com"`, ""},
		{`0 issue ";"`, ""},
		{`0 issue ""`, ""},
		{`0 issuewild " letsencrypt.org ; validationmethods=dns-01; accounturi=https://ca.test/acct/1"`, ""},
		{`0 issuemail "ca1.example.net"`, ""},
		{`0 iodef "mailto:security@example.net"`, ""},
		{`0 contactemail "ops@example.net"`, ""},
		{`0 issue "{env.CA}"`, "domain name"},
		{`0 issue "Let's Encrypt"`, "domain name"},
		{`0 issue "https://letsencrypt.org"`, "domain name"},
		{`0 issue "letsencrypt.org, pki.goog"`, "domain name"},
		{`0 issue "letsencrypt_org"`, "domain name"},
		{`0 issue "-ca.test"`, "domain name"},
		{`0 issue "ca..test"`, "domain name"},
		{`0 issue "\"letsencrypt.org\""`, "domain name"},
		{`0 issuewild "letsencrypt.org."`, "without a final dot, such as letsencrypt.org"},
		{`0 issue "letsencrypt.org; dns-01"`, "name=value"},
		{`0 iodef "security@example.net"`, "mailto:"},
	} {
		_, err := (&Config{CAA: []string{c.text}}).caa()
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", c.text, err, c.says)
		}
	}
}
