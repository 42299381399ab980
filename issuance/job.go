package issuance

import (
	"context"
)

// desk is what work on a hostname tells while it is under way.
type desk interface {
	// asks notes the host of the CA that is being asked.
	asks(host string)
	// admitted notes that DNS lets the order be placed, and reports whether that is
	// news.
	admitted() bool
	// spent notes that what was set aside of a budget is spent, or will not be.
	spent()
}

// job is one step of work on a hostname, with copies of what it needs.
type job struct {
	*tools
	desk
	hostname string
	want     Want
	rec      dossier
	step     step
	cas      []*ca                   // that may be asked, best first
	ways     int                     // challenge types that could be used at the last try
	method   string                  // challenge type that was tried last
	after    []func(context.Context) // once it has landed
	hooks    *hooked                 // of an order; nil: its events are certmagic's
	// ordered are the CAs that an order was placed at.
	ordered []string
}

// job is the work on an entry that was taken up.
func (ts *tools) job(t taken) *job {
	return &job{tools: ts, desk: t.flight, hostname: t.flight.entry.hostname, want: t.want, rec: t.rec, step: t.step, cas: t.cas}
}

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
	}
	j.hooks = j.hook()
	l := j.order(ctx)
	j.gaveUp(ctx)
	return l
}
