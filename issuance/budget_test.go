package issuance

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// No more orders go out in any span than the budget has and what comes back of
// it meanwhile, and waiting for what free says always helps.
func TestBudgetIsNeverPassed(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 100 {
		b := acme.Budget{Orders: 1 + rng.IntN(40), Per: time.Duration(1+rng.IntN(180)) * time.Minute}
		k, now := bucket{}, epoch
		var taken []time.Time
		for range 600 {
			now = now.Add(time.Duration(rng.Int64N(int64(b.Per) / int64(b.Orders))))
			if rng.IntN(50) == 0 { // a restart
				var err error
				if k, err = decodeBucket(k.under(b, now).marshal()); err != nil {
					t.Fatal(err)
				}
			}
			ok := false
			if rng.IntN(3) == 0 {
				free := k.free(b, now)
				if free.Sub(now) > b.Each() {
					t.Fatalf("%v: must wait %v", b, free.Sub(now))
				}
				now = free
				if k, ok = k.take(b, now); !ok {
					t.Fatalf("%v: refused at the time it named", b)
				}
			} else if k, ok = k.take(b, now); !ok {
				continue
			}
			taken = append(taken, now)
			for i, from := range taken { // this one and all since an earlier one
				if n, most := len(taken)-i, b.Orders+int(now.Sub(from)/b.Each()); n > most {
					t.Fatalf("%v: %d orders within %v, want at most %d", b, n, now.Sub(from), most)
				}
			}
		}
	}
}

// The forecast is what comes true.
func TestForecast(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 50 {
		b := acme.Budget{Orders: 1 + rng.IntN(20), Per: time.Duration(1+rng.IntN(180)) * time.Minute}
		k, now := bucket{}, epoch
		for range rng.IntN(60) { // what was spent before
			now = k.free(b, now.Add(time.Duration(rng.IntN(int(b.Per/10)))))
			k, _ = k.take(b, now)
		}
		told := make([]time.Duration, 3*b.Orders)
		for i := range told {
			told[i] = k.forecast(b, now, i)
		}
		at, ok := now, false
		for i := range told {
			at = k.free(b, at)
			if k, ok = k.take(b, at); !ok {
				t.Fatal("free is not free")
			}
			if got := at.Sub(now); got != told[i] {
				t.Fatalf("%v: with %d before it %v was told, and it went after %v", b, i, told[i], got)
			}
		}
	}
	b, k := acme.Budget{Orders: 300, Per: 3 * time.Hour}, bucket{}
	for range 300 {
		k, _ = k.take(b, epoch)
	}
	for _, c := range []struct {
		after time.Duration
		ahead int
		want  time.Duration
	}{
		{0, 612, 613 * 36 * time.Second},
		{10 * time.Second, 0, 26 * time.Second},
		{2 * time.Hour, 0, 0},
		{0, 1e15, longestForecast},
	} {
		if got := k.forecast(b, epoch.Add(c.after), c.ahead); got != c.want {
			t.Errorf("%d before it, and all spent %v ago: %v, want %v", c.ahead, c.after, got, c.want)
		}
	}
	if got := k.forecast(acme.Budget{}, epoch, 1e6); got != 0 {
		t.Errorf("without a bound: %v", got)
	}
}

// A thousand new names are through in less time than when a budget came back
// all at once, a span after it was spent: 700 after the first 300, one every 36 s.
func TestAThousandNewNames(t *testing.T) {
	b, k, at := acme.Budget{Orders: 300, Per: 3 * time.Hour}, bucket{}, epoch
	for range 1000 {
		at = k.free(b, at)
		k, _ = k.take(b, at)
	}
	if got, want := at.Sub(epoch), 7*time.Hour; got != want {
		t.Errorf("1000 new names take %v, want %v", got, want)
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

// What was spent under one budget stays spent under the next, order by order.
func TestSpentOrdersStayUnderAnotherBudget(t *testing.T) {
	old, k := acme.Budget{Orders: 10, Per: time.Hour}, bucket{}
	for range 8 {
		k, _ = k.take(old, epoch)
	}
	for _, c := range []struct {
		b    acme.Budget
		want int
	}{{old, 2}, {acme.Budget{Orders: 10, Per: 3 * time.Hour}, 2}, {acme.Budget{Orders: 20, Per: time.Hour}, 12}, {acme.Budget{Orders: 4, Per: time.Hour}, 0}} {
		if got := k.room(c.b, epoch); got != c.want {
			t.Errorf("after 8 orders of %v, %v has room for %d, want %d", old, c.b, got, c.want)
		}
	}
	if got := k.free(acme.Budget{Orders: 4, Per: time.Hour}, epoch).Sub(epoch); got != 15*time.Minute {
		t.Errorf("a budget that was lowered below what was spent allows the next after %v", got)
	}
}

// What was kept before is read so that it never allows more than it did.
func TestSlotsOfBeforeAreRead(t *testing.T) {
	b := acme.Budget{Orders: 10, Per: 100 * time.Hour} // a slot is an hour
	first := epoch.UnixNano() / int64(time.Hour)
	k, err := decodeBucket(fmt.Appendf(nil, `{"slot":%d,"spent":{"%d":6,"%d":4}}`, time.Hour, first, first+1))
	if err != nil {
		t.Fatal(err)
	}
	for after, want := range map[time.Duration]int{0: 0, 2 * time.Hour: 0, 13 * time.Hour: 1, 200 * time.Hour: 10} {
		if got := k.room(b, epoch.Add(after)); got != want {
			t.Errorf("%v after ten of ten were spent there is room for %d, want %d", after, got, want)
		}
	}
	for _, bad := range []string{"", "{}", `{"slot":1,"spent":{"x":1}}`, `{"slot":-1}`, `{"full":"2026-01-01T00:00:00Z"}`, `{"full":"yesterday","each":1}`} {
		if _, err := decodeBucket([]byte(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// A machine may begin with a clock that is far ahead, and be set right.
func TestOrdersOfAFutureThatDidNotComeCountFromNow(t *testing.T) {
	c := &ca{CA: &acme.CA{Key: "ca", Auth: acme.Authority{Directory: "https://ca.test", Budget: acme.Budget{Orders: 2, Per: time.Hour}}}}
	l := newLedger(damagedStore(t, budgetPrefix+c.LedgerKey(), "{}"))
	for _, step := range []struct {
		at   time.Duration
		want int
	}{{1000 * time.Hour, 2}, {0, 0}, {time.Hour + time.Minute, 2}} {
		n := 0
		for {
			taken, err := l.take(t.Context(), c, epoch.Add(step.at))
			if err != nil {
				t.Fatal(err)
			}
			if !taken {
				break
			}
			n++
		}
		if n != step.want {
			t.Errorf("at %v it allows %d orders, want %d", step.at, n, step.want)
		}
	}
}
