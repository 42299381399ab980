package issuance

import (
	"slices"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/internal/times"
	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// trouble is the last failure of a hostname, with what of earlier ones still counts.
type trouble struct {
	// Count is how many failures of this class came in a row.
	Class   acme.Class `json:"class"`
	Count   int        `json:"count"`
	Message string     `json:"message"`
	// Mend says who must act and how, empty if the class does.
	Mend string `json:"mend,omitempty"`
	// Method is the challenge type that failed, empty if none was tried.
	Method string `json:"method,omitempty"`
	// Until is when the next try is due, in Unix seconds; 0: there is none by itself.
	Until int64 `json:"until,omitempty"`
	// Failed are the times of the last failed validations, newest last, at most four:
	// CAs allow five an hour, of which the fifth is never used.
	Failed []int64 `json:"failed,omitempty"`
	// Refused are the CAs, by key, that will not issue for the hostname.
	Refused []string `json:"refused,omitempty"`
	// UID is that of the record that failed. Another record begins anew.
	UID string `json:"uid,omitempty"`
	// Facts are what the Want said when it failed.
	Facts facts `json:"facts"`
}

// facts are the parts of a Want that decide whether an order can succeed.
type facts struct {
	DNS01  bool   `json:"dns01,omitempty"`
	HTTP01 bool   `json:"http01,omitempty"`
	CA     string `json:"ca,omitempty"`
}

func factsOf(w Want) facts {
	return facts{DNS01: w.DNS01, HTTP01: w.HTTP01, CA: w.CertificateAuthority}
}

// renewedBy returns the trouble for a changed Want: if record, DNS or the named CA differ,
// the pause is over. What a CA asked for stays, and so do failed validations, which CAs
// count.
func (t *trouble) renewedBy(w Want, now time.Time) *trouble {
	if t == nil || t.Class == acme.ClassLimited || t.UID == w.UID && t.Facts == factsOf(w) {
		return t
	}
	again := *t
	same := t.UID == w.UID && t.Facts.CA == w.CertificateAuthority
	again.UID, again.Facts = w.UID, factsOf(w)
	if same && t.Class == acme.ClassRefused {
		return &again // a refusal does not depend on DNS
	}
	again.Until, again.Count = now.Unix(), 0
	if !same {
		again.Refused = nil
	}
	return &again
}

// refusedBy reports whether a CA has refused the hostname for good.
func (t *trouble) refusedBy(c *ca) bool { return t != nil && slices.Contains(t.Refused, c.Key) }

// visible reports whether there is a failure to tell of.
func (t *trouble) visible() bool { return t != nil && t.Message != "" }

// calmed is the trouble of a hostname whose order goes on. It tells of no failure, but
// keeps the failed validations and refusals; nil: there are none.
func (t *trouble) calmed(now time.Time) *trouble {
	if t == nil || len(t.Failed)+len(t.Refused) == 0 {
		return nil
	}
	calm := *t
	calm.Message, calm.Mend, calm.Until = "", "", now.Unix()
	return &calm
}

// describe puts a failure into the core's words: what it is, what happened, who must act
// and when it is tried again.
func (t *trouble) describe() (w ownership.Work, message, mend string, until time.Time) {
	msg, mend, until := t.Message, t.Mend, times.Unix(t.Until)
	if mend == "" {
		mend = mends[t.Class]
	}
	if t.Until == 0 {
		msg += "; it is not tried again by itself"
	}
	work, ok := works[t.Class]
	if !ok {
		work = ownership.WorkFailed
	}
	return work, msg, mend, until
}

// works are what classes of failures are to the core, other than WorkFailed.
var works = map[acme.Class]ownership.Work{
	acme.ClassCAA: ownership.WorkCAAForbids, acme.ClassDNS: ownership.WorkNone, acme.ClassLimited: ownership.WorkRateLimited,
}

// mends say who must act after a failure of a class if the failure itself does not say
// it. For the other classes nobody needs to.
var mends = map[acme.Class]string{
	acme.ClassDNS:      "What DNS lacks the customer puts right, as the conditions of the DNS records say; a change that is seen starts the next try at once",
	acme.ClassCustomer: "The customer has what the certificate authority met put right, as the conditions of the DNS records say; a change that is seen starts the next try at once",
	acme.ClassEdge:     mendEdge,
	acme.ClassOperator: "The operator puts right what it says, in the issuer block or the storage, and reloads",
	acme.ClassRefused:  "The operator asks that certificate authority, or names another one in spec.tls.certificateAuthority",
}
