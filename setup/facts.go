package setup

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// The headlines: the one sentence on top of the page, "headline.…" in messages.
const (
	headUnlooked = "unlooked" // nothing is known yet
	headProve    = "prove"    // the record's own token is wanted before all else
	headDelegate = "delegate" // the delegation is the next to create
	headIssuing  = "issuing"  // the certificate is being obtained
	headDelayed  = "delayed"  // … and that takes longer
	headCAA      = "caa"      // … and CAA records of the customer forbid it
	headSwitch   = "switch"   // the certificate is ready: the cutover is safe
	headVerified = "verified" // the same of a record without TLS
	headHold     = "hold"     // the customer is ready and the service is not
	headMain     = "main"     // without TLS: the main record is the next to create
	headChecking = "checking" // the main record is there and not believed yet
	headService  = "service"  // all is in place but for the service
	headDone     = "done"     // all is in place
)

// facts are what steps go by.
type facts struct {
	tls       bool
	verified  bool   // the hostname is served
	certified bool   // a certificate is stored and ready
	whyNot    string // the reason of TLSReady while it is not
	serving   bool   // nothing is known to be wrong with what serves it
	token     bool   // its own token alone proves it
	// The records of the status; nil where there is none.
	main, delegation, ownership *v1alpha3.DNSRecord
}

func factsOf(r *v1alpha3.DomainRecord) facts {
	f := facts{
		tls: r.WantsTLS(), verified: r.Verified(), serving: true,
		main:       r.Status.DNSRecord(v1alpha3.PurposeTraffic),
		delegation: r.Status.DNSRecord(v1alpha3.PurposeACMEChallenge),
		ownership:  r.Status.DNSRecord(v1alpha3.PurposeOwnership),
	}
	if c := r.Status.Condition(v1alpha3.ConditionTLSReady); c != nil {
		f.certified = c.Status == metav1.ConditionTrue
		if !f.certified {
			f.whyNot = c.Reason
		}
	}
	if c := r.Status.Condition(v1alpha3.ConditionTargetReady); c != nil {
		f.serving = c.Status != metav1.ConditionFalse
	}
	f.token = f.ownership != nil && f.ownership.Required
	return f
}

func (f facts) headline() string {
	ready := f.verified && (f.certified || !f.tls)
	switch {
	case f.main == nil:
		return headUnlooked
	case ready && f.main.Configured && !f.serving:
		return headService
	case ready && f.main.Configured:
		return headDone
	case ready && !f.serving:
		return headHold
	case ready && f.tls:
		return headSwitch
	case ready:
		return headVerified
	case f.token && !f.ownership.Configured:
		return headProve
	case !f.tls && f.main.Configured:
		return headChecking
	case !f.tls:
		return headMain
	case f.whyNot == v1alpha3.ReasonCAAForbidden:
		return headCAA
	case !f.main.Configured && !f.delegated():
		return headDelegate
	case f.delayed():
		return headDelayed
	}
	return headIssuing
}

func (f facts) delegated() bool { return f.delegation != nil && f.delegation.Configured }

// delayed reports whether a certificate takes longer than usual.
func (f facts) delayed() bool {
	switch f.whyNot {
	case v1alpha3.ReasonCertificateError, v1alpha3.ReasonRateLimited, v1alpha3.ReasonCertificateExpired:
		return true
	}
	return false
}
