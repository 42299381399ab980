package ownership

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

func TestUploadWarning(t *testing.T) {
	end := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	for days, want := range map[int]int{31: 0, 30: 30, 15: 30, 14: 14, 4: 14, 3: 3, 0: 3} {
		if got := UploadWarning(end, end.Add(-time.Duration(days)*24*time.Hour)); got != want {
			t.Errorf("%d days before the end the warning is that of %d, want %d", days, got, want)
		}
	}
}

// What the customer brought is shown and told, and changes nothing of ownership.
func TestAnUploadIsShownAndProvesNothing(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	day := 24 * time.Hour
	record := func(prev *v1alpha3.CertificateStatus) *v1alpha3.DomainRecord {
		r := &v1alpha3.DomainRecord{ObjectMeta: metav1.ObjectMeta{Name: "shop.example.com", UID: "u1"}}
		r.Spec.Name, r.Spec.TLS = "shop.example.com", &v1alpha3.DomainRecordTLS{}
		r.Status.Certificate = prev
		return r
	}
	upload := func(uid string, left time.Duration) *UploadedCertificate {
		return &UploadedCertificate{RecordUID: uid, Issuer: "Home CA", SerialNumber: "1", NotBefore: now.Add(-day), NotAfter: now.Add(left), RenewalTime: now.Add(left - 30*day)}
	}
	obtained := CertificateObservation{Outcome: Seen, RecordUID: "u1", Issuer: "le", SerialNumber: "2", Challenge: "dns-01", NotBefore: now.Add(-day), NotAfter: now.Add(80 * day)}
	with := func(o CertificateObservation, u *UploadedCertificate) CertificateObservation {
		o.Uploaded = u
		return o
	}
	absent := CertificateObservation{Outcome: Absent}
	changed := func(change func(*UploadedCertificate)) *UploadedCertificate {
		u := upload("u1", 100*day)
		change(u)
		return u
	}
	for _, c := range []struct {
		name     string
		prev     *v1alpha3.CertificateStatus
		obs      CertificateObservation
		source   string // of status.certificate, empty: there is none
		ready    metav1.ConditionStatus
		says     string
		verified metav1.ConditionStatus
	}{
		{"alone", nil, with(absent, upload("u1", 100*day)), v1alpha3.SourceUploaded, metav1.ConditionTrue, "The customer's own certificate by Home CA is ready", metav1.ConditionFalse},
		{"of another record", nil, with(absent, upload("u2", 100*day)), "", metav1.ConditionFalse, "", metav1.ConditionFalse},
		{"beside one that was obtained", nil, with(obtained, upload("u1", 100*day)), v1alpha3.SourceUploaded, metav1.ConditionTrue, "customer's own", metav1.ConditionTrue},
		{"of another record beside one that was obtained", nil, with(obtained, upload("u2", 100*day)), v1alpha3.SourceACME, metav1.ConditionTrue, "by le is ready", metav1.ConditionTrue},
		{"replaced", nil, with(obtained, changed(func(u *UploadedCertificate) { u.Replaced = true })), v1alpha3.SourceACME, metav1.ConditionTrue, "by le is ready", metav1.ConditionTrue},
		{"near its end with nothing to replace it", nil, with(absent, upload("u1", 10*day)), v1alpha3.SourceUploaded, metav1.ConditionTrue, "in less than 14 days", metav1.ConditionFalse},
		{"expired", nil, with(absent, upload("u1", -day)), v1alpha3.SourceUploaded, metav1.ConditionFalse, "own certificate expired at", metav1.ConditionFalse},
		{"expired beside one that was obtained", nil, with(obtained, upload("u1", -day)), v1alpha3.SourceACME, metav1.ConditionTrue, "by le is ready", metav1.ConditionTrue},
		{"missing in storage", nil, with(absent, changed(func(u *UploadedCertificate) { u.Gone = now })), "", metav1.ConditionFalse, "is not in storage since", metav1.ConditionFalse},
		{"of before a start, not told of yet", &v1alpha3.CertificateStatus{Source: v1alpha3.SourceUploaded, NotAfter: moment(now.Add(100 * day))}, CertificateObservation{}, v1alpha3.SourceUploaded, metav1.ConditionTrue, "customer's own", metav1.ConditionFalse},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := Evaluate(Input{Record: record(c.prev), Settings: Settings{Zone: Zone{Name: "cname.example.net"}, DetachAfter: time.Minute}, Now: now,
				Observations: Observations{Traffic: DNSObservation{Outcome: Absent}, ACMEChallenge: DNSObservation{Outcome: Absent}, Ownership: DNSObservation{Outcome: Absent}, Certificate: c.obs}}).Status
			source := ""
			if s.Certificate != nil {
				if source = s.Certificate.Source; source == v1alpha3.SourceUploaded && s.Certificate.Challenge != "" {
					t.Errorf("an upload has the challenge %q", s.Certificate.Challenge)
				}
			}
			if source != c.source {
				t.Errorf("the certificate is of source %q, want %q", source, c.source)
			}
			ready := s.Condition(v1alpha3.ConditionTLSReady)
			if ready.Status != c.ready || !strings.Contains(ready.Message, c.says) {
				t.Errorf("TLSReady is %s: %s; want %s and %q", ready.Status, ready.Message, c.ready, c.says)
			}
			if got := s.Condition(v1alpha3.ConditionOwnershipVerified).Status; got != c.verified {
				t.Errorf("OwnershipVerified is %s, want %s", got, c.verified)
			}
		})
	}
}
