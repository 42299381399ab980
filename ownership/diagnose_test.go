package ownership

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// wanted is a record that some hostname's customer creates.
func wanted(host string, p v1alpha3.DNSPurpose, token string) v1alpha3.DNSRecord {
	for _, d := range v1alpha3.ExpectedDNSRecords(newRecord(host, true), testSettings.Zone.Name, token) {
		if d.Purpose == p {
			return d
		}
	}
	panic("no such purpose")
}

func TestDiagnose(t *testing.T) {
	const (
		apex  = "example.com"
		token = "0d5a8a3c7d7e4d8e9c550a4f6d7f0001"
		verif = "_apoxy-verify.cname.example.net."
	)
	main := wanted(testHost, v1alpha3.PurposeTraffic, "")
	apexMain := wanted(apex, v1alpha3.PurposeTraffic, "")
	delegation := wanted(testHost, v1alpha3.PurposeACMEChallenge, "")
	challenge := wanted(testHost, v1alpha3.PurposeOwnership, "")
	tokenized := wanted(testHost, v1alpha3.PurposeOwnership, token)
	since := metav1.NewTime(testEpoch)
	dated := main
	dated.LastTransitionTime = &since
	addresses := func(list ...string) DNSObservation {
		return DNSObservation{Outcome: Seen, Addresses: addrs(list...)}
	}
	other := func(list ...string) DNSObservation { return DNSObservation{Outcome: Seen, Other: list} }
	elsewhere := func(list ...string) DNSObservation {
		return DNSObservation{Outcome: Absent, NXDomain: true, Elsewhere: list}
	}
	failed := func(p ZoneProblem) DNSObservation { return DNSObservation{Problem: p, Err: "tried 2 servers."} }

	for _, c := range []struct {
		name   string
		want   v1alpha3.DNSRecord
		o      DNSObservation
		reason string // empty: nothing is wrong
		says   string // part of the message
	}{
		{"right", main, cname(main.Value), "", ""},
		{"right by way of another name", delegation, cname("acme.example.com.", delegation.Value), "", ""},
		{"an apex with the edge's addresses is right", apexMain, addresses("203.0.113.10"), "", ""},
		{"not looked yet says nothing", main, DNSObservation{}, "", ""},

		{"nothing there", main, absent, ProblemNotFound, "There is no record at api.example.com."},
		{"nothing there, and since when", dated, absent, ProblemNotFound, "not in place since 2026-03-01T12:00:00Z"},
		{"the name exists with other types that were not listed", main, DNSObservation{Outcome: Absent}, ProblemNotFound, "no record of this kind"},
		{"nothing at an apex offers the alternatives", apexMain, absent, ProblemNotFound, "A and AAAA records with 203.0.113.10 2001:db8::10"},

		{"the registrar appended its zone to the name", main, elsewhere("api.example.com.example.com."), ProblemZoneAppendedToName, "types only api as the name"},
		{"the same at the delegation", delegation, elsewhere("_acme-challenge.api.example.com.example.com."), ProblemZoneAppendedToName, "types only _acme-challenge.api"},
		{"the same at an apex", apexMain, elsewhere("example.com.example.com."), ProblemZoneAppendedToName, "types only @"},
		{"the record is at another name", delegation, elsewhere("_acme-challenge.example.com."), ProblemRecordAtWrongName, `"_acme-challenge.example.com."`},

		{"the registrar appended its zone to the target", main, cname("api.example.com.cname.example.net.example.com."), ProblemZoneAppendedToTarget, `appended "example.com"`},
		{"a label of the hostname is missing", main, cname("example.com.cname.example.net."), ProblemLabelDropped, `"api" is missing`},
		{"the TLD of the hostname is missing", main, cname("api.example.cname.example.net."), ProblemTLDDropped, `"com" is missing`},
		{"the TLD of the target is missing", main, cname("api.example.com.cname.example."), ProblemTLDDropped, `"net" is missing`},
		{"a label of the zone is missing", main, cname("api.example.com.example.net."), ProblemLabelDropped, `"cname" is missing`},
		{"the whole hostname is missing", main, cname("cname.example.net."), ProblemLabelDropped, `"api.example.com" is missing`},
		{"_acme-challenge is missing: that is the main record's value", delegation, cname("api.example.com.cname.example.net."), ProblemSwappedTarget, "this hostname's main record"},
		{"the delegation's value at the main record", main, cname(delegation.Value), ProblemSwappedTarget, "_acme-challenge record"},
		{"the challenge's value at the delegation", delegation, cname(verif), ProblemSwappedTarget, "_apoxy-challenge record"},
		{"the main record's value at the challenge", challenge, cname(main.Value), ProblemSwappedTarget, "main record"},
		{"another record's target", main, cname("shop.example.com.cname.example.net."), ProblemAnotherRecordsTarget, `another hostname, "shop.example.com"`},
		{"another record's delegation", delegation, cname("_acme-challenge.shop.example.org.cname.example.net."), ProblemAnotherRecordsTarget, `"shop.example.org"`},
		{"another record's target at the end of a chain", main, cname("lb.example.com.", "shop.example.com.cname.example.net."), ProblemAnotherRecordsTarget, `"shop.example.com"`},
		{"misspelt", main, cname("api.example.com.cname.exmaple.net."), ProblemMisspelt, "misspelt"},
		{"the wrong zone", main, cname("api.example.com.cname.other.org."), ProblemWrongZone, `"cname.other.org."`},
		{"the wrong zone at the challenge", challenge, cname("_apoxy-verify.other.test."), ProblemWrongZone, `"other.test."`},
		{"an old provider", main, cname("shops.myshopify.com."), ProblemOldTarget, `CNAME to "shops.myshopify.com."`},
		{"an old provider by way of another name", main, cname("www.example.com.", "x.herokudns.com."), ProblemOldTarget, `from there to "x.herokudns.com."`},
		{"another name that has the edge's addresses", main, DNSObservation{Outcome: Seen, Chain: []string{"example.com."}, Addresses: addrs("203.0.113.10")},
			ProblemOldTarget, "traffic arrives at present"},
		{"an old provider that is gone", main, DNSObservation{Outcome: Seen, Chain: []string{"gone.example.org."}, Dangling: true}, ProblemOldTarget, "does not exist"},
		{"no token", tokenized, cname(verif), ProblemTokenMissing, "verified by its own alone"},
		{"another token", tokenized, cname("1111." + verif), ProblemTokenMissing, "not this record's"},

		{"a TXT record with the value", delegation, other(`TXT "_acme-challenge.api.example.com.cname.example.net"`), ProblemTXTInsteadOfCNAME, "the right value, but in a TXT record"},
		{"an old challenge value", delegation, other(`TXT "` + strings.Repeat("A", 43) + `"`), ProblemTXTInsteadOfCNAME, "old challenge value"},
		{"a CDN's hidden values", delegation, DNSObservation{Outcome: Seen, Other: []string{`TXT "` + strings.Repeat("b-_4", 10) + `abc"`}, Servers: []NameServer{{"ada.ns.cloudflare.com.", addrs("192.0.2.53")[0]}}},
			ProblemTXTInsteadOfCNAME, "Cloudflare, whose name servers serve the zone, answers with them"},
		{"somebody's hidden values beside the CNAME", delegation, DNSObservation{Outcome: Seen, Chain: []string{delegation.Value}, Other: []string{`TXT "` + strings.Repeat("A", 43) + `"`}},
			ProblemCNAMEBesideOthers, "a CDN or hosting provider answers with them"},
		{"a TXT record at the main name", main, other(`TXT "v=spf1 -all"`), ProblemTXTInsteadOfCNAME, "v=spf1"},
		{"addresses at the main name", main, addresses("192.0.2.7"), ProblemAddressInsteadOfCNAME, `A records ("192.0.2.7")`},
		{"the edge's addresses at a name that can have the CNAME", main, flat(), ProblemFlattenedCNAME, "when the edge's addresses change"},
		{"addresses at the delegation", delegation, addresses("203.0.113.10"), ProblemAddressInsteadOfCNAME, "lead elsewhere"},
		{"a web redirect", main, addresses("162.255.119.4"), ProblemRedirectInsteadOfCNAME, "Namecheap"},
		{"a web redirect in a TXT record", main, other(`TXT "v=txtv0;type=path;to=https://www.example.com"`), ProblemRedirectInsteadOfCNAME, "redirect"},
		{"other types", main, other("MX 10 mail.example.com."), ProblemOtherTypeInsteadOfCNAME, "MX 10"},
		{"other records beside the CNAME", main, DNSObservation{Outcome: Seen, Chain: []string{main.Value}, Other: []string{`TXT "x"`}}, ProblemCNAMEBesideOthers, "which DNS forbids"},

		{"an apex with other records only", apexMain, other("MX 10 mail.example.com."), ProblemApexNeedsAddress, "ALIAS"},
		{"an apex with addresses elsewhere", apexMain, addresses("192.0.2.7"), ProblemApexNeedsAddress, "203.0.113.10 2001:db8::10"},
		{"the top of a zone of its own", main, DNSObservation{Outcome: Seen, Apex: true, Addresses: addrs("192.0.2.7")}, ProblemApexNeedsAddress, "ALIAS"},
		{"a stray AAAA", apexMain, addresses("203.0.113.10", "2001:db8:bad::1"), ProblemStrayAddress, `AAAA: "2001:db8:bad::1"`},

		{"flattened by Cloudflare", main, addresses("104.16.132.229", "2606:4700::6810:84e5"), ProblemProxiedByCDN, "Cloudflare"},
		{"flattened by Fastly", main, addresses("151.101.1.57"), ProblemProxiedByCDN, "Fastly"},
		{"CloudFront at an apex", apexMain, addresses("13.224.1.1"), ProblemProxiedByCDN, "CloudFront"},
		{"a CDN by name", main, cname("d111111abcdef8.cloudfront.net."), ProblemProxiedByCDN, "CloudFront"},
		{"a CDN by a name that carries the hostname", main, cname("api.example.com.cdn.cloudflare.net."), ProblemProxiedByCDN, "Cloudflare"},
		{"a wildcard answers for the delegation", delegation, DNSObservation{Outcome: Seen, Chain: []string{"parked.example.org."}, Wildcard: true}, ProblemWildcardAnswers, `"parked.example.org."`},
		{"a wildcard with our own target answers for the delegation", delegation, DNSObservation{Outcome: Seen, Chain: []string{main.Value}, Wildcard: true}, ProblemWildcardAnswers, "adds beside it"},

		{"right, but cached", main, DNSObservation{Outcome: Seen, Chain: []string{main.Value}, At: testEpoch,
			Stale: []StaleAnswer{{"192.0.2.1", "old.example.org.", testEpoch.Add(212 * time.Second), nil}}}, ProblemStillCached, "until about 2026-03-01T12:04:00Z"},
		{"right, and no longer cached", main, DNSObservation{Outcome: Seen, Chain: []string{main.Value}, At: testEpoch,
			Stale: []StaleAnswer{{"192.0.2.1", "old.example.org.", testEpoch, nil}}}, "", ""},
		{"wrong, out of a cache", main, DNSObservation{Outcome: Seen, Chain: []string{"old.example.org."}, Cached: true, TTL: time.Hour, At: testEpoch}, ProblemOldTarget, "until about 2026-03-01T13:00:00Z"},
		{"right, but bogus", main, DNSObservation{Outcome: Seen, Chain: []string{main.Value}, Problem: ZoneBogus}, ProblemDNSSECBogus, "as it should be"},

		{"the domain is gone", main, DNSObservation{Outcome: Absent, NXDomain: true, Problem: ZoneNotRegistered}, ProblemDomainNotRegistered, "example.com does not exist"},
		{"the domain is gone, without an answer", main, failed(ZoneNotRegistered), ProblemDomainNotRegistered, "renews it"},
		{"lame", main, failed(ZoneLame), ProblemZoneLame, "The look-up said: tried 2 servers."},
		{"SERVFAIL", main, failed(ZoneServFail), ProblemServFail, "SERVFAIL"},
		{"bogus", main, failed(ZoneBogus), ProblemDNSSECBogus, "signed anew"},
		{"unreachable", main, failed(ZoneUnreachable), ProblemServersUnreachable, "None of the name servers of example.com answers"},
		{"servers that disagree", main, failed(ZoneDisagrees), ProblemServersDisagree, "do not agree on api.example.com."},
		{"one delegation serves a wildcard", wanted("*.example.com", v1alpha3.PurposeACMEChallenge, ""), cname("_acme-challenge.example.com.cname.example.net."), "", ""},
		{"and its base", wanted(apex, v1alpha3.PurposeACMEChallenge, ""), cname("_acme-challenge.example.com.cname.example.net."), "", ""},
		{"a wildcard's delegation that leads to its main name", wanted("*.example.com", v1alpha3.PurposeACMEChallenge, ""), cname("_wildcard.example.com.cname.example.net."),
			ProblemSwappedTarget, "this hostname's main record"},
		{"a wildcard's delegation as one would guess it", wanted("*.example.com", v1alpha3.PurposeACMEChallenge, ""), cname("_acme-challenge._wildcard.example.com.cname.example.net."),
			ProblemMisspelt, "where its base's does"},
		{"failed otherwise", main, unknown, ProblemLookupFailed, "timeout asking"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := diagnose(c.want, c.o, testSettings.Zone)
			if c.reason == "" {
				if p != nil {
					t.Fatalf("found %+v where nothing is wrong", *p)
				}
				return
			}
			if p == nil || p.Reason != c.reason {
				t.Fatalf("got %+v, want %s", p, c.reason)
			}
			if !strings.Contains(p.Message, c.says) {
				t.Errorf("the message lacks %q: %q", c.says, p.Message)
			}
			if !strings.Contains(p.Message, sentence(c.want)) {
				t.Errorf("the message lacks the exact record: %q", p.Message)
			}
			if len(p.Message) > 1024 {
				t.Errorf("the message is %d octets long: %q", len(p.Message), p.Message)
			}
		})
	}
}

