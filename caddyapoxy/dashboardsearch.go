package caddyapoxy

import (
	"cmp"
	"context"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/advice"
	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/dashboard"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
)

// Summary implements dashboard.Facts, by what the table counts at each change.
func (f facts) Summary(context.Context) dashboard.Summary {
	table := f.rt.table
	s := dashboard.Summary{Records: table.Len()}
	table.EachPhase(func(p v1alpha3.Phase, n int64) {
		s.Phases = append(s.Phases, dashboard.Count{Name: string(p), Records: int(n)})
	})
	for _, t := range v1alpha3.ConditionTypes() {
		s.Conditions = append(s.Conditions, dashboard.ConditionCount{
			Type: t, True: int(table.Count(t, metav1.ConditionTrue)), False: int(table.Count(t, metav1.ConditionFalse)),
			Unknown: int(table.Count(t, metav1.ConditionUnknown)),
		})
	}
	table.EachAwaited(func(reason string, n int64) {
		if n == 0 || reason == v1alpha3.ReasonReady {
			return
		}
		c := dashboard.ReasonCount{Type: conditionOf(reason), Reason: reason, Records: int(n)}
		c.Who, c.What = advice.Meaning(reason)
		s.Reasons = append(s.Reasons, c)
	})
	slices.SortStableFunc(s.Reasons, func(a, b dashboard.ReasonCount) int { return cmp.Compare(b.Records, a.Records) })
	return s
}

// conditionOf is the condition that Ready takes a reason of.
func conditionOf(reason string) string {
	for _, t := range v1alpha3.ConditionTypes() {
		if slices.Contains(v1alpha3.ConditionReasons(t), reason) {
			return t
		}
	}
	return v1alpha3.ConditionReady
}

// searchPatience is how long a page waits for a search; the next one searches on.
const searchPatience = 150 * time.Millisecond

// search finds records by what the table knows of them.
func (rt *runtime) search(ctx context.Context, q dashboard.Query) (dashboard.Result, error) {
	found, err := rt.table.Search(ctx, hosts.Search{
		Text: q.Text, Owner: q.Owner, Phase: v1alpha3.Phase(q.Phase), Condition: q.Condition, Status: metav1.ConditionStatus(q.Status),
		Reason: q.Reason, After: q.After, Before: q.Before, Most: q.Most, Patience: searchPatience,
	})
	return dashboard.Result{Names: found.Names, More: found.More, Upto: found.Upto, Cut: found.Cut, Partial: !rt.table.Whole()}, err
}

// changes waits until a record has changed after a revision of the table.
func (rt *runtime) changes(ctx context.Context, since int64, name string) (int64, error) {
	if since < 0 {
		return rt.table.Revision(), nil
	}
	return rt.table.WaitChange(ctx, since, name)
}
