package hosts

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// searchAll reads a search to its end, page by page.
func searchAll(t *testing.T, table *Table, q Search) (names []string) {
	t.Helper()
	for range 10_000 {
		found, err := table.Search(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, found.Names...)
		if !found.More {
			return names
		}
		q.After = found.Upto
	}
	t.Fatal("the search has no end")
	return nil
}

// Whatever is asked for: pages forwards hold what a look at every record finds, once and in
// order, and pages backwards the same.
func TestSearchFindsWhatALookAtEveryRecordFinds(t *testing.T) {
	rnd := rand.New(rand.NewPCG(15, 1))
	table := New()
	var all []*Host
	for i := range 3000 {
		name := fmt.Sprintf("n%04d.%s.example.com", rnd.IntN(10_000), []string{"shop", "www", "api"}[i%3])
		if _, there := table.Get(name); there {
			continue
		}
		h := FromRecord(someRecord(rnd, name), int64(i+1))
		table.Set(h)
		all = append(all, h)
	}
	slices.SortFunc(all, func(a, b *Host) int { return strings.Compare(a.Name(), b.Name()) })
	label := func(h *Host, key string) string { v, _ := h.Label(key); return v }
	reason := func(h *Host, at int) string {
		if code := int(h.reasons >> (4 * at) & 15); code != noReason && code != otherReason {
			return conditionReasons[at][code-1]
		}
		return ""
	}
	for what, c := range map[string]struct {
		q    Search
		want func(*Host) bool
	}{
		"all":            {Search{}, func(*Host) bool { return true }},
		"hostname":       {Search{Text: "12"}, func(h *Host) bool { return strings.Contains(h.Hostname, "12") }},
		"two words":      {Search{Text: "  Shop 9 "}, func(h *Host) bool { return strings.Contains(h.Hostname, "shop") && strings.Contains(h.Hostname, "9") }},
		"a label":        {Search{Text: "OWNER-3"}, func(h *Host) bool { return h.Owner() == "owner-3" }},
		"key and value":  {Search{Text: "tier=2"}, func(h *Host) bool { return label(h, "tier") == "2" }},
		"owner":          {Search{Owner: "owner-5"}, func(h *Host) bool { return h.Owner() == "owner-5" }},
		"owner and text": {Search{Owner: "owner-5", Text: "api"}, func(h *Host) bool { return h.Owner() == "owner-5" && strings.Contains(h.Hostname, "api") }},
		"phase":          {Search{Phase: v1alpha3.PhaseIssuing}, func(h *Host) bool { return h.Phase() == v1alpha3.PhaseIssuing }},
		"status": {Search{Condition: v1alpha3.ConditionTLSReady, Status: metav1.ConditionFalse},
			func(h *Host) bool { return h.Conditions.Status(v1alpha3.ConditionTLSReady) == metav1.ConditionFalse }},
		"reason of Ready": {Search{Reason: v1alpha3.ReasonRateLimited},
			func(h *Host) bool {
				return reason(h, readyAt) == v1alpha3.ReasonRateLimited || reason(h, readyAt) == v1alpha3.ReasonOwnershipNotVerified && reason(h, tlsAt) == v1alpha3.ReasonRateLimited
			}},
		"no proof, and no certificate on its way": {Search{Reason: v1alpha3.ReasonOwnershipNotVerified}, func(h *Host) bool {
			return reason(h, readyAt) == v1alpha3.ReasonOwnershipNotVerified && slices.Contains([]string{"", v1alpha3.ReasonWaitingForDNS, v1alpha3.ReasonCertificateIssued}, reason(h, tlsAt))
		}},
		"reason that Ready has not": {Search{Reason: v1alpha3.ReasonACMEChallengeDelegationMismatch}, func(h *Host) bool {
			return reason(h, slices.Index(conditionTypes, v1alpha3.ConditionACMEChallengeDelegationReady)) == v1alpha3.ReasonACMEChallengeDelegationMismatch
		}},
		"reason as a word": {Search{Text: "ratelim"}, func(h *Host) bool {
			return !facetsOf(h).and(reasonFacets(func(r string) bool { return r == v1alpha3.ReasonRateLimited })).empty()
		}},
		"nothing":        {Search{Text: "none.such"}, func(*Host) bool { return false }},
		"unknown phase":  {Search{Phase: "Strange"}, func(*Host) bool { return false }},
		"unknown reason": {Search{Reason: "Strange"}, func(*Host) bool { return false }},
	} {
		t.Run(what, func(t *testing.T) {
			var want []string
			for _, h := range all {
				if c.want(h) {
					want = append(want, h.Name())
				}
			}
			c.q.Most = 17
			if got := searchAll(t, table, c.q); !slices.Equal(got, want) {
				t.Errorf("found %d, want %d", len(got), len(want))
			}
			var back []string
			c.q.Before = "zzz"
			for more := true; more; {
				found, err := table.Search(t.Context(), c.q)
				if err != nil {
					t.Fatal(err)
				}
				back = append(found.Names, back...)
				more, c.q.Before = found.More, found.Upto
			}
			if !slices.Equal(back, want) {
				t.Errorf("backwards found %d, want %d", len(back), len(want))
			}
		})
	}
}