// Names, texts and sentences that come from elsewhere must not break the form of
// a message or fill a status.
func TestForeignTextIsQuotedAndCut(t *testing.T) {
	hostile := strings.Repeat("\x00\n\"\\é\u202e\xff", 2000)
	long := make([]string, 500)
	for i := range long {
		long[i] = hostile
	}
	w := newWorld(t, testHost, true)
	for _, o := range []DNSObservation{
		{Outcome: Seen, Chain: long, Other: long, Err: hostile},
		{Outcome: Seen, Other: append([]string{`TXT ` + hostile}, long...)},
		{Outcome: Absent, Elsewhere: long, Err: hostile},
		{Err: hostile, Problem: ZoneLame},
		{Outcome: Seen, Chain: []string{"api.example.com.cname.example.net."}, At: testEpoch,
			Stale: []StaleAnswer{{hostile, hostile, testEpoch.Add(time.Hour), nil}}},
	} {
		w.obs.Traffic, w.obs.ACMEChallenge, w.obs.Ownership = o, o, o
		w.obs.Certificate.Message, w.obs.Target.Message = hostile, hostile
		w.obs.Certificate.Work, w.obs.Target.Healthy = WorkFailed, false
		w.obs.CAA = CAAObservation{Outcome: Seen, Domain: hostile, Records: []CAARecord{{Flag: 255, Tag: hostile}, {Tag: "issue", Value: hostile}}}
		w.look()
		var texts []string
		for _, c := range w.r.Status.Conditions {
			texts = append(texts, c.Message)
		}
		for _, d := range w.r.Status.DNSRecords {
			if len(d.Observed) > maxObserved {
				t.Errorf("%d values observed", len(d.Observed))
			}
			texts = append(texts, d.Observed...)
			if d.Problem != nil {
				texts = append(texts, d.Problem.Message)
			}
		}
		for _, s := range texts {
			if len(s) > maxMessage || !utf8.ValidString(s) || strings.ContainsAny(s, "\x00\n\u202e") {
				t.Errorf("unfit text of %d octets: %q", len(s), cut(s, 300))
			}
		}
	}
}

