package ownership

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

const (
	tru = metav1.ConditionTrue
	fls = metav1.ConditionFalse
	unk = metav1.ConditionUnknown

	own   = v1alpha3.ConditionOwnershipVerified
	tlsr  = v1alpha3.ConditionTLSReady
	deleg = v1alpha3.ConditionACMEChallengeDelegationReady
	cnamc = v1alpha3.ConditionCNAMEConfigured
	targ  = v1alpha3.ConditionTargetReady
	ready = v1alpha3.ConditionReady
)

func TestInitialSaysWhatToCreate(t *testing.T) {
	w := newWorld(t, testHost, true)
	checkForm(t, w.r)
	w.phase(v1alpha3.PhasePending)
	w.is(own, fls, v1alpha3.ReasonOwnershipNotVerified)
	w.is(tlsr, fls, v1alpha3.ReasonWaitingForDNS)
	w.is(deleg, unk, v1alpha3.ReasonACMEChallengeDelegationNotConfigured)
	w.is(cnamc, unk, v1alpha3.ReasonCNAMENotConfigured)
	w.is(targ, unk, v1alpha3.ReasonTargetNotFound)
	w.is(ready, fls, v1alpha3.ReasonOwnershipNotVerified)
	if got := len(w.r.Status.DNSRecords); got != 3 {
		t.Errorf("%d dnsRecords, want 3", got)
	}
	for _, record := range []string{testMain, testDelegation, testChallenge} {
		if m := w.r.Status.Condition(own).Message; !strings.Contains(m, record) {
			t.Errorf("the message of OwnershipVerified lacks %q: %q", record, m)
		}
	}
}

