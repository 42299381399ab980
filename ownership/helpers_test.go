package ownership

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

const (
	testHost       = "api.example.com"
	testMain       = "api.example.com. CNAME api.example.com.cname.example.net."
	testDelegation = "_acme-challenge.api.example.com. CNAME _acme-challenge.api.example.com.cname.example.net."
	testChallenge  = "_apoxy-challenge.api.example.com. CNAME _apoxy-verify.cname.example.net."
)

var (
	testEpoch    = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	testSettings = Settings{
		Zone: Zone{
			Name:          "cname.example.net",
			EdgeAddresses: addrs("203.0.113.10", "2001:db8::10"),
		},
		CheckInterval: 30 * time.Second,
		DetachAfter:   10 * time.Minute,
		Issuers:       []Issuer{{Names: []string{"letsencrypt"}, Identities: []string{"letsencrypt.org"}, Methods: []string{"dns-01", "http-01", "tls-alpn-01"}}},
	}
)

func addrs(list ...string) []netip.Addr {
	out := make([]netip.Addr, len(list))
	for i, s := range list {
		out[i] = netip.MustParseAddr(s)
	}
	return out
}

// newRecord is a record as the API has just created it.
func newRecord(host string, tls bool) *v1alpha3.DomainRecord {
	r := &v1alpha3.DomainRecord{
		ObjectMeta: metav1.ObjectMeta{
			Name: host, UID: "0d5a8a3c-7d7e-4d8e-9c55-0a4f6d7f0001", Generation: 1,
			CreationTimestamp: metav1.NewTime(testEpoch),
		},
		Spec: v1alpha3.DomainRecordSpec{
			Name:   host,
			Target: v1alpha3.DomainRecordTarget{Ref: v1alpha3.TargetKey{Group: "gateway.apoxy.dev", Kind: v1alpha3.KindGateway, Name: "default"}.Ref()},
		},
	}
	if tls {
		r.Spec.TLS = &v1alpha3.DomainRecordTLS{}
	}
	return r
}

// cname is a name with a CNAME chain, absent one without anything, unknown one
// that could not be looked up.
func cname(chain ...string) DNSObservation { return DNSObservation{Outcome: Seen, Chain: chain} }

var (
	absent  = DNSObservation{Outcome: Absent, NXDomain: true}
	unknown = DNSObservation{Err: "timeout asking 192.0.2.53"}
)

// right is the observation of a record as it should be.
func right(r *v1alpha3.DomainRecord, p v1alpha3.DNSPurpose, token string) DNSObservation {
	for _, d := range v1alpha3.ExpectedDNSRecords(r, testSettings.Zone.Name, token) {
		if d.Purpose == p {
			return cname(d.Value)
		}
	}
	return absent
}

// certificateUntil is a certificate that ends at notAfter.
func certificateUntil(notAfter time.Time) CertificateObservation {
	return CertificateObservation{
		Outcome: Seen, Issuer: "Test CA", SerialNumber: "0a", Challenge: "dns-01",
		RecordUID: "0d5a8a3c-7d7e-4d8e-9c55-0a4f6d7f0001",
		NotBefore: testEpoch.Add(-time.Hour), NotAfter: notAfter, RenewalTime: notAfter.Add(-time.Hour),
	}
}

// world is a record and what stands in DNS for it.
type world struct {
	t        *testing.T
	r        *v1alpha3.DomainRecord
	now      time.Time
	obs      Observations
	token    string
	hold     bool
	covered  bool
	settings Settings
	last     Verdict
	looks    int
	// unchecked: the steps of the looks are not taken one by one.
	unchecked bool
}

func newWorld(t *testing.T, host string, tls bool) *world {
	w := &world{t: t, r: newRecord(host, tls), now: testEpoch, settings: testSettings}
	w.obs = Observations{
		Traffic: absent, ACMEChallenge: absent, Ownership: absent,
		Certificate: CertificateObservation{Outcome: Absent},
		Target:      TargetObservation{Found: true, Healthy: true},
	}
	w.r.Status = Initial(w.r, Contest{}, w.settings, w.now)
	return w
}

func (w *world) input() Input {
	in := Input{Record: w.r, Observations: w.obs, Settings: w.settings, Now: w.now, Covered: w.covered, NewName: w.last.NewName,
		HoldDetach: w.hold, HeldSince: testEpoch.Add(59 * time.Minute), HeldUntil: testEpoch.Add(119 * time.Minute)}
	if w.token != "" {
		in.Contest = Contest{HeldBefore, w.r.Spec.Name}
	}
	return in
}

// look evaluates once, keeps the status and checks what holds always.
func (w *world) look() Verdict {
	w.t.Helper()
	if w.looks++; w.looks <= 3 && !w.unchecked {
		checkSteps(w.t, w.input())
	}
	v := Evaluate(w.input())
	w.r.Status = v.Status
	w.last = v
	again := Evaluate(w.input())
	if !Equal(v.Status, again.Status) && !v.Falls {
		w.t.Errorf("evaluating its own result changes it:\n%s", cmp.Diff(v.Status, again.Status))
	}
	checkForm(w.t, w.r)
	return v
}

// checkForm checks what every status promises.
func checkForm(t *testing.T, r *v1alpha3.DomainRecord) {
	t.Helper()
	s := &r.Status
	for _, c := range s.Conditions {
		if c.Message == "" || c.Reason == "" || c.LastTransitionTime.IsZero() {
			t.Errorf("condition %s is incomplete: %+v", c.Type, c)
		}
		if len(c.Message) > maxMessage || strings.Contains(c.Message, "..") && !strings.Contains(c.Message, "...") {
			t.Errorf("condition %s has a message too long or badly ended: %q", c.Type, c.Message)
		}
	}
	for kind, purpose := range map[string]v1alpha3.DNSPurpose{
		v1alpha3.ConditionCNAMEConfigured:              v1alpha3.PurposeTraffic,
		v1alpha3.ConditionACMEChallengeDelegationReady: v1alpha3.PurposeACMEChallenge,
	} {
		if c, d := s.Condition(kind), s.DNSRecord(purpose); c != nil && !strings.Contains(c.Message, sentence(*d)) {
			t.Errorf("the message of %s lacks the exact record: %q", kind, c.Message)
		}
	}
	if r.WantsTLS() != (s.Condition(v1alpha3.ConditionTLSReady) != nil) {
		t.Errorf("TLSReady is there without TLS or not there with it")
	}
}

// is checks status and reason of a condition.
func (w *world) is(kind string, status metav1.ConditionStatus, reason string) {
	w.t.Helper()
	c := w.r.Status.Condition(kind)
	if c == nil || c.Status != status || c.Reason != reason {
		w.t.Errorf("%s: got %+v, want %s %s", kind, c, status, reason)
	}
}

func (w *world) phase(p v1alpha3.Phase) {
	w.t.Helper()
	if w.r.Status.Phase != p {
		w.t.Errorf("phase is %s, want %s", w.r.Status.Phase, p)
	}
}
