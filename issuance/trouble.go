package issuance

import (
	"slices"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/internal/times"
	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// trouble is a failure that keeps a hostname waiting.
type trouble struct {
	Class   acme.Class `json:"class"`
	Count   int        `json:"count"`
	Message string     `json:"message"`
	// Mend says who must act and how, empty if the class does.
	Mend string `json:"mend,omitempty"`
	// Method is the challenge type that failed, empty if none was tried.
	Method string `json:"method,omitempty"`
	// Until is when the next try is due; 0: not by itself.
	Until int64 `json:"until,omitempty"`
	// Failed are the last failed validations, newest last, at most four: a CA
	// that allows five an hour is never asked for the fifth.
	Failed []int64 `json:"failed,omitempty"`
	// Refused are the CAs, by key, that will not issue for the hostname.
	Refused []string `json:"refused,omitempty"`
	// UID is the record that failed; another one begins afresh.
	UID string `json:"uid,omitempty"`
	// Facts are what was known of DNS at that time.
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

// renewedBy clears the pauses of a trouble for a Want that differs in what
// matters. What a CA asked for stays, and so do the validations it counted.
func (t *trouble) renewedBy(w Want, now time.Time) *trouble {
	if t == nil || t.Class == acme.ClassLimited || t.UID == w.UID && t.Facts == factsOf(w) {
		return t
	}
	again := *t
	same := t.UID == w.UID && t.Facts.CA == w.CertificateAuthority
	again.UID, again.Facts = w.UID, factsOf(w)
	if same && t.Class == acme.ClassRefused {
		return &again // which does not depend on DNS
	}
	again.Until, again.Count = now.Unix(), 0
	if !same {
		again.Refused = nil
	}
	return &again
}

// refusedBy reports whether a CA has refused the hostname for good.
func (t *trouble) refusedBy(c *ca) bool { return t != nil && slices.Contains(t.Refused, c.Key) }

// tells reports whether there is a failure to tell of.
func (t *trouble) tells() bool { return t != nil && t.Message != "" }

// calmed is the trouble of a hostname whose order goes on: what CAs count and
// refuse alone.
func (t *trouble) calmed(now time.Time) *trouble {
	if t == nil || len(t.Failed)+len(t.Refused) == 0 {
		return nil
	}
	calm := *t
	calm.Message, calm.Mend, calm.Until = "", "", now.Unix()
	return &calm
}

// told is what a failure keeps waiting for, in words.
func (t *trouble) told() (w ownership.Work, message, mend string, until time.Time) {
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

// mends say who must act after a failure of a class that does not say it itself;
// where there is none nobody needs to.
var mends = map[acme.Class]string{
	acme.ClassDNS:      "What DNS lacks the customer puts right, as the conditions of the DNS records say; a change that is seen starts the next try at once",
	acme.ClassCustomer: "The customer has what the certificate authority met put right, as the conditions of the DNS records say; a change that is seen starts the next try at once",
	acme.ClassEdge:     mendEdge,
	acme.ClassOperator: "The operator puts right what it says, in the issuer block or the storage, and reloads",
	acme.ClassRefused:  "The operator asks that certificate authority, or names another one in spec.tls.certificateAuthority",
}
