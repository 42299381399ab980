package ownership

import (
	"strings"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

func TestDetachNeedsAbsenceForTheWholeTime(t *testing.T) {
	w := newWorld(t, testHost, false)
	w.obs.Traffic = right(w.r, v1alpha3.PurposeTraffic, "")
	w.look()
	w.phase(v1alpha3.PhaseActive)

	w.now = testEpoch.Add(time.Hour)
	w.obs.Traffic = absent
	v := w.look()
	w.is(own, tru, v1alpha3.ReasonCNAMEConfigured)
	w.is(cnamc, fls, v1alpha3.ReasonCNAMENotConfigured)
	if !v.Withdrawing || !v.WithdrawnSince.Equal(w.now) {
		t.Errorf("not withdrawing since now: %+v", v)
	}
	if m := w.r.Status.Condition(own).Message; !strings.Contains(m, "2026-03-01T13:10:00Z") {
		t.Errorf("the message does not say until when: %q", m)
	}

	w.now = testEpoch.Add(time.Hour + 10*time.Minute - time.Second)
	w.look()
	w.is(own, tru, v1alpha3.ReasonCNAMEConfigured)

	w.now = w.now.Add(time.Second)
	if v := w.look(); !v.Falls {
		t.Errorf("does not fall: %+v", v)
	}
	w.is(own, fls, v1alpha3.ReasonProofWithdrawn)
	w.phase(v1alpha3.PhaseDetached)

	w.now = w.now.Add(time.Hour)
	w.look()
	w.is(own, fls, v1alpha3.ReasonProofWithdrawn)
	w.phase(v1alpha3.PhaseDetached)

	w.obs.Ownership = right(w.r, v1alpha3.PurposeOwnership, "")
	w.look()
	w.is(own, tru, v1alpha3.ReasonApoxyChallengeConfigured)
	w.phase(v1alpha3.PhaseActive)
}

func TestAProofThatComesBackStopsTheDetach(t *testing.T) {
	w := newWorld(t, testHost, false)
	w.obs.Traffic = right(w.r, v1alpha3.PurposeTraffic, "")
	w.look()
	w.obs.Traffic = absent
	w.look()
	w.now = w.now.Add(9 * time.Minute)
	w.obs.Traffic = right(w.r, v1alpha3.PurposeTraffic, "")
	if v := w.look(); v.Withdrawing {
		t.Errorf("still withdrawing: %+v", v)
	}
	w.now = w.now.Add(9 * time.Minute)
	w.obs.Traffic = absent
	w.look()
	w.now = w.now.Add(9 * time.Minute)
	w.look()
	w.is(own, tru, v1alpha3.ReasonCNAMEConfigured)
}

func TestALookThatCouldNotTellEndsNothing(t *testing.T) {
	w := newWorld(t, testHost, false)
	w.obs.Traffic = right(w.r, v1alpha3.PurposeTraffic, "")
	w.look()
	w.obs.Traffic = absent
	w.look()
	w.now = w.now.Add(time.Hour)
	w.obs.Ownership = unknown
	w.look()
	w.is(own, tru, v1alpha3.ReasonCNAMEConfigured)
	w.obs.Ownership, w.obs.Traffic = absent, unknown
	w.look()
	w.is(own, tru, v1alpha3.ReasonCNAMEConfigured)
	w.obs.Traffic = absent
	w.look()
	w.is(own, fls, v1alpha3.ReasonProofWithdrawn)
}

func TestTheBrakeHoldsTheFall(t *testing.T) {
	w := newWorld(t, testHost, false)
	w.obs.Traffic = right(w.r, v1alpha3.PurposeTraffic, "")
	w.look()
	w.obs.Traffic = absent
	w.look()
	w.now = w.now.Add(time.Hour)
	w.hold = true
	if v := w.look(); v.Falls || !v.Held || !v.Withdrawing {
		t.Errorf("the brake does not hold: %+v", v)
	}
	for _, part := range []string{"since 2026-03-01T12:59:00Z", "until 2026-03-01T13:59:00Z at most", "`caddy apoxy brake release`"} {
		if m := w.r.Status.Condition(own).Message; !strings.Contains(m, part) {
			t.Errorf("the message lacks %q: %s", part, m)
		}
	}
	w.is(own, tru, v1alpha3.ReasonCNAMEConfigured)
	w.hold = false
	if v := w.look(); !v.Falls {
		t.Errorf("does not fall after the brake: %+v", v)
	}
}

func TestAnUnexpiredCertificateOutlivesAllDNS(t *testing.T) {
	w := newWorld(t, testHost, true)
	expiry := testEpoch.Add(48 * time.Hour)
	w.obs.Certificate = certificateUntil(expiry)
	w.obs.Traffic = right(w.r, v1alpha3.PurposeTraffic, "")
	w.look()
	w.obs.Traffic = absent
	w.now = testEpoch.Add(47 * time.Hour)
	if v := w.look(); v.Withdrawing || v.Falls {
		t.Errorf("withdrawing under a valid certificate: %+v", v)
	}
	w.is(own, tru, v1alpha3.ReasonTLSCertificateIssued)
	w.phase(v1alpha3.PhaseActive)

	found := expiry.Add(time.Minute)
	w.now = found
	if v := w.look(); !v.Withdrawing || !v.WithdrawnSince.Equal(found) {
		t.Errorf("not withdrawing since the look that found every proof gone: %+v", v)
	}
	w.is(tlsr, fls, v1alpha3.ReasonCertificateExpired)
	w.is(own, tru, v1alpha3.ReasonTLSCertificateIssued)
	w.phase(v1alpha3.PhaseIssuing)

	w.now = found.Add(10 * time.Minute)
	if v := w.look(); !v.Falls || v.WantCertificate {
		t.Errorf("does not fall: %+v", v)
	}
	w.phase(v1alpha3.PhaseDetached)

	w.obs.ACMEChallenge = right(w.r, v1alpha3.PurposeACMEChallenge, "")
	if v := w.look(); !v.WantCertificate || !v.DNS01 {
		t.Errorf("a new delegation does not lead back: %+v", v)
	}
	w.phase(v1alpha3.PhaseIssuing)
	w.obs.ACMEChallenge = absent
	w.look()
	w.phase(v1alpha3.PhaseDetached)
}

func TestACustomerWhoStillPointsHereIsNotDetached(t *testing.T) {
	w := newWorld(t, testHost, true)
	w.obs.Certificate = certificateUntil(testEpoch.Add(time.Hour))
	w.obs.Traffic = right(w.r, v1alpha3.PurposeTraffic, "")
	w.look()
	w.now = testEpoch.Add(100 * time.Hour)
	w.obs.Certificate.Work = WorkFailed
	if v := w.look(); v.Withdrawing || v.Falls || !v.HTTP01 {
		t.Errorf("detaching although the main record leads here: %+v", v)
	}
	w.is(own, tru, v1alpha3.ReasonTLSCertificateIssued)
	w.is(tlsr, fls, v1alpha3.ReasonCertificateError)
	w.phase(v1alpha3.PhaseIssuing)
}

func TestALostCertificateStartsTheWaitAnew(t *testing.T) {
	w := newWorld(t, testHost, true)
	w.obs.Certificate = certificateUntil(testEpoch.Add(1000 * time.Hour))
	w.look()
	w.now = testEpoch.Add(100 * time.Hour)
	w.obs.Certificate = CertificateObservation{Outcome: Absent}
	if v := w.look(); !v.Withdrawing || v.Falls || !v.WithdrawnSince.Equal(w.now) {
		t.Errorf("the wait does not begin with the loss: %+v", v)
	}
	w.now = w.now.Add(10 * time.Minute)
	if v := w.look(); !v.Falls {
		t.Errorf("does not fall: %+v", v)
	}
}

func TestTurningTLSOffStartsTheWaitAnew(t *testing.T) {
	w := newWorld(t, testHost, true)
	w.obs.Certificate = certificateUntil(testEpoch.Add(1000 * time.Hour))
	w.look()
	w.now = testEpoch.Add(100 * time.Hour)
	w.r.Spec.TLS, w.r.Generation = nil, 2
	if v := w.look(); v.Falls || !v.Withdrawing || v.WantCertificate {
		t.Errorf("falls at once: %+v", v)
	}
	if w.r.Status.Certificate != nil || w.r.Status.Condition(deleg) != nil {
		t.Errorf("HTTP-only keeps what belongs to TLS: %+v", w.r.Status)
	}
	w.now = w.now.Add(10 * time.Minute)
	if v := w.look(); !v.Falls {
		t.Errorf("does not fall: %+v", v)
	}
}

func TestATokenProofIsKeptByItselfAlone(t *testing.T) {
	w := newWorld(t, testHost, false)
	w.token = v1alpha3.VerifyToken(w.r.UID)
	w.obs.Traffic = right(w.r, v1alpha3.PurposeTraffic, "")
	w.obs.Ownership = right(w.r, v1alpha3.PurposeOwnership, w.token)
	w.look()
	w.is(own, tru, v1alpha3.ReasonApoxyChallengeConfigured)
	if d := w.r.Status.DNSRecord(v1alpha3.PurposeOwnership); !d.Required {
		t.Errorf("the token's record is not required: %+v", d)
	}
	if s := Initial(w.r, Contest{HeldBefore, testHost}, w.settings, w.now); !Equal(s, w.r.Status) {
		for _, d := range s.DNSRecords {
			if d.Purpose == v1alpha3.PurposeOwnership && (!d.Required || !d.Configured) {
				t.Errorf("Initial drops the token: %+v", d)
			}
		}
	}
	w.obs.Ownership = absent
	w.look()
	w.now = w.now.Add(10 * time.Minute)
	if v := w.look(); !v.Falls {
		t.Errorf("a left-behind CNAME keeps a token's proof: %+v", v)
	}
}

// Once nobody contests it any more a record is verified by what would verify any
// other. A neighbour that comes later, and may never be proven, changes nothing
// about that.
func TestAnUnprovenNeighbourDetachesNobodyWhoOnceShowedAToken(t *testing.T) {
	for _, tls := range []bool{false, true} {
		w := newWorld(t, testHost, tls)
		w.token = v1alpha3.VerifyToken(w.r.UID)
		w.obs.Traffic = right(w.r, v1alpha3.PurposeTraffic, "")
		w.obs.Ownership = right(w.r, v1alpha3.PurposeOwnership, w.token)
		w.look()
		w.is(own, tru, v1alpha3.ReasonApoxyChallengeConfigured)
		w.token = "" // the neighbour has gone, and the customer tidies up
		w.obs.Ownership = absent
		w.look()
		w.token = v1alpha3.VerifyToken(w.r.UID) // another one comes
		for range 3 {
			if v := w.look(); v.Withdrawing || v.Falls {
				t.Errorf("tls %v: a neighbour's claim takes the proof away: %+v", tls, w.r.Status.Condition(own))
			}
			w.now = w.now.Add(10 * time.Minute)
		}
	}
}

// The status keeps whole seconds. Whatever fraction of one the proof went in,
// the whole wait is over before ownership falls.
func TestTheWaitIsNeverCutShort(t *testing.T) {
	w := newWorld(t, testHost, false)
	w.obs.Traffic = right(w.r, v1alpha3.PurposeTraffic, "")
	w.look()
	gone := testEpoch.Add(time.Hour + 999*time.Millisecond)
	w.now, w.obs.Traffic = gone, absent
	w.look()
	w.now = gone.Add(10*time.Minute - 10*time.Millisecond)
	if v := w.look(); v.Falls {
		t.Errorf("falls %s after the proof went, which must take 10m: %+v", w.now.Sub(gone), v)
	}
	w.now = gone.Add(10*time.Minute + time.Second)
	if v := w.look(); !v.Falls {
		t.Errorf("stands %s after the proof went: %+v", w.now.Sub(gone), v)
	}
}
