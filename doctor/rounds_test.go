package doctor

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// rounds are Rounds whose examinations are begun and ended by hand.
type rounds struct {
	Rounds
	at      time.Time
	waiting []func(context.Context)
	report  Report
	err     error
}

func newRounds() *rounds {
	r := &rounds{at: time.Unix(1_700_000_000, 0)}
	r.Now = func() time.Time { return r.at }
	r.Go = func(f func(context.Context)) { r.waiting = append(r.waiting, f) }
	r.Examine = func(ctx context.Context) (Report, error) {
		if _, bounded := ctx.Deadline(); !bounded {
			return Report{}, errors.New("it has no bound")
		}
		return r.report, r.err
	}
	return r
}

// work makes the examinations that were begun and returns how many that were.
func (r *rounds) work(ctx context.Context) int {
	begun := r.waiting
	r.waiting = nil
	for _, f := range begun {
		f(ctx)
	}
	return len(begun)
}

func TestRoundsAreMadeWhenSomebodyLooks(t *testing.T) {
	r := newRounds()
	r.report = Report{Zone: "one"}
	for range 5 {
		if _, at, err := r.Latest(); !at.IsZero() || err != nil {
			t.Fatalf("before the first: %v, %v", at, err)
		}
	}
	if n := r.work(t.Context()); n != 1 {
		t.Fatalf("five look-ups begin %d examinations, want one", n)
	}
	first := r.at
	r.report = Report{Zone: "two"}
	r.at = r.at.Add(10*time.Minute - time.Second)
	if got, at, err := r.Latest(); got.Zone != "one" || !at.Equal(first) || err != nil || r.work(t.Context()) != 0 {
		t.Errorf("soon after: %v, %v, %v", got, at, err)
	}
	r.at = r.at.Add(time.Second)
	if got, _, _ := r.Latest(); got.Zone != "one" || r.work(t.Context()) != 1 {
		t.Errorf("ten minutes after: %v", got)
	}
	if got, at, _ := r.Latest(); got.Zone != "two" || !at.Equal(r.at) {
		t.Errorf("after the second: %v, %v", got, at)
	}
}

func TestAnExaminationThatFailsIsMadeAgainSooner(t *testing.T) {
	r := newRounds()
	r.report = Report{Zone: "one"}
	r.Latest()
	r.work(t.Context())
	r.err = errors.New("no resolvers")
	r.at = r.at.Add(time.Hour)
	r.Latest()
	r.work(t.Context())
	got, _, err := r.Latest()
	if got.Zone != "one" || err == nil || !strings.Contains(err.Error(), "no resolvers") || r.work(t.Context()) != 0 {
		t.Errorf("%v, %v", got, err)
	}
	r.err = nil
	r.at = r.at.Add(time.Minute)
	r.Latest()
	if n := r.work(t.Context()); n != 1 {
		t.Errorf("a minute after an error %d examinations are begun", n)
	}
	if _, at, err := r.Latest(); err != nil || !at.Equal(r.at) {
		t.Errorf("%v, %v", at, err)
	}
}

func TestAnotherSetUpIsExaminedSoon(t *testing.T) {
	r := newRounds()
	r.Latest()
	r.work(t.Context())
	r.Changed()
	r.Latest()
	if n := r.work(t.Context()); n != 1 {
		t.Errorf("after a change %d examinations are begun", n)
	}
	r.at = r.at.Add(time.Hour)
	r.Latest()
	r.Changed() // while one is under way
	r.work(t.Context())
	r.Latest()
	if n := r.work(t.Context()); n != 1 {
		t.Errorf("after a change during an examination %d are begun", n)
	}
	r.Latest()
	if n := r.work(t.Context()); n != 0 {
		t.Errorf("without a change %d are begun", n)
	}
}

func TestAnExaminationEndsWithTheWork(t *testing.T) {
	r := newRounds()
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the server ends"))
	r.err = context.Canceled
	r.Latest()
	r.work(ctx)
	if _, _, err := r.Latest(); err == nil || !strings.Contains(err.Error(), "the server ends") {
		t.Errorf("%v", err)
	}
}
