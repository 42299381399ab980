package webhook

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

var noon = time.Date(2026, 2, 1, 12, 0, 0, 0, time.UTC)

// lineOf has items a, b, c … of records of their own, queued one after the other.
func lineOf(n int) *line {
	l := new(line)
	for i := range n {
		l.add(&item{id: fmt.Sprintf("%c", 'a'+i), record: fmt.Sprint(i), queued: noon.Add(time.Duration(i) * time.Millisecond)})
	}
	return l
}

// try picks one item and settles it.
func (l *line) try(t *testing.T, now time.Time, want string, o outcome) {
	t.Helper()
	it, _ := l.pick(now)
	if it == nil || it.id != want {
		t.Fatalf("at %s %+v was picked, want %s", now.Format("15:04:05"), it, want)
	}
	l.land(it, o, now)
}

func (l *line) land(it *item, o outcome, now time.Time) {
	done := l.settle(it, o, now)
	l.landed(it)
	if done {
		l.remove(it)
	}
}

func TestJudge(t *testing.T) {
	for status, want := range map[int]verdict{200: delivered, 204: delivered, 299: delivered, 302: refused, 400: refused, 404: refused, 410: gone, 429: unwell, 500: refused, 502: unwell, 503: unwell, 504: unwell, 999: refused} {
		if o := judge(status, "", noon); o.verdict != want || (o.reason == "") != (want == delivered) {
			t.Errorf("%d is %+v, want verdict %d", status, o, want)
		}
	}
	for header, want := range map[string]time.Duration{"30": 30 * time.Second, "999999999": longestRetryAfter, "-1": 0, "soon": 0, noon.Add(time.Minute).Format(http.TimeFormat): time.Minute} {
		o, at := judge(503, header, noon), noon.Add(want)
		if want == 0 {
			at = time.Time{}
		}
		if !o.notBefore.Equal(at) {
			t.Errorf("Retry-After: %s asks not to come before %s, want %s", header, o.notBefore, at)
		}
	}
}

// Several tries follow a failure within 30 s, and the tries of one entry end.
func TestThePausesOfOneEntry(t *testing.T) {
	for seed := range 100 {
		at, tries := time.Duration(0), 1
		for ; at <= 30*time.Second; tries++ {
			at += pause(entryPauses, tries, fmt.Sprint(seed))
		}
		if tries-2 != 3 {
			t.Errorf("%d tries follow the first within 30 s, want 3", tries-2)
		}
	}
	a, b := pause(entryPauses, 4, "a"), pause(entryPauses, 4, "b")
	if a == b || a < 54*time.Second || a > 66*time.Second {
		t.Errorf("the pauses of two entries are %s and %s, want them spread about a minute", a, b)
	}
	if long := pause(entryPauses, 1000, "a"); long > 14*time.Hour {
		t.Errorf("the longest pause is %s", long)
	}
}

// One that the endpoint does not want holds up nobody, and neither does one that fells
// the endpoint each time.
func TestOneEntryDoesNotKeepTheOthers(t *testing.T) {
	for name, o := range map[string]outcome{"refused": {verdict: refused, reason: "it answered 400"}, "unwell": {verdict: unwell, reason: "it answered 502"}} {
		l, now := lineOf(3), noon.Add(time.Second)
		l.try(t, now, "a", o)
		if it, at := l.pick(now); it == nil && at.IsZero() {
			t.Fatalf("%s: nothing is to be sent ever again", name)
		} else if it != nil {
			l.land(it, outcome{}, now)
		} else {
			now = at
			l.try(t, now, "b", outcome{})
		}
		l.try(t, now, "c", outcome{})
		if it, at := l.pick(now); it != nil || at.Sub(now) > 3*time.Second {
			t.Errorf("%s: after the others comes %+v, or at %s", name, it, at)
		}
	}
}

