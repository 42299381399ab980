package ownership

import (
	"strings"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// "Nobody needs to do anything" is said only where it is so; who must act ends the
// text of a failure, and is whole however long the foreign words before it are.
func TestWorkSentenceSaysWhoMustAct(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	const mend = "The operator sets another `email` in its issuer block, and reloads"
	for name, c := range map[string]struct {
		o    CertificateObservation
		ends string
	}{
		"nobody, by itself":      {CertificateObservation{Work: WorkFailed, Message: "it is down", Until: at}, "tried again at 2026-01-02T03:04:05Z; nobody needs to do anything before."},
		"the operator":           {CertificateObservation{Work: WorkFailed, Message: "gone", Mend: mend, Until: at}, "at 2026-01-02T03:04:05Z. " + mend + "."},
		"after foreign words":    {CertificateObservation{Work: WorkFailed, Message: strings.Repeat("nonsense ", 500), Mend: mend}, mend + "."},
		"after a limit":          {CertificateObservation{Work: WorkRateLimited, Message: "busy", Until: at}, "nobody needs to do anything before."},
		"where DNS is not ready": {CertificateObservation{Work: WorkNone, Message: strings.Repeat("x", 900), Mend: mend}, mend + "."},
		"while it is worked on":  {CertificateObservation{Work: WorkIssuing, Message: "x has been signing", Mend: mend}, mend + "."},
		"with line breaks in it": {CertificateObservation{Work: WorkQueued, Mend: "a\n b."}, "a b."},
	} {
		got := workSentence(c.o)
		if !strings.HasSuffix(got, c.ends) {
			t.Errorf("%s: %q does not end with %q", name, got, c.ends)
		}
		if c.o.Mend != "" && strings.Contains(got, "nobody needs") {
			t.Errorf("%s: %q says that nobody must act", name, got)
		}
		if len(got) > maxMessage {
			t.Errorf("%s: %d octets", name, len(got))
		}
	}
}

// What storage lost is no certificate any more: it neither stands in the status
// nor proves, but the record stays verified while a DNS record leads here.
func TestACertificateThatStorageLostIsTold(t *testing.T) {
	w := newWorld(t, testHost, true)
	w.obs.Certificate = certificateUntil(testEpoch.Add(time.Hour))
	w.obs.ACMEChallenge = right(w.r, v1alpha3.PurposeACMEChallenge, w.token)
	w.look()
	w.is(tlsr, tru, v1alpha3.ReasonCertificateIssued)

	w.obs.Certificate.Gone, w.obs.Certificate.GoneFrom = testEpoch.Add(time.Minute), "FileStorage:/data has no certificates/x/y.key"
	for work, reason := range map[Work]string{
		WorkQueued: v1alpha3.ReasonIssuing, WorkIssuing: v1alpha3.ReasonIssuing, WorkNone: v1alpha3.ReasonCertificateError,
		WorkFailed: v1alpha3.ReasonCertificateError, WorkRateLimited: v1alpha3.ReasonRateLimited,
	} {
		w.obs.Certificate.Work = work
		v := w.look()
		w.is(tlsr, fls, reason)
		w.is(own, tru, v1alpha3.ReasonTLSCertificateIssued)
		w.phase(v1alpha3.PhaseIssuing)
		if !v.WantCertificate || w.r.Status.Certificate != nil {
			t.Errorf("work %d: wanted %v, status.certificate %+v", work, v.WantCertificate, w.r.Status.Certificate)
		}
		m := w.r.Status.Condition(tlsr).Message
		for _, said := range []string{"is gone", "FileStorage:/data has no certificates/x/y.key", "The operator", "2026-03-01T13:00:00Z"} {
			if !strings.Contains(m, said) {
				t.Errorf("work %d: the message lacks %q: %q", work, said, m)
			}
		}
	}

	// Without a way to another it waits for the customer, and for the file.
	w.obs.ACMEChallenge, w.obs.Certificate.Work = absent, WorkNone
	v := w.look()
	w.is(tlsr, fls, v1alpha3.ReasonCertificateError)
	if !v.Withdrawing || !v.WantCertificate {
		t.Errorf("withdrawing %v, wanted %v", v.Withdrawing, v.WantCertificate)
	}

	w.obs.Certificate.Gone = time.Time{}
	w.look()
	w.is(tlsr, tru, v1alpha3.ReasonCertificateIssued)
}

// A storage that fails says nothing about what is in it.
func TestAStorageThatCannotBeReadChangesNothing(t *testing.T) {
	w := newWorld(t, testHost, true)
	w.obs.Certificate = certificateUntil(testEpoch.Add(time.Hour))
	w.look()
	w.obs.Certificate.Doubt = "input/output error"
	w.look()
	w.is(tlsr, tru, v1alpha3.ReasonCertificateIssued)
	if m := w.r.Status.Condition(tlsr).Message; !strings.Contains(m, "could not be told (input/output error); what was known before holds.") {
		t.Errorf("the message is %q", m)
	}
}
