package ownership

import (
	"strings"
	"testing"
	"time"
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