// The longest hostname that the zone takes still leaves room for the exact
// record in every message.
func TestTheLongestHostnameFits(t *testing.T) {
	host := strings.Repeat(strings.Repeat("a", 49)+".", 4) + "example.com"
	w := newWorld(t, host, true)
	for _, o := range []DNSObservation{
		absent, unknown, cname(strings.Repeat("b", 63) + ".example.org."), cname(host + ".cname.example.net.example.com."),
		{Outcome: Seen, Wildcard: true, Chain: []string{strings.Repeat("b.", 120), strings.Repeat("c.", 120), strings.Repeat("d.", 120), strings.Repeat("e.", 120)}},
		{Err: strings.Repeat("long words ", 100), Problem: ZoneDisagrees},
	} {
		w.obs.Traffic, w.obs.ACMEChallenge, w.obs.Ownership = o, o, o
		w.look() // checks that the records are there
	}
}

func FuzzDiagnose(f *testing.F) {
	f.Add("api.example.com.cname.example.net.", "TXT \"x\"", true)
	f.Fuzz(func(t *testing.T, target, other string, absent bool) {
		o := DNSObservation{Outcome: Seen, Chain: []string{target}, Other: []string{other}, Elsewhere: []string{target}}
		if absent {
			o.Outcome, o.Chain = Absent, nil
		}
		for _, p := range []v1alpha3.DNSPurpose{v1alpha3.PurposeTraffic, v1alpha3.PurposeACMEChallenge, v1alpha3.PurposeOwnership} {
			want := wanted(testHost, p, "")
			if d := diagnose(want, o, testSettings.Zone); d != nil && (len(d.Message) > maxMessage || !strings.Contains(d.Message, sentence(want))) {
				t.Errorf("unfit message: %q", d.Message)
			}
		}
	})
}