// In an outage one entry is tried at a time, less and less often; at its end all are due
// in their order.
func TestAnOutage(t *testing.T) {
	l, now := lineOf(6), noon.Add(time.Second)
	down := outcome{verdict: unwell, reason: "it cannot be reached"}
	last := time.Duration(0)
	for range 20 {
		it, at := l.pick(now)
		if it == nil {
			if at.IsZero() || !at.After(now) {
				t.Fatalf("at %s the next try is at %s", now, at)
			}
			last, now = at.Sub(now), at
			continue
		}
		if second, _ := l.pick(now); second != nil && l.failures > 0 {
			t.Fatal("two tries go to an endpoint that is down")
		} else if second != nil {
			l.land(second, outcome{verdict: aborted}, now)
		}
		l.land(it, down, now)
	}
	if last < 5*time.Second || last > 11*time.Minute {
		t.Errorf("after many failures the pause is %s", last)
	}
	now = now.Add(time.Hour)
	it, _ := l.pick(now)
	l.land(it, outcome{}, now)
	var order []string
	for range 4 {
		it, at := l.pick(now)
		if it == nil {
			t.Fatalf("after the outage the next is due at %s only", at)
		}
		order = append(order, it.id)
	}
	for i := 1; i < len(order); i++ {
		if order[i] < order[i-1] {
			t.Errorf("after the outage they come as %v", order)
		}
	}
}

func TestAnAnswerOf410EndsALine(t *testing.T) {
	l := lineOf(3)
	l.try(t, noon, "a", outcome{verdict: gone, reason: "it answered 410 Gone"})
	if it, at := l.pick(noon.Add(100 * time.Hour)); it != nil || !at.IsZero() || l.waiting != 0 || len(l.items) != 3 {
		t.Errorf("%+v is sent to an endpoint that is gone; %d wait, %d are kept", it, l.waiting, len(l.items))
	}
	l.note(outcome{}, noon.Add(time.Hour))
	if !l.state.Gone.IsZero() {
		t.Error("an endpoint that took something is still gone")
	}
}

// Of one record nothing overtakes what is under way.
func TestOneRecordsEventsAreSentOneAfterTheOther(t *testing.T) {
	l := lineOf(2)
	l.add(&item{id: "A", record: "0", queued: noon.Add(500 * time.Microsecond)})
	first, _ := l.pick(noon.Add(time.Second))
	second, _ := l.pick(noon.Add(time.Second))
	third, _ := l.pick(noon.Add(time.Second))
	if first.id != "a" || second.id != "b" || third != nil {
		t.Fatalf("picked %+v, %+v, %+v", first, second, third)
	}
}

func TestBoundsOfALine(t *testing.T) {
	l := new(line)
	for i := range MaxWaiting + 3 {
		l.add(&item{id: fmt.Sprint(i), queued: noon.Add(time.Duration(i))})
	}
	it, _ := l.pick(noon.Add(time.Second)) // the oldest is under way
	dropped := l.surplus()
	if len(dropped) != 3 || it.id != "0" || dropped[0].id != "1" || dropped[2].id != "3" {
		t.Errorf("%d are dropped, %+v first, while %s is under way", len(dropped), dropped[0], it.id)
	}
	for _, d := range dropped {
		l.remove(d)
	}
	for _, it := range l.items {
		l.giveUp(it, noon)
	}
	if n := len(l.surplus()); n != MaxWaiting-MaxGivenUp {
		t.Errorf("%d of those given up are dropped, want %d", n, MaxWaiting-MaxGivenUp)
	}
}

func TestWhatIsOldIsGivenUpAndThenForgotten(t *testing.T) {
	l := lineOf(2)
	giveUp, forget := l.stale(noon.Add(keepFor))
	if len(giveUp) != 1 || giveUp[0].id != "a" || forget != nil {
		t.Fatalf("after %s %v are given up and %v forgotten", keepFor, giveUp, forget)
	}
	l.giveUp(giveUp[0], noon.Add(keepFor))
	if _, forget = l.stale(noon.Add(2*keepFor - 1)); forget != nil {
		t.Errorf("%v is forgotten early", forget)
	}
	if _, forget = l.stale(noon.Add(2 * keepFor)); len(forget) != 1 || forget[0].id != "a" {
		t.Errorf("%v are forgotten, want a", forget)
	}
}