// A search that takes too long says how far it came, and one that goes on from there
// misses nothing.
func TestSearchEndsWithItsPatience(t *testing.T) {
	table := New()
	for i := range 5000 {
		table.Set(Make(Values{Hostname: fmt.Sprintf("h%05d.example.com", i)}))
	}
	table.Set(Make(Values{Hostname: "zz.example.com"}))
	q := Search{Text: "zz", Most: 1, Patience: time.Nanosecond}
	cuts := 0
	for {
		found, err := table.Search(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if len(found.Names) == 1 {
			break
		}
		if !found.Cut || !found.More || found.Upto <= q.After {
			t.Fatalf("after %d cuts: %+v", cuts, found)
		}
		q.After = found.Upto
		cuts++
	}
	if cuts < 5 {
		t.Errorf("%d cuts of 5000 hosts", cuts)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := table.Search(ctx, q); err == nil {
		t.Error("no error of a context that has ended")
	}
}

// Grams never rule out what is there, whatever comes, goes and changes its labels.
func TestGramsRuleOutNothingThatIsThere(t *testing.T) {
	rnd := rand.New(rand.NewPCG(15, 3))
	table := New()
	for i := range 6000 {
		name := fmt.Sprintf("n%03d.%s.example", rnd.IntN(700), strings.Repeat("x", rnd.IntN(9)+1))
		if rnd.IntN(3) == 0 {
			table.Delete(name)
			continue
		}
		table.Set(Make(Values{Hostname: name, Name: name, Labels: map[string]string{"note": fmt.Sprintf("Value-%d", rnd.IntN(500))}, Revision: int64(i + 1)}))
	}
	for _, br := range table.byName.branches {
		for _, leaf := range br.leaves {
			for _, h := range leaf.hosts[:leaf.n] {
				value, _ := h.Label("note")
				if !leaf.grams.may(gramsOf(h.Hostname)) || !leaf.grams.may(gramsOf(strings.ToUpper(value))) {
					t.Fatalf("%s with %s is ruled out", h.Hostname, value)
				}
			}
		}
	}
	none := 0
	for _, br := range table.byName.branches {
		for _, leaf := range br.leaves {
			if !leaf.grams.may(gramsOf("none-such")) {
				none++
			}
		}
	}
	if none == 0 {
		t.Error("nothing is ruled out")
	}
}

func TestReasonsMeantByAWord(t *testing.T) {
	for text, want := range map[string][]string{
		"ca": nil, "caa": {v1alpha3.ReasonCAAForbidden}, "certificatei": nil, "certificateissued": {v1alpha3.ReasonCertificateIssued},
		"certificate": {v1alpha3.ReasonCertificateError, v1alpha3.ReasonCertificateExpired}, "ready": {v1alpha3.ReasonReady},
	} {
		wanted := reasonFacets(func(r string) bool { return slices.Contains(want, r) })
		if got := meant(text); got != wanted {
			t.Errorf("%q means %x, want %x", text, got, wanted)
		}
	}
	if meant("active") != span(int(phaseActive), int(phaseActive)+1) {
		t.Error("active is no phase")
	}
}

// The counts by phase and reason are what counting finds, whatever comes and goes.
func TestCountsByPhaseAndReason(t *testing.T) {
	rnd := rand.New(rand.NewPCG(15, 2))
	table := New()
	for i := range 4000 {
		name := fmt.Sprintf("n%03d.example.com", rnd.IntN(500))
		if rnd.IntN(4) == 0 {
			table.Delete(name)
			continue
		}
		table.Set(FromRecord(someRecord(rnd, name), int64(i+1)))
	}
	wantPhases, wantReasons := map[v1alpha3.Phase]int64{}, map[string]int64{}
	for h := range table.All() {
		if h.phase != phaseRare {
			wantPhases[h.Phase()]++
		}
	}
	table.EachPhase(func(p v1alpha3.Phase, n int64) {
		if n != wantPhases[p] {
			t.Errorf("%d in phase %s, want %d", n, p, wantPhases[p])
		}
	})
	for _, reason := range v1alpha3.ConditionReasons(v1alpha3.ConditionReady) {
		wantReasons[reason] = int64(len(searchAll(t, table, Search{Reason: reason, Most: 100})))
	}
	sum := int64(0)
	table.EachAwaited(func(reason string, n int64) {
		if sum += n; n != wantReasons[reason] {
			t.Errorf("%d wait for %s, want as many as are found, %d", n, reason, wantReasons[reason])
		}
	})
	if sum == 0 {
		t.Error("nothing is counted")
	}
}

func TestWaitChange(t *testing.T) {
	table := New()
	table.changed.begin(5)
	table.progress.Reach(5)
	if now, err := table.WaitChange(t.Context(), 3, ""); err != nil || now != 5 {
		t.Fatalf("what was before the table remembers: %d, %v", now, err)
	}
	got := make(chan int64, 1)
	go func() {
		now, _ := table.WaitChange(t.Context(), 5, "b.example.com")
		got <- now
	}()
	for i, name := range []string{"a.example.com", "b.example.com"} {
		table.Set(Make(Values{Hostname: name, Revision: int64(6 + i)}))
		table.progress.Reach(int64(6 + i))
	}
	if now := <-got; now != 7 {
		t.Errorf("told of revision %d, want 7", now)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := table.WaitChange(ctx, 7, ""); err == nil {
		t.Error("nothing changed, and no error")
	}
}
