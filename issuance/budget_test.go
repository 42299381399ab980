package issuance

import (
	"math/rand/v2"
	"testing"
	"time"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// No span of the budget's length ever sees more orders than the budget, and
// waiting for what free says always helps.
func TestBudgetIsNeverPassed(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 100 {
		b := Budget{Orders: 1 + rng.IntN(40), Per: time.Duration(1+rng.IntN(180)) * time.Minute}
		s, now := newSpending(b), epoch
		var taken []time.Time
		for range 600 {
			now = now.Add(time.Duration(rng.Int64N(int64(b.Per) / int64(b.Orders))))
			if rng.IntN(50) == 0 { // a restart
				next := newSpending(b)
				if err := next.unmarshal(s.marshal()); err != nil {
					t.Fatal(err)
				}
				s = next
			}
			if rng.IntN(3) == 0 {
				free := s.free(now)
				if free.Sub(now) > b.Per+b.Per/50 {
					t.Fatalf("%v: must wait %v", b, free.Sub(now))
				}
				now = free
				if !s.take(now) {
					t.Fatalf("%v: refused at the time it named", b)
				}
			} else if !s.take(now) {
				continue
			}
			taken = append(taken, now)
			n := 0
			for _, at := range taken {
				if now.Sub(at) < b.Per {
					n++
				}
			}
			if n > b.Orders {
				t.Fatalf("%v: %d orders within one span", b, n)
			}
		}
	}
}

// The forecast is what comes true, to the hundredth of a span that spent orders
// are dated to.
func TestForecast(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 50 {
		per, now := time.Duration(1+rng.IntN(180))*time.Minute, epoch
		s := newSpending(Budget{Orders: 1 + rng.IntN(20), Per: per})
		for range rng.IntN(60) { // what was spent before
			now = s.free(now.Add(time.Duration(rng.IntN(int(per / 10)))))
			s.take(now)
		}
		told := make([]time.Duration, 3*s.budget.Orders)
		for i := range told {
			told[i] = s.forecast(now, i)
		}
		at := now
		for i := range told {
			at = s.free(at)
			if !s.take(at) {
				t.Fatal("free is not free")
			}
			if off := at.Sub(now) - told[i]; off.Abs() > per/10 {
				t.Fatalf("%v: with %d before it %v was told, and it went after %v", s.budget, i, told[i], at.Sub(now))
			}
		}
	}
	s := newSpending(Budget{Orders: 300, Per: 3 * time.Hour})
	for range 300 {
		s.take(epoch)
	}
	if got := s.forecast(epoch, 612); got < 9*time.Hour || got > 9*time.Hour+3*time.Minute {
		t.Errorf("612 before it, and all spent: %v", got)
	}
	if got := s.forecast(epoch.Add(2*time.Hour), 0); got < time.Hour || got > time.Hour+3*time.Minute {
		t.Errorf("next, and all spent two hours ago: %v", got)
	}
	if got := newSpending(Budget{}).forecast(epoch, 1e6); got != 0 {
		t.Errorf("without a bound: %v", got)
	}
}

func TestTheQueueIsToldToTwoDigits(t *testing.T) {
	for n, want := range map[int]int{0: 0, 7: 7, 99: 99, 100: 100, 101: 110, 612: 620, 1000: 1000, 12345: 13000} {
		if got := twoDigits(n); got != want {
			t.Errorf("%d is told as %d, want %d", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		time.Second: "10 s", 61 * time.Second: "2 min", 11 * time.Minute: "15 min", 2 * time.Hour: "2 h",
		2*time.Hour + time.Second: "2 h 15 min", 7*time.Hour + time.Minute: "8 h", 50 * time.Hour: "3 d",
	} {
		if got := roughDuration(d); got != want {
			t.Errorf("%s is told as %q, want %q", d, got, want)
		}
	}
}

func TestSpentOrdersOfAnotherSpanStillCount(t *testing.T) {
	old := newSpending(Budget{Orders: 10, Per: time.Hour})
	for range 10 {
		old.take(epoch)
	}
	s := newSpending(Budget{Orders: 10, Per: 3 * time.Hour})
	if err := s.unmarshal(old.marshal()); err != nil {
		t.Fatal(err)
	}
	if s.take(epoch.Add(2 * time.Hour)) {
		t.Error("the longer span forgot")
	}
	for _, bad := range []string{"", "{}", `{"slot":1,"spent":{"x":1}}`, `{"slot":-1}`} {
		if s.unmarshal([]byte(bad)) == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// A machine may begin with a clock that is far ahead, and be set right.
func TestOrdersOfAFutureThatDidNotComeCountFromNow(t *testing.T) {
	s := newSpending(Budget{Orders: 2, Per: time.Hour})
	for _, step := range []struct {
		at   time.Duration
		want int
	}{{1000 * time.Hour, 2}, {0, 0}, {time.Hour + time.Minute, 2}} {
		n := 0
		for s.take(epoch.Add(step.at)) {
			n++
		}
		if n != step.want {
			t.Errorf("at %v it allows %d orders, want %d", step.at, n, step.want)
		}
	}
}