// Each row is one observation of a fresh record and all that follows from it.
func TestFirstLook(t *testing.T) {
	full := func(kind v1alpha3.DNSPurpose) func(*world) {
		return func(w *world) {
			o := right(w.r, kind, w.token)
			switch kind {
			case v1alpha3.PurposeTraffic:
				w.obs.Traffic = o
			case v1alpha3.PurposeACMEChallenge:
				w.obs.ACMEChallenge = o
			case v1alpha3.PurposeOwnership:
				w.obs.Ownership = o
			}
		}
	}
	cert := func(w *world) { w.obs.Certificate = certificateUntil(testEpoch.Add(24 * time.Hour)) }
	work := func(k Work) func(*world) {
		return func(w *world) { w.obs.Certificate.Work = k; w.obs.Certificate.Message = "the CA's words" }
	}
	traffic, delegation, challenge := full(v1alpha3.PurposeTraffic), full(v1alpha3.PurposeACMEChallenge), full(v1alpha3.PurposeOwnership)
	token := func(w *world) { w.token = v1alpha3.VerifyToken(w.r.UID) }
	inherited := func(w *world) { cert(w); w.obs.Certificate.RecordUID = "another" }
	foreign := func(w *world) { inherited(w); w.obs.Certificate.RecordOwner = "somebody-else" }

	for _, c := range []struct {
		name  string
		tls   bool
		world []func(*world)

		phase            v1alpha3.Phase
		ownership, tlsIs string // reasons; "+" before one that is True
		dns01, http01    bool
		want             bool
	}{
		{"with TLS and nothing there it is pending", true, nil, "Pending", "OwnershipNotVerified", "WaitingForDNS", false, false, false},
		{"the delegation alone starts issuance by DNS-01", true, []func(*world){delegation}, "Issuing", "OwnershipNotVerified", "Issuing", true, false, true},
		{"the main record alone starts issuance by HTTP-01", true, []func(*world){traffic}, "Issuing", "OwnershipNotVerified", "Issuing", false, true, true},
		{"the challenge alone proves but opens no way to a certificate", true, []func(*world){challenge}, "Issuing", "+ApoxyChallengeConfigured", "WaitingForDNS", false, false, false},
		{"a certificate proves without anything in DNS", true, []func(*world){cert}, "Active", "+TLSCertificateIssued", "+CertificateIssued", false, false, true},
		{"a certificate comes before the challenge as reason", true, []func(*world){cert, challenge}, "Active", "+TLSCertificateIssued", "+CertificateIssued", false, false, true},
		{"everything in place", true, []func(*world){cert, traffic, delegation, challenge}, "Active", "+TLSCertificateIssued", "+CertificateIssued", true, true, true},
		{"queued is issuing", true, []func(*world){delegation, work(WorkQueued)}, "Issuing", "OwnershipNotVerified", "Issuing", true, false, true},
		{"issuance that waits for DNS is waiting", true, []func(*world){delegation, work(WorkNone)}, "Issuing", "OwnershipNotVerified", "WaitingForDNS", true, false, true},
		{"in flight is issuing", true, []func(*world){delegation, work(WorkIssuing)}, "Issuing", "OwnershipNotVerified", "Issuing", true, false, true},
		{"a failed order is an error", true, []func(*world){delegation, work(WorkFailed)}, "Issuing", "OwnershipNotVerified", "CertificateError", true, false, true},
		{"a hold of the CA is told", true, []func(*world){delegation, work(WorkRateLimited)}, "Issuing", "OwnershipNotVerified", "RateLimited", true, false, true},
		{"CAA found by issuance is told", true, []func(*world){delegation, work(WorkCAAForbids)}, "Issuing", "OwnershipNotVerified", "CAAForbidden", true, false, true},
		{"CAA found by the look is told, and closes every way", true, []func(*world){delegation, func(w *world) {
			w.obs.CAA = CAAObservation{Outcome: Seen, Domain: "example.com", Records: []CAARecord{{Tag: "issue", Value: "other.test"}}}
		}}, "Issuing", "OwnershipNotVerified", "CAAForbidden", false, false, true},
		{"a failed order matters less than a missing record", true, []func(*world){work(WorkFailed)}, "Pending", "OwnershipNotVerified", "WaitingForDNS", false, false, false},
		{"an expired certificate is no proof", true, []func(*world){func(w *world) { w.obs.Certificate = certificateUntil(testEpoch.Add(-time.Second)) }},
			"Pending", "OwnershipNotVerified", "CertificateExpired", false, false, false},
		{"a certificate of an earlier record proves nothing by itself", true, []func(*world){inherited}, "Pending", "OwnershipNotVerified", "WaitingForDNS", false, false, false},
		{"a certificate of the owner's earlier record counts with the delegation", true, []func(*world){inherited, delegation}, "Active", "+TLSCertificateIssued", "+CertificateIssued", true, false, true},
		{"a certificate of the owner's earlier record counts with the main record", true, []func(*world){inherited, traffic}, "Active", "+TLSCertificateIssued", "+CertificateIssued", false, true, true},
		{"a certificate of the owner's earlier record counts with the challenge", true, []func(*world){inherited, challenge}, "Active", "+TLSCertificateIssued", "+CertificateIssued", false, false, true},
		{"a certificate of another owner's record never counts", true, []func(*world){foreign, delegation}, "Issuing", "OwnershipNotVerified", "Issuing", true, false, true},
		{"a certificate of another owner's record does not count with the challenge either", true, []func(*world){foreign, challenge}, "Issuing", "+ApoxyChallengeConfigured", "WaitingForDNS", false, false, false},
		{"bogus signatures open no way", true, []func(*world){delegation, func(w *world) { w.obs.ACMEChallenge.Problem = ZoneBogus }},
			"Issuing", "OwnershipNotVerified", "WaitingForDNS", false, false, false},

		{"without TLS and nothing there it is pending", false, nil, "Pending", "OwnershipNotVerified", "", false, false, false},
		{"without TLS the main record proves", false, []func(*world){traffic}, "Active", "+CNAMEConfigured", "", false, false, false},
		{"without TLS the challenge proves", false, []func(*world){challenge}, "Active", "+ApoxyChallengeConfigured", "", false, false, false},
		{"without TLS a certificate is no proof", false, []func(*world){cert}, "Pending", "OwnershipNotVerified", "", false, false, false},

		{"a left-behind main record proves nothing to a later tenant", false, []func(*world){token, traffic}, "Pending", "OwnershipNotVerified", "", false, false, false},
		{"a left-behind main record issues nothing for a later tenant", true, []func(*world){token, traffic}, "Pending", "OwnershipNotVerified", "WaitingForDNS", false, false, false},
		{"a left-behind delegation issues nothing for a later tenant", true, []func(*world){token, delegation}, "Pending", "OwnershipNotVerified", "WaitingForDNS", false, false, false},
		{"the bare challenge proves nothing to a later tenant", true, []func(*world){challenge, token}, "Pending", "OwnershipNotVerified", "WaitingForDNS", false, false, false},
		{"an earlier tenant's certificate proves nothing to a later one", true, []func(*world){token, foreign}, "Pending", "OwnershipNotVerified", "WaitingForDNS", false, false, false},
		{"the challenge with the token proves", true, []func(*world){token, challenge, traffic}, "Issuing", "+ApoxyChallengeConfigured", "Issuing", false, true, true},
		{"a certificate that was in flight proves nothing to a later tenant", true, []func(*world){token, cert, traffic}, "Pending", "OwnershipNotVerified", "+CertificateIssued", false, false, false},
		{"a certificate that was in flight counts once the token is there", true, []func(*world){token, cert, challenge}, "Active", "+TLSCertificateIssued", "+CertificateIssued", false, false, true},
		{"an inherited certificate of a contested record waits for the token", true, []func(*world){token, inherited, delegation, traffic}, "Pending", "OwnershipNotVerified", "WaitingForDNS", false, false, false},
		{"an inherited certificate of a contested record counts with the token", true, []func(*world){token, inherited, challenge}, "Active", "+TLSCertificateIssued", "+CertificateIssued", false, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, testHost, c.tls)
			w.now = w.now.Add(newNameFor) // nobody remembers that the challenge name was not there
			for _, f := range c.world {
				f(w)
			}
			v := w.look()
			w.phase(c.phase)
			check := func(kind, reason string) {
				if reason == "" {
					return
				}
				if r, ok := strings.CutPrefix(reason, "+"); ok {
					w.is(kind, tru, r)
				} else {
					w.is(kind, fls, reason)
				}
			}
			check(own, c.ownership)
			check(tlsr, c.tlsIs)
			if v.DNS01 != c.dns01 || v.HTTP01 != c.http01 || v.WantCertificate != c.want {
				t.Errorf("DNS01=%v HTTP01=%v WantCertificate=%v, want %v %v %v", v.DNS01, v.HTTP01, v.WantCertificate, c.dns01, c.http01, c.want)
			}
		})
	}
}

