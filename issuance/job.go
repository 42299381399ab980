package issuance

import (
	"context"
)

// desk is what a job reports to while it is under way. It is a flight, but a job sees
// neither the entries nor their lock.
type desk interface {
	// asks notes the host of the CA that is asked.
	asks(host string)
	// admitted notes that DNS and CAA allow the order. It reports whether Observe now
	// tells something else.
	admitted() bool
	// spent notes that the order was spent from the budget, or will not be.
	spent()
}

// job is one step of work on a hostname, with copies of what it needs.
type job struct {
	*tools
	desk
	hostname string
	want     Want
	rec      dossier
	upload   *upload
	warn     int // see taken
	step     step
	term     string                  // see taken
	cas      []*ca                   // that may be asked, best first
	ways     int                     // how many challenge types were possible at the last try
	method   string                  // challenge type that was tried last
	after    []func(context.Context) // events to raise once it has landed
	hooks    *hooked                 // events of an order; nil: certmagic raises them
	ordered  []string                // keys of the CAs at which orders were placed
}

// job makes the job for an entry that was put in flight.
func (ts *tools) job(t taken) *job {
	return &job{tools: ts, desk: t.flight, hostname: t.flight.entry.hostname, want: t.want, rec: t.rec, upload: t.upload, warn: t.warn, step: t.step, term: t.term, cas: t.cas}
}

// run does the step and removes from storage what that has made useless.
func (j *job) run(ctx context.Context) landing {
	before := j.rec
	l := j.take(ctx)
	if j.step != stepDrop && j.step != stepDisown {
		j.clean(ctx, &before, &l.rec)
	}
	return l
}

func (j *job) take(ctx context.Context) landing {
	switch j.step {
	case stepSearch:
		return j.search(ctx)
	case stepARI:
		return j.pollARI(ctx)
	case stepOCSP:
		return j.pollOCSP(ctx)
	case stepDrop, stepDisown:
		return j.drop(ctx)
	case stepUpload:
		return j.tendUpload(ctx)
	}
	j.hooks = j.hook()
	l := j.order(ctx)
	j.gaveUp(ctx)
	return l
}
