package setup

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// state is how far a step is. Each has words, "state.…" in messages.
type state string

const (
	stateDone     state = "done"     // nothing is left of it
	stateTodo     state = "todo"     // the customer acts
	stateWait     state = "wait"     // it goes on by itself
	stateLater    state = "later"    // something before it is not done yet
	stateOptional state = "optional" // it helps, and nothing waits for it
	stateTrouble  state = "trouble"  // it is wrong and somebody must mend it
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

// The steps, "step.…" in messages.
const (
	stepProve       = "prove"
	stepDelegate    = "delegate"
	stepCertificate = "certificate"
	stepSwitch      = "switch"
)

// step is one thing to do, or to wait for.
type step struct {
	id    string
	state state
	// text is the message that explains it, after "step.ID.".
	text string
	// record is what the customer creates; nil: nothing.
	record *v1alpha3.DNSRecord
}

// plan is what the page says of a record.
type plan struct {
	headline string
	detached bool // every proof was withdrawn after having been proven
	steps    []step
}

// planOf says what is done of a record's set-up and what comes next.
func planOf(r *v1alpha3.DomainRecord) plan {
	f := factsOf(r)
	p := plan{headline: f.headline(), detached: r.Status.Phase == v1alpha3.PhaseDetached}
	if f.main == nil {
		return p
	}
	for _, s := range []func() (step, bool){f.prove, f.delegate, f.certificate, f.cutover} {
		if s, ok := s(); ok {
			p.steps = append(p.steps, s)
		}
	}
	return p
}

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

// prove is the step of the ownership record: where the token is wanted, and without TLS,
// where it lets the cutover come without a gap.
func (f facts) prove() (step, bool) {
	s := step{id: stepProve, text: "text", record: f.ownership}
	switch {
	case f.ownership == nil:
		return s, false
	case f.ownership.Configured && (f.token || !f.tls):
		s.state = stateDone
	case f.token && f.verified, f.tls && !f.token:
		return s, false
	case f.token:
		s.state = todo(f.ownership)
	case f.verified:
		return s, false
	default:
		s.state, s.text = stateOptional, "optional"
	}
	return s, true
}

func (f facts) delegate() (step, bool) {
	s := step{id: stepDelegate, text: "text", record: f.delegation}
	switch {
	case !f.tls || f.delegation == nil:
		return s, false
	case f.delegation.Configured:
		s.state = stateDone
	case f.certified:
		s.state, s.text = stateOptional, "optional"
	default:
		s.state = todo(f.delegation)
	}
	return s, true
}

func (f facts) certificate() (step, bool) {
	s := step{id: stepCertificate}
	switch {
	case !f.tls:
		return s, false
	case f.certified:
		s.state, s.text = stateDone, "done"
	case f.whyNot == v1alpha3.ReasonCAAForbidden:
		s.state, s.text = stateTrouble, "caa"
	case f.token && !f.verified && !f.ownership.Configured, !f.delegated() && !f.main.Configured:
		s.state, s.text = stateLater, "later"
	case f.delayed():
		s.state, s.text = stateWait, "delayed"
	default:
		s.state, s.text = stateWait, "wait"
	}
	return s, true
}

func (f facts) cutover() (step, bool) {
	s := step{id: stepSwitch, record: f.main}
	ready := f.verified && (f.certified || !f.tls)
	switch {
	case f.main.Configured:
		s.state, s.text = stateDone, "done"
	case ready && !f.serving:
		s.state, s.text = stateLater, "hold"
	case ready && f.tls:
		s.state, s.text = stateTodo, "safe"
	case f.tls:
		s.state, s.text = stateLater, "early"
	case ready:
		s.state, s.text = stateTodo, "verified"
	case f.token && !f.ownership.Configured:
		s.state, s.text = stateLater, "token"
	default:
		s.state, s.text = todo(f.main), "plain"
	}
	return s, true
}

// todo is the state of a record that is not in place: a mistake, or not there yet.
func todo(d *v1alpha3.DNSRecord) state {
	if d.Problem != nil && !harmless(d.Problem.Reason) {
		return stateTrouble
	}
	return stateTodo
}

// harmless reports whether a problem is none of the customer's making: nothing is there
// yet, or still what was there before, or it passes by itself.
func harmless(reason string) bool {
	switch reason {
	case ownership.ProblemNotFound, ownership.ProblemOldTarget, ownership.ProblemAddressInsteadOfCNAME, ownership.ProblemApexNeedsAddress,
		ownership.ProblemWildcardAnswers, ownership.ProblemStillCached, ownership.ProblemServersDisagree, ownership.ProblemLookupFailed, ownership.ProblemPortIntercepted:
		return true
	}
	return false
}

// done counts the steps that are, of those that must be.
func (p plan) done() (done, all int) {
	for _, s := range p.steps {
		if s.state == stateOptional {
			continue
		}
		all++
		if s.state == stateDone {
			done++
		}
	}
	return done, all
}

// next is the step that the customer acts on now, -1 if there is none.
func (p plan) next() int {
	for i, s := range p.steps {
		if s.state == stateTodo || s.state == stateTrouble {
			return i
		}
	}
	return -1
}

// relative is a name relative to a zone as forms want it, "@" at its top.
func relative(name, zone string) string {
	name, zone = strings.TrimSuffix(name, "."), strings.TrimSuffix(zone, ".")
	if strings.EqualFold(name, zone) {
		return "@"
	}
	if n := len(name) - len(zone) - 1; zone != "" && n > 0 && name[n] == '.' && strings.EqualFold(name[n+1:], zone) {
		return name[:n]
	}
	return name
}