func TestReadyNeedsEverythingButTheDelegation(t *testing.T) {
	w := newWorld(t, testHost, true)
	w.obs.Certificate = certificateUntil(testEpoch.Add(time.Hour))
	w.look()
	w.is(ready, fls, v1alpha3.ReasonCNAMENotConfigured)

	w.obs.Traffic = right(w.r, v1alpha3.PurposeTraffic, "")
	w.look()
	w.is(ready, tru, v1alpha3.ReasonReady)
	w.is(deleg, fls, v1alpha3.ReasonACMEChallengeDelegationNotConfigured)

	w.obs.Target = TargetObservation{Found: true, Message: "connection refused"}
	w.look()
	w.is(ready, fls, v1alpha3.ReasonTargetUnhealthy)
	w.is(own, tru, v1alpha3.ReasonTLSCertificateIssued)
	w.is(tlsr, tru, v1alpha3.ReasonCertificateIssued)
	w.phase(v1alpha3.PhaseActive)

	w.obs.Target = TargetObservation{}
	w.look()
	w.is(ready, fls, v1alpha3.ReasonTargetNotFound)
}

func TestARedirectIsReadyWhereASiteServesRecords(t *testing.T) {
	w := newWorld(t, testHost, true)
	w.r.Spec.Target = v1alpha3.DomainRecordTarget{Redirect: &v1alpha3.TargetRedirect{Hostname: new("www.example.com"), StatusCode: new(int32(308))}}
	for _, c := range []struct {
		seen   TargetObservation
		status metav1.ConditionStatus
		reason string
		says   string
	}{
		{TargetObservation{Unknown: true}, unk, v1alpha3.ReasonTargetNotFound, `to "www.example.com" with 308 is not known yet`},
		{TargetObservation{}, fls, v1alpha3.ReasonTargetNotFound, "The operator adds the handler apoxy to a site"},
		{TargetObservation{Found: true, Healthy: true}, tru, v1alpha3.ReasonTargetHealthy, `Every request is redirected to "www.example.com" with 308.`},
		{TargetObservation{Unknown: true}, tru, v1alpha3.ReasonTargetHealthy, "what was known before holds"},
	} {
		w.obs.Target = c.seen
		w.look()
		w.is(targ, c.status, c.reason)
		if m := w.r.Status.Condition(targ).Message; !strings.Contains(m, c.says) {
			t.Errorf("%+v: the message is %q, want it to say %q", c.seen, m, c.says)
		}
		if got := w.r.Status.Type; got != v1alpha3.StatusTypeRedirect {
			t.Errorf("status.type is %q", got)
		}
	}
}

