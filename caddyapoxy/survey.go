package caddyapoxy

import (
	"context"
	"sync"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/dashboard"
	"github.com/apoxy-dev/caddy-apoxy/internal/lru"
	"github.com/apoxy-dev/caddy-apoxy/resolver"
)

// Of what name servers answer: how long it is shown to whoever asks again, so that no page
// asks them faster, of how many names, how many names are asked about at a time, and how
// long one may take.
const (
	surveyFor    = 10 * time.Second
	surveysKept  = 1024
	surveysAt    = 8
	surveyWithin = 2500 * time.Millisecond
)

// surveys is what name servers have answered lately, and the places for asking.
type surveys struct {
	known  *lru.Cache[dashboard.NameAnswers]
	places chan struct{}
}

func newSurveys() surveys {
	return surveys{known: lru.New[dashboard.NameAnswers](surveysKept), places: make(chan struct{}, surveysAt)}
}

// Answers implements dashboard.Facts.
func (f facts) Answers(ctx context.Context, names []string) []dashboard.NameAnswers {
	out := make([]dashboard.NameAnswers, len(names))
	var asking sync.WaitGroup
	for i, name := range names {
		asking.Go(func() { out[i] = f.rt.survey(ctx, name) })
	}
	asking.Wait()
	return out
}

// survey asks the name servers about a name, or tells what they said a moment ago.
func (rt *runtime) survey(ctx context.Context, name string) dashboard.NameAnswers {
	if known, ok := rt.surveys.known.Get(name); ok {
		return known
	}
	// Others are shown the same, whoever leaves.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), surveyWithin)
	defer cancel()
	select {
	case rt.surveys.places <- struct{}{}:
		defer func() { <-rt.surveys.places }()
	case <-ctx.Done():
		return dashboard.NameAnswers{Trouble: "Others have name servers asked at present: try again."}
	}
	a := rt.apps.Current()
	if a == nil {
		return dashboard.NameAnswers{Trouble: errNotStarted.Error()}
	}
	ctx, _ = resolver.WithRation(ctx, resolver.Owed)
	said, err := a.resolver.Survey(ctx, name)
	answers := answersOf(said)
	if err != nil {
		answers.Trouble = err.Error()
	}
	rt.surveys.known.Put(name, answers, surveyFor)
	return answers
}

func answersOf(said []resolver.ServerAnswer) (out dashboard.NameAnswers) {
	for _, s := range said {
		out.Servers = append(out.Servers, dashboard.ServerAnswer{Name: s.Name, Address: s.Addr.String(), Answers: s.Answers, Trouble: s.Err})
	}
	return out
}
