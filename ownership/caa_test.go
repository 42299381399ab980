package ownership

import (
	"slices"
	"strings"
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

func caaSet(records ...CAARecord) CAAObservation {
	return CAAObservation{Outcome: Seen, Domain: "example.com.", Records: records}
}

func issue(values ...string) CAAObservation {
	var o CAAObservation
	for _, v := range values {
		o = caaSet(append(o.Records, CAARecord{Tag: "issue", Value: v})...)
	}
	return o
}

func TestJudgeCAA(t *testing.T) {
	const all = "dns-01,http-01,tls-alpn-01"
	long := strings.Repeat("x", 300)
	at := func(tag, value string) CAARecord { return CAARecord{Tag: tag, Value: value} }
	for name, c := range map[string]struct {
		host    string
		set     CAAObservation
		account string
		methods string // permitted; empty: forbidden
		says    string // of a refusal: found and mend
	}{
		"nothing was found":                         {"a.example.com", CAAObservation{Outcome: Absent}, "", all, ""},
		"could not tell":                            {"a.example.com", CAAObservation{}, "", all, ""},
		"the CA is named":                           {"a.example.com", issue("ca.test"), "", all, ""},
		"and nothing follows the semicolon":         {"a.example.com", issue("ca.test; "), "", all, ""},
		"any of its names, case aside":              {"a.example.com", caaSet(at("Issue", " ALIAS.test ; x=y")), "", all, ""},
		"among others":                              {"a.example.com", issue("other.test", "\tca.test\t"), "", all, ""},
		"another CA":                                {"a.example.com", issue("other.test"), "", "", `allow only "other.test". The customer has to add: example.com. CAA 0 issue "ca.test"`},
		"nobody":                                    {"a.example.com", issue(";"), "", "", "forbid every certificate authority"},
		"nobody, without a semicolon":               {"a.example.com", issue(""), "", "", "forbid every certificate authority"},
		"nobody, with parameters":                   {"a.example.com", issue("; policy=ev"), "", "", "forbid every certificate authority"},
		"only who is told":                          {"a.example.com", caaSet(at("iodef", "mailto:x@y")), "", all, ""},
		"only mail (RFC 9495)":                      {"a.example.com", caaSet(at("issuemail", ";"), at("issuevmc", ";")), "", all, ""},
		"issuewild does not bind a plain name":      {"a.example.com", caaSet(at("issuewild", ";")), "", all, ""},
		"nor does it allow one":                     {"a.example.com", caaSet(at("issue", ";"), at("issuewild", "ca.test")), "", "", "counts for wildcards alone"},
		"issuewild replaces issue for a wildcard":   {"*.example.com", caaSet(at("issue", "ca.test"), at("issuewild", ";")), "", "", `CAA 0 issuewild "ca.test"`},
		"and allows where issue does not":           {"*.example.com", caaSet(at("issue", ";"), at("IssueWild", "ca.test")), "", all, ""},
		"issue binds a wildcard without issuewild":  {"*.example.com", issue("other.test"), "", "", `CAA 0 issue "ca.test"`},
		"critical and unknown":                      {"a.example.com", caaSet(CAARecord{128, "tbs", "x"}, at("issue", "ca.test")), "", "", `The customer removes it`},
		"critical by the bit that people set":       {"a.example.com", caaSet(CAARecord{1, "tbs", "x"}, at("issue", "ca.test")), "", "", `"tbs"`},
		"critical and known":                        {"a.example.com", caaSet(CAARecord{128, "issue", "ca.test"}, CAARecord{128, "issuemail", ";"}, CAARecord{128, "iodef", "x"}), "", all, ""},
		"unknown and not critical":                  {"a.example.com", caaSet(CAARecord{2, "tbs", "x"}, at("issue", "ca.test")), "", all, ""},
		"what follows is no parameter":              {"a.example.com", issue("ca.test; %%%"), "", "", "counts for nothing"},
		"a second semicolon at the end":             {"a.example.com", issue("ca.test; x=y;"), "", "", "counts for nothing"},
		"a final dot":                               {"a.example.com", issue("ca.test."), "", "", "ends in a dot"},
		"our account":                               {"a.example.com", issue("ca.test; accounturi=https://ca/1"), "https://ca/1", all, ""},
		"our account, with space around":            {"a.example.com", issue("ca.test ;\taccounturi = https://ca/1 ; x=y"), "https://ca/1", all, ""},
		"our account, longer than 200 octets":       {"a.example.com", issue("ca.test; accounturi=https://ca/" + long), "https://ca/" + long, all, ""},
		"another account":                           {"a.example.com", issue("ca.test; accounturi=https://ca/2"), "https://ca/1", "", `another account than ours ("https://ca/2"). The customer has to add: example.com. CAA 0 issue "ca.test; accounturi=https://ca/1"`},
		"another account's end":                     {"a.example.com", issue("ca.test; accounturi=https://ca/" + long + "2"), "https://ca/" + long, "", "another account"},
		"two accounts, which none satisfies":        {"a.example.com", issue("ca.test; accounturi=https://ca/1; accounturi=https://ca/1"), "https://ca/1", "", "another account"},
		"another CA's account":                      {"a.example.com", issue("other.test; accounturi=https://ca/1"), "https://ca/1", "", `allow only "other.test"`},
		"some methods":                              {"a.example.com", issue("ca.test; validationmethods=http-01,dns-01,x"), "", "dns-01,http-01", ""},
		"methods behind 200 octets":                 {"a.example.com", issue("ca.test; accounturi=https://ca/" + long + "; validationmethods=dns-01"), "https://ca/" + long, "dns-01", ""},
		"no method of ours":                         {"a.example.com", issue("ca.test; validationmethods=dns-account-01"), "", "", `example.com. CAA 0 issue "ca.test; validationmethods=dns-01,http-01,tls-alpn-01"`},
		"a space among the methods":                 {"a.example.com", issue("ca.test; validationmethods=dns-01, http-01"), "", "", "has a space within"},
		"methods of one and of another":             {"a.example.com", issue("ca.test; validationmethods=dns-01", "alias.test; validationmethods=http-01"), "", "dns-01,http-01", ""},
		"widened by one without":                    {"a.example.com", issue("ca.test; validationmethods=dns-01", "ca.test"), "", all, ""},
		"the right method with the wrong account":   {"a.example.com", issue("ca.test; validationmethods=dns-01; accounturi=https://ca/2"), "https://ca/1", "", `"ca.test; accounturi=https://ca/1; validationmethods=`},
		"another account beside a method of anyone": {"a.example.com", issue("ca.test; accounturi=https://ca/2", "ca.test; validationmethods=dns-01"), "https://ca/1", "dns-01", ""},
	} {
		t.Run(name, func(t *testing.T) {
			v := JudgeCAA(c.host, c.set, Issuer{Identities: []string{"ca.test", "alias.test."}, Account: c.account, Methods: strings.Split(all, ",")})
			if got := strings.Join(v.Methods, ","); got != c.methods || v.Allowed != (c.methods != "") || v.NeedsAccount {
				t.Fatalf("%+v, want methods %q", v, c.methods)
			}
			if told := v.Found + ". " + v.Mend; v.Allowed == (v.Mend != "") || !strings.Contains(told, c.says) {
				t.Errorf("told %q, want %q", told, c.says)
			}
			if v.Line != "" {
				// The line does what it says.
				value := strings.Trim(v.Line[strings.Index(v.Line, ` "`)+1:], `"`)
				c.set.Records = append(slices.Clone(c.set.Records), CAARecord{Tag: strings.Fields(v.Line)[3], Value: value})
				if v := JudgeCAA(c.host, c.set, Issuer{Identities: []string{"ca.test"}, Account: c.account, Methods: strings.Split(all, ",")}); !v.Allowed {
					t.Errorf("with the line there it is %+v", v)
				}
			}
		})
	}
}

// Whether an account is ours cannot be told without knowing which is.
func TestJudgeCAASaysWhenItNeedsTheAccount(t *testing.T) {
	for _, c := range []struct {
		set     CAAObservation
		needs   bool
		methods string
	}{
		{issue("ca.test; accounturi=https://ca/1"), true, ""},
		{issue("ca.test; accounturi=https://ca/1", "ca.test"), false, "dns-01,http-01"},
		{issue("ca.test; accounturi=https://ca/1", "ca.test; validationmethods=dns-01"), true, "dns-01"},
		{issue("ca.test; accounturi=https://ca/1; validationmethods=dns-01", "ca.test; validationmethods=dns-01"), false, "dns-01"},
		{issue("other.test; accounturi=https://ca/1"), false, ""},
	} {
		v := JudgeCAA("a.example.com", c.set, Issuer{Identities: []string{"ca.test"}, Methods: []string{"dns-01", "http-01"}})
		if v.NeedsAccount != c.needs || strings.Join(v.Methods, ",") != c.methods {
			t.Errorf("%v: %+v", c.set.Records, v)
		}
	}
	if v := JudgeCAA("a.example.com", issue("other.test"), Issuer{Methods: []string{"dns-01"}}); !v.Allowed {
		t.Errorf("an authority that does not tell its names is left to check itself: %+v", v)
	}
}

// What panels and people make of a value is named, so that it can be undone.
func TestHabitsInCAAValuesAreNamed(t *testing.T) {
	for value, says := range map[string]string{
		`"letsencrypt.org"`:            "quotation marks",
		`\"letsencrypt.org\"`:          "quotation marks",
		`“letsencrypt.org”`:            "quotation marks",
		`'letsencrypt.org'`:            "quotation marks",
		`"letsencrypt.org; x=y"`:       "quotation marks",
		`0 issue "letsencrypt.org"`:    "the flags and the tag",
		`issue letsencrypt.org`:        "the flags and the tag",
		`https://letsencrypt.org/`:     "a web address",
		`www.letsencrypt.org`:          "a web address",
		`letsencrypt.org.`:             "ends in a dot",
		`letsencrypt.org.; x=y`:        "ends in a dot",
		`Let's Encrypt`:                `its domain name "letsencrypt.org"`,
		`Let’s Encrypt`:                `its domain name "letsencrypt.org"`,
		`"Let's Encrypt"`:              `its domain name "letsencrypt.org"`,
		`letsencrypt`:                  `its domain name "letsencrypt.org"`,
		`LetsEncrypt.com`:              `its domain name "letsencrypt.org"`,
		`letsencrypt.org pki.goog`:     "several names",
		`digicert.com,letsencrypt.org`: "several names",
		`letsencrypt.org; blah`:        "counts for nothing",
	} {
		v := JudgeCAA(testHost, issue(value), testSettings.Issuers[0])
		if v.Allowed || !strings.Contains(v.Found, says) || !strings.HasSuffix(v.Mend, `has to add: example.com. CAA 0 issue "letsencrypt.org"`) {
			t.Errorf("%s: %+v, want %q", value, v, says)
		}
	}
	for _, value := range []string{"digicert.com", "letsencrypt.org.example.com", "Digi Cert", ";", ""} {
		if v := JudgeCAA(testHost, issue(value), testSettings.Issuers[0]); strings.Contains(v.Found, "seem to mean") {
			t.Errorf("%q: %+v", value, v)
		}
	}
	google := Issuer{Identities: []string{"pki.goog"}, Methods: []string{"dns-01"}}
	if v := JudgeCAA(testHost, issue("Google Trust Services"), google); !strings.Contains(v.Found, `"pki.goog"`) {
		t.Errorf("%+v", v)
	}
}

// Who may change the set is who is spoken of.
func TestWhoMendsCAA(t *testing.T) {
	for _, c := range []struct {
		host, domain string
		own          bool
		who          string
	}{
		{"api.example.com", "api.example.com", false, "The customer"},
		{"api.example.com", "example.com.", false, "The customer"},
		{"*.example.com", "example.com", false, "The customer"},
		{"api.example.com", "api.example.com.cname.example.net", true, "The operator"},
		{"api.example.com", "cdn.example.org", false, `Whoever runs the zone of "cdn.example.org"`},
	} {
		o := CAAObservation{Outcome: Seen, Domain: c.domain, Own: c.own, Records: []CAARecord{{Tag: "issue", Value: ";"}}}
		if v := JudgeCAA(c.host, o, testSettings.Issuers[0]); !strings.HasPrefix(v.Mend, c.who+" has to add: "+absolute(c.domain)+" CAA 0 issue") {
			t.Errorf("%+v: %q", c, v.Mend)
		}
	}
}

// A customer who is told to change the operator's zone can only wonder.
func TestWhoeverRunsTheZoneIsToldOfItsCAARecords(t *testing.T) {
	for domain, operator := range map[string]bool{
		"example.com": false, testHost: false, "cname.example.net": true, "LB.provider.example.": true,
	} {
		for _, record := range []CAARecord{{Tag: "issue", Value: "other.test"}, {Flag: 128, Tag: "future"}} {
			w := newWorld(t, testHost, true)
			w.settings.Zone.EdgeHost = "lb.provider.example"
			w.obs.Traffic = right(w.r, v1alpha3.PurposeTraffic, w.token)
			w.obs.CAA = CAAObservation{Outcome: Seen, Domain: domain, Own: domain == "cname.example.net", Records: []CAARecord{record}}
			w.look()
			w.is(tlsr, fls, v1alpha3.ReasonCAAForbidden)
			msg := w.r.Status.Condition(v1alpha3.ConditionTLSReady).Message
			if strings.Contains(msg, "customer") == operator || strings.Contains(msg, "operator") != operator {
				t.Errorf("CAA at %q: %s", domain, msg)
			}
		}
	}
}

// One authority that may issue is enough, and only those that the record may use count.
func TestDiagnoseCAA(t *testing.T) {
	issuers := []Issuer{
		{Names: []string{"letsencrypt"}, Identities: []string{"letsencrypt.org"}, Methods: []string{"dns-01", "http-01"}},
		{Names: []string{"google"}, Identities: []string{"pki.goog"}, Account: "https://goog/1", Methods: []string{"dns-01"}},
	}
	for _, c := range []struct {
		what          string
		ca            string
		set           CAAObservation
		dns01, http01 bool
		says          string // empty: allowed
	}{
		{"both", "", issue("letsencrypt.org", "pki.goog"), true, false, ""},
		{"one is enough", "", issue("pki.goog"), true, false, ""},
		{"the other by name", "letsencrypt", issue("pki.goog"), true, false, `"letsencrypt.org"`},
		{"neither", "", issue("other.test"), true, true, `example.com. CAA 0 issue "letsencrypt.org" or example.com. CAA 0 issue "pki.goog"`},
		{"a method that cannot be used now", "letsencrypt", issue("letsencrypt.org; validationmethods=http-01"), true, false, "dns-01 is what can be used here"},
		{"a method that may be one day", "letsencrypt", issue("letsencrypt.org; validationmethods=http-01"), false, false, ""},
		{"another account", "google", issue("pki.goog; accounturi=https://goog/2"), true, false, "accounturi=https://goog/1"},
		{"an account that nobody knows yet", "letsencrypt", issue("letsencrypt.org; accounturi=https://le/2"), true, false, ""},
		{"could not tell", "", CAAObservation{}, true, true, ""},
	} {
		t.Run(c.what, func(t *testing.T) {
			w := newWorld(t, testHost, true)
			if c.ca != "" {
				w.r.Spec.TLS = &v1alpha3.DomainRecordTLS{CertificateAuthority: &c.ca}
			}
			p := DiagnoseCAA(w.r, c.set, issuers, c.dns01, c.http01)
			if (p == nil) != (c.says == "") {
				t.Fatalf("got %+v, want %q", p, c.says)
			}
			if p != nil && (p.Reason != ProblemCAAForbids || !strings.Contains(p.Message, c.says)) {
				t.Errorf("got %+v, want %q", *p, c.says)
			}
		})
	}
}

func FuzzCAA(f *testing.F) {
	f.Add("issue", "ca.test; accounturi=x", uint8(0))
	f.Add("issuewild", ";;=;", uint8(128))
	f.Add("issue", `"ca.test, ca.test."`, uint8(1))
	f.Fuzz(func(t *testing.T, tag, value string, flag uint8) {
		set := caaSet(CAARecord{flag, tag, value})
		for _, host := range []string{"a.example.com", "*.example.com"} {
			v := JudgeCAA(host, set, Issuer{Identities: []string{"ca.test"}, Account: "https://ca/1", Methods: []string{"dns-01"}})
			if v.Allowed == (v.Found != "") || v.Allowed == (v.Mend != "") || len(v.Found) > 1500 || len(v.Mend) > 500 {
				t.Errorf("%q %q: %+v", tag, value, v)
			}
			if v.Allowed && strings.EqualFold(tag, "issue") && !strings.Contains(strings.ToLower(value), "ca.test") {
				t.Errorf("%q allows", value)
			}
			if printable(v.Found+v.Mend) != v.Found+v.Mend {
				t.Errorf("unfit text %q", v.Found+v.Mend)
			}
		}
	})
}