func TestTargetThatNothingChecksIsNotCalledHealthy(t *testing.T) {
	w := newWorld(t, testHost, true)
	for unchecked, want := range map[bool]string{true: `Gateway "default" is configured; nothing checks it.`, false: `The backend of Gateway "default" is healthy.`} {
		w.obs.Target.Unchecked = unchecked
		w.look()
		w.is(targ, tru, v1alpha3.ReasonTargetHealthy)
		if got := w.r.Status.Condition(targ).Message; got != want {
			t.Errorf("the message is %q, want %q", got, want)
		}
	}
}

func TestAHealthyTargetSaysWhoServes(t *testing.T) {
	w := newWorld(t, testHost, true)
	w.obs.Target.Message = "1 agent is connected: desk"
	w.look()
	if got, want := w.r.Status.Condition(targ).Message, `The backend of Gateway "default" is healthy: 1 agent is connected: desk.`; got != want {
		t.Errorf("the message is %q, want %q", got, want)
	}
}

// Issuance, which knows the account and the methods, may tell the line to add;
// only where it does not the plain one is told.
func TestACAARefusalIsMendedOnce(t *testing.T) {
	for mended, want := range map[bool]string{true: "the line to add", false: testHost + ". CAA 0 issue"} {
		w := newWorld(t, testHost, true)
		w.obs.Traffic = right(w.r, v1alpha3.PurposeTraffic, w.token)
		w.obs.Certificate.Work, w.obs.Certificate.Message, w.obs.Certificate.FoundHere = WorkCAAForbids, "the line to add", mended
		w.look()
		w.is(tlsr, fls, v1alpha3.ReasonCAAForbidden)
		msg := w.r.Status.Condition(v1alpha3.ConditionTLSReady).Message
		if !strings.Contains(msg, want) || mended && strings.Contains(msg, "CAA 0 issue") {
			t.Errorf("mended %v: %q", mended, msg)
		}
	}
}

// A revoked certificate has not expired: it stands until it is replaced.
func TestARevocationByTheCAIsTold(t *testing.T) {
	w := newWorld(t, testHost, true)
	w.obs.Certificate = certificateUntil(testEpoch.Add(time.Hour))
	w.obs.Certificate.Revoked, w.obs.Certificate.RevocationReason = testEpoch.Add(-time.Minute), "keyCompromise"
	w.look()
	w.is(own, tru, v1alpha3.ReasonTLSCertificateIssued)
	w.is(tlsr, tru, v1alpha3.ReasonCertificateIssued)
	const want = "The certificate authority revoked it at 2026-03-01T11:59:00Z (keyCompromise), and it is being replaced."
	if m := w.r.Status.Condition(tlsr).Message; !strings.Contains(m, want) {
		t.Errorf("the message %q lacks %q", m, want)
	}
	w.now = testEpoch.Add(2 * time.Hour)
	w.look()
	if m := w.r.Status.Condition(tlsr).Message; strings.Contains(m, "revoked") {
		t.Errorf("of an expired certificate the message says %q", m)
	}
}

func TestTransitionTimesMoveWithTheStatusOnly(t *testing.T) {
	w := newWorld(t, testHost, false)
	w.now = testEpoch.Add(time.Minute)
	w.obs.Traffic = cname("old.example.org.")
	w.look()
	w.is(cnamc, fls, v1alpha3.ReasonCNAMEMismatch)
	at := w.r.Status.Condition(cnamc).LastTransitionTime
	if !at.Time.Equal(w.now) {
		t.Errorf("Unknown to False did not move the time: %v", at)
	}
	w.now = testEpoch.Add(2 * time.Minute)
	w.obs.Traffic = absent
	w.look()
	w.is(cnamc, fls, v1alpha3.ReasonCNAMENotConfigured)
	if got := w.r.Status.Condition(cnamc).LastTransitionTime; !got.Equal(&at) {
		t.Errorf("a new reason moved the time from %v to %v", at, got)
	}
}

