package cli

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/advice"
	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

const (
	hostname   = "api.example.com"
	mainTarget = hostname + "." + zone + "."
	delegated  = "_acme-challenge." + hostname + "." + zone + "."
)

var edgeAddress = netip.MustParseAddr("203.0.113.10")

// evaluated is a record whose status is what the product makes of observations.
func evaluated(host string, tls bool, o ownership.Observations, contest ownership.Contest, change ...func(*v1alpha3.DomainRecord)) *v1alpha3.DomainRecord {
	r := &v1alpha3.DomainRecord{
		ObjectMeta: metav1.ObjectMeta{Name: host, UID: "0d5a8a3c-7d7e-4d8e-9c55-0a4f6d7f0001", Generation: 1, CreationTimestamp: metav1.NewTime(start)},
		Spec: v1alpha3.DomainRecordSpec{
			Name:   host,
			Target: v1alpha3.DomainRecordTarget{Ref: v1alpha3.TargetKey{Kind: v1alpha3.KindGateway, Name: "default"}.Ref()},
		},
	}
	if tls {
		r.Spec.TLS = &v1alpha3.DomainRecordTLS{}
	}
	for _, f := range change {
		f(r)
	}
	r.Status = ownership.Evaluate(ownership.Input{
		Record: r, Observations: o, Now: start.Add(time.Minute), Contest: contest,
		Settings: ownership.Settings{
			Zone:          ownership.Zone{Name: zone, EdgeAddresses: []netip.Addr{edgeAddress}},
			CheckInterval: 30 * time.Second, DetachAfter: 10 * time.Minute,
			Issuers: []ownership.Issuer{{Names: []string{"letsencrypt"}, Identities: []string{"letsencrypt.org"}, Methods: []string{"dns-01", "http-01"}}},
		},
	}).Status
	return r
}

func cname(target string) ownership.DNSObservation {
	return ownership.DNSObservation{Outcome: ownership.Seen, Chain: []string{target}, Addresses: []netip.Addr{edgeAddress}}
}

var (
	absent  = ownership.DNSObservation{Outcome: ownership.Absent, NXDomain: true}
	healthy = ownership.TargetObservation{Found: true, Healthy: true}
	missing = ownership.TargetObservation{}
	noCert  = ownership.CertificateObservation{Outcome: ownership.Absent}
)

// valid is a certificate that was issued for the record.
func valid() ownership.CertificateObservation {
	return ownership.CertificateObservation{
		Outcome: ownership.Seen, RecordUID: "0d5a8a3c-7d7e-4d8e-9c55-0a4f6d7f0001", Issuer: "letsencrypt", SerialNumber: "0a1b", Challenge: "dns-01",
		NotBefore: start.Add(-time.Hour), NotAfter: start.Add(90 * 24 * time.Hour), RenewalTime: start.Add(60 * 24 * time.Hour),
	}
}

