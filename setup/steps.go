package setup

import (
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