func TestApexIsReachedByAddresses(t *testing.T) {
	w := newWorld(t, "example.com", false)
	w.obs.Traffic = DNSObservation{Outcome: Seen, Addresses: addrs("2001:db8::10", "203.0.113.10")}
	w.look()
	w.is(cnamc, tru, v1alpha3.ReasonAddressConfigured)
	w.is(own, tru, v1alpha3.ReasonCNAMEConfigured)

	w.obs.Traffic = unknown
	w.look()
	w.is(cnamc, tru, v1alpha3.ReasonAddressConfigured)

	w.obs.Traffic = DNSObservation{Outcome: Seen, Addresses: addrs("203.0.113.10", "2001:db8:bad::1")}
	w.look()
	w.is(cnamc, fls, v1alpha3.ReasonCNAMEMismatch)

	flat := newWorld(t, "example.com", false) // an edge that is a hostname, flattened by the provider
	flat.settings.Zone.EdgeHost = "lb.example.org"
	flat.obs.Traffic = DNSObservation{Outcome: Seen, Addresses: addrs("203.0.113.10")}
	flat.look()
	flat.is(cnamc, tru, v1alpha3.ReasonAddressConfigured)
	flat.settings.Zone.EdgeAddresses = nil // it does not resolve for a while
	flat.look()
	flat.is(cnamc, tru, v1alpha3.ReasonAddressConfigured)
	if m := flat.r.Status.Condition(cnamc).Message; !strings.Contains(m, "lb.example.org itself does not resolve") {
		t.Errorf("message %q", m)
	}
	flat.settings.Zone.EdgeAddresses = addrs("203.0.113.77")
	flat.look()
	flat.is(cnamc, fls, v1alpha3.ReasonCNAMEMismatch)
}

func TestWildcardNeedsTheDelegation(t *testing.T) {
	w := newWorld(t, "*.example.com", true)
	w.obs.Traffic = right(w.r, v1alpha3.PurposeTraffic, "")
	v := w.look()
	if v.HTTP01 || v.WantCertificate {
		t.Errorf("a wildcard is to be issued by HTTP-01: %+v", v)
	}
	w.phase(v1alpha3.PhasePending)
	w.obs.ACMEChallenge = right(w.r, v1alpha3.PurposeACMEChallenge, "")
	if v := w.look(); !v.DNS01 || !v.WantCertificate {
		t.Errorf("a wildcard with its delegation is not to be issued: %+v", v)
	}
	w.phase(v1alpha3.PhaseIssuing)
}

func TestChainsCountWhenTheyPassThroughTheValue(t *testing.T) {
	for _, c := range []struct {
		name  string
		chain []string
		ok    bool
	}{
		{"directly", []string{"api.example.com.cname.example.net."}, true},
		{"in other letters", []string{"API.example.com.CNAME.example.net."}, true},
		{"through another name", []string{"lb.example.com.", "api.example.com.cname.example.net."}, true},
		{"on to the edge's hostname", []string{"api.example.com.cname.example.net.", "edge.example.net."}, true},
		{"to another record's target", []string{"shop.example.com.cname.example.net."}, false},
		{"to the zone itself", []string{"cname.example.net."}, false},
		{"to a name that only begins alike", []string{"api.example.com.cname.example.net.evil.test."}, false},
		{"to a name that only ends alike", []string{"x-api.example.com.cname.example.net."}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, testHost, false)
			w.obs.Traffic = cname(c.chain...)
			w.look()
			if got := w.r.Status.Condition(cnamc).Status == tru; got != c.ok {
				t.Errorf("CNAMEConfigured is %v", got)
			}
		})
	}
}

func TestCaveatsOfARightAnswerAreTold(t *testing.T) {
	w := newWorld(t, testHost, true)
	w.obs.ACMEChallenge = right(w.r, v1alpha3.PurposeACMEChallenge, "")
	w.obs.ACMEChallenge.Err = "1 of 4 name servers of example.com do not serve it: 192.0.2.53 REFUSED"
	w.look()
	w.is(deleg, tru, v1alpha3.ReasonACMEChallengeDelegationConfigured)
	if m := w.r.Status.Condition(deleg).Message; m != testDelegation+" is in place. The look-up said: 1 of 4 name servers of example.com do not serve it: 192.0.2.53 REFUSED." {
		t.Errorf("message: %q", m)
	}
}

func TestForeignConditionsAreKept(t *testing.T) {
	w := newWorld(t, testHost, false)
	w.r.Status.Conditions = append(w.r.Status.Conditions, metav1.Condition{Type: "Billed", Status: tru, Reason: "Paid", Message: "m", LastTransitionTime: metav1.NewTime(testEpoch)})
	w.look()
	w.is("Billed", tru, "Paid")
}