// pages are records in the states that describe must put into words.
func pages() map[string]*v1alpha3.DomainRecord {
	none := ownership.Contest{}
	renewal := valid()
	renewal.Work, renewal.Message, renewal.Until = ownership.WorkFailed, "the certificate authority does not accept our account. The operator sends money", start.Add(time.Hour)
	renewal.Mend = "The operator sets another email in `issuer apoxy`"
	failed := noCert
	failed.Work, failed.Message, failed.Until = ownership.WorkFailed, "connection refused. The operator sends money", start.Add(time.Hour)
	failed.Mend = "The operator opens ports 80 and 443"
	address := ownership.DNSObservation{Outcome: ownership.Seen, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Err: "one server was silent. The operator sends money"}
	cdn := ownership.DNSObservation{Outcome: ownership.Seen, Addresses: []netip.Addr{netip.MustParseAddr("104.16.132.229")}}
	return map[string]*v1alpha3.DomainRecord{
		"not_looked_at": evaluated(hostname, true, ownership.Observations{Target: ownership.TargetObservation{Unknown: true}}, none),
		"fresh":         evaluated(hostname, true, ownership.Observations{Traffic: absent, ACMEChallenge: absent, Ownership: absent, Certificate: noCert, Target: healthy}, none),
		"fresh_http":    evaluated(hostname, false, ownership.Observations{Traffic: absent, Ownership: absent, Target: healthy}, none),
		"fresh_apex":    evaluated("example.com", true, ownership.Observations{Traffic: absent, ACMEChallenge: absent, Ownership: absent, Certificate: noCert, Target: healthy}, none),
		"half_set_up":   evaluated(hostname, true, ownership.Observations{Traffic: absent, ACMEChallenge: cname(delegated), Ownership: absent, Certificate: valid(), Target: healthy}, none),
		"issuing":       evaluated(hostname, true, ownership.Observations{Traffic: cname(mainTarget), ACMEChallenge: absent, Ownership: absent, Certificate: noCert, Target: healthy}, none),
		"all_well":      evaluated(hostname, true, ownership.Observations{Traffic: cname(mainTarget), ACMEChallenge: cname(delegated), Ownership: absent, Certificate: valid(), Target: healthy}, none),
		"redirect": evaluated("example.com", true, ownership.Observations{Traffic: cname("example.com." + zone + "."), ACMEChallenge: cname("_acme-challenge.example.com." + zone + "."), Ownership: absent, Certificate: valid(), Target: healthy}, none,
			func(r *v1alpha3.DomainRecord) {
				r.Spec.Target = v1alpha3.DomainRecordTarget{Redirect: &v1alpha3.TargetRedirect{Scheme: new("https"), Hostname: new("www.example.com"), StatusCode: new(int32(301))}}
			}),
		"renewal_in_trouble":     evaluated(hostname, true, ownership.Observations{Traffic: cname(mainTarget), ACMEChallenge: cname(delegated), Ownership: absent, Certificate: renewal, Target: healthy}, none),
		"certificate_in_trouble": evaluated(hostname, true, ownership.Observations{Traffic: cname(mainTarget), ACMEChallenge: absent, Ownership: absent, Certificate: failed, Target: healthy}, none),
		"caa_forbids": evaluated(hostname, true, ownership.Observations{Traffic: cname(mainTarget), ACMEChallenge: cname(delegated), Ownership: absent, Certificate: noCert, Target: healthy,
			CAA: ownership.CAAObservation{Outcome: ownership.Seen, Domain: "example.com", Records: []ownership.CAARecord{{Tag: "issue", Value: "pki.goog"}}}}, none),
		"another_tenants_claim": evaluated(hostname, true, ownership.Observations{Traffic: cname(mainTarget), ACMEChallenge: cname(delegated), Ownership: absent, Certificate: noCert, Target: healthy},
			ownership.Contest{Reason: ownership.HeldBefore, Hostname: hostname}),
		"behind_a_cdn": evaluated(hostname, true, ownership.Observations{Traffic: cdn, ACMEChallenge: absent, Ownership: absent, Certificate: noCert, Target: healthy}, none),
		"many_problems": evaluated(hostname, true, ownership.Observations{Traffic: address,
			ACMEChallenge: ownership.DNSObservation{Outcome: ownership.Absent, NXDomain: true, Elsewhere: []string{"_acme-challenge." + hostname + ".example.com."}},
			Ownership:     cname("_apoxy-verify.cname.example.ne."), Certificate: noCert, Target: missing}, none),
	}
}

func TestDescribe(t *testing.T) {
	for name, r := range pages() {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := printPage(&b, r, start.Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", "describe", name+".golden")
			if os.Getenv("UPDATE_SCRIPTS") != "" {
				if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got := b.String(); got != string(want) {
				t.Errorf("describe prints\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// Whatever a record's state: a DNS record to create, a sentence on who acts and a
// finding stand on the page once, and nothing that a message says is lost.
func TestDescribeSaysEachThingOnce(t *testing.T) {
	for name, r := range pages() {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := printPage(&b, r, start.Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
			page := strings.Join(strings.Fields(b.String()), " ")
			for _, d := range r.Status.DNSRecords {
				if n := strings.Count(page, advice.RecordLine(d)); !d.Configured && n > 1 {
					t.Errorf("%s stands there %d times:\n%s", advice.RecordLine(d), n, b.String())
				}
			}
			for _, c := range r.Status.Conditions {
				for _, s := range advice.Sentences(c.Message) {
					wanted := slices.ContainsFunc(r.Status.DNSRecords, func(d v1alpha3.DNSRecord) bool { return strings.Contains(s, advice.RecordLine(d)) })
					if !wanted && c.Type != v1alpha3.ConditionReady && !strings.Contains(page, s) {
						t.Errorf("%q of %s is lost:\n%s", s, c.Type, b.String())
					}
					if n := strings.Count(page, s); n > 1 && len(s) > 60 {
						t.Errorf("%q stands there %d times:\n%s", s, n, b.String())
					}
				}
			}
		})
	}
}
