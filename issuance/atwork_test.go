package issuance

import (
	"fmt"
	"strings"
	"testing"
	"time"

	acmez "github.com/mholt/acmez/v3/acme"

	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

func TestAskAgain(t *testing.T) {
	for name, c := range map[string]struct {
		found int
		asked time.Duration
		want  time.Duration
	}{
		"soon at first":               {0, 0, 2 * time.Second},
		"doubled":                     {3, 0, 16 * time.Second},
		"two minutes at most":         {9, 0, 2 * time.Minute},
		"however often":               {1 << 30, 0, 2 * time.Minute},
		"as the CA says":              {0, 30 * time.Second, 30 * time.Second},
		"no longer, whatever it says": {0, 24 * time.Hour, 2 * time.Minute},
		"nor sooner":                  {3, -time.Hour, 16 * time.Second},
	} {
		if got := askAgain(c.found, c.asked); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// slowly makes the CA take its time at a step, for as long as the returned
// function is not called, and say a Retry-After with it. at is "signing",
// "signing, a day" and so on; what is slow begins with host.
func (ca *testCA) slowly(at, retryAfter, host string) (end func()) {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	ca.slow = &slowness{at: at, retryAfter: retryAfter, host: host}
	return func() {
		ca.mu.Lock()
		defer ca.mu.Unlock()
		ca.slow = nil
	}
}

// More orders than there are slots, all of which the CA takes its time with, do
// not keep another from going through, over a restart too, and none is placed
// twice.
func TestOrdersThatACATakesItsTimeWithGiveTheirSlotsBack(t *testing.T) {
	for _, at := range []string{"validating", "signing", "ready"} {
		for _, after := range []string{"", "86400"} {
			t.Run(at+" "+after, func(t *testing.T) {
				w := newWorld(t)
				w.patient(200 * time.Millisecond)
				end := w.ca.slowly(at, after, "slow")
				const many = defaultConcurrency + 8
				host := func(i int) string { return fmt.Sprintf("slow%d.d%d.com", i, i) }
				want := func(h string) {
					w.dns.delegate(h)
					w.s.Want(Want{Hostname: h, UID: h, DNS01: true})
				}
				atWork := func(o ownership.CertificateObservation) bool {
					return o.Work == ownership.WorkIssuing && strings.Contains(o.Message, " since 2") && strings.Contains(o.Message, "is asked again")
				}
				for i := range many {
					want(host(i))
				}
				for i := range many {
					w.until(host(i), "at work", atWork)
				}
				want("quick.example.com")
				w.until("quick.example.com", "certified", seen)
				w.halt()
				w.start()
				w.patient(200 * time.Millisecond)
				for i := range many {
					want(host(i))
				}
				w.advance(3 * time.Minute)
				o := w.until(host(1), "at work after the restart", atWork)
				for range 3 { // what it says does not change with each question
					asked := w.ca.count("order") + w.ca.count("authz")
					w.advance(3 * time.Minute)
					w.wait("another question", func() bool { return w.ca.count("order")+w.ca.count("authz") > asked }, func() string { return "" })
					if again := w.s.Observe(host(1)); again.Message != o.Message || again.Work != o.Work {
						t.Errorf("said %q, and then %q", o.Message, again.Message)
					}
				}
				end()
				for i := range many {
					w.until(host(i), "certified", func(o ownership.CertificateObservation) bool {
						w.advance(time.Second) // a question may have been under way
						return seen(o)
					})
				}
				if got := w.ca.placed(); got != many+1 {
					t.Errorf("%d orders, want %d", got, many+1)
				}
				w.zone.mu.Lock()
				defer w.zone.mu.Unlock()
				for h, values := range w.zone.values {
					if len(values) > 0 {
						t.Errorf("%s: %d values left", h, len(values))
					}
				}
			})
		}
	}
}

// A day in Retry-After costs no more questions than one every two minutes, and no
// fewer.
func TestACAIsAskedAtABoundedPace(t *testing.T) {
	w := newWorld(t)
	w.patient(50 * time.Millisecond)
	end := w.ca.slowly("signing", "86400", "slow")
	w.dns.delegate("slow.example.com")
	w.s.Want(Want{Hostname: "slow.example.com", UID: "u1", DNS01: true})
	w.until("slow.example.com", "at work", func(o ownership.CertificateObservation) bool {
		return strings.Contains(o.Message, "signing the certificate since")
	})
	before := w.ca.count("")
	w.s.Retry("slow.example.com") // nobody makes it ask more often
	for n := range 3 {
		w.advance(110 * time.Second)
		w.s.entries.mu.Lock()
		_, at := w.s.entries.of["slow.example.com"].next(w.s.now())
		w.s.entries.mu.Unlock()
		if left := at.Sub(w.s.now()); left <= 0 || left > lastAsk {
			t.Errorf("asked again in %v", left)
		}
		if got := w.ca.count("") - before; got != n {
			t.Errorf("%d requests, want %d", got, n)
		}
		w.advance(11 * time.Second)
		w.wait("the question", func() bool { return w.ca.count("") > before+n }, func() string { return fmt.Sprint(w.ca.count("") - before) })
		w.wait("the end of it", func() bool {
			w.s.entries.mu.Lock()
			defer w.s.entries.mu.Unlock()
			return w.s.entries.of["slow.example.com"].flight == nil
		}, func() string { return "" })
	}
	end()
	w.advance(3 * time.Minute)
	w.until("slow.example.com", "certified", seen)
}

// What a CA decides after the slot was given back counts like any other decision.
func TestARefusalAfterALongValidationIsTheCustomers(t *testing.T) {
	w := newWorld(t)
	w.patient(50 * time.Millisecond)
	w.ca.slowly("validating", "", "slow")
	w.dns.delegate("slow.example.com")
	w.s.Want(Want{Hostname: "slow.example.com", UID: "u1", DNS01: true})
	w.until("slow.example.com", "at work", func(o ownership.CertificateObservation) bool {
		return strings.Contains(o.Message, "checking the dns-01 challenge since")
	})
	w.ca.mu.Lock()
	w.ca.slow = nil
	o := w.ca.orders[0]
	o.Authz, o.Status, o.Error = acmez.StatusInvalid, acmez.StatusInvalid, &acmez.Problem{Type: acmez.ProblemTypeDNS, Detail: "looked in vain"}
	w.ca.mu.Unlock()
	w.advance(3 * time.Second)
	w.until("slow.example.com", "failed", func(o ownership.CertificateObservation) bool {
		return o.Work == ownership.WorkFailed && strings.Contains(o.Message, "looked in vain")
	})
	if w.ca.placed() != 1 {
		t.Errorf("%d orders", w.ca.placed())
	}
	w.s.entries.mu.Lock()
	tr := *w.s.entries.of["slow.example.com"].trouble()
	w.s.entries.mu.Unlock()
	if tr.Class != acme.ClassCustomer || len(tr.Failed) != 1 {
		t.Errorf("trouble %+v", tr)
	}
}

// A CA that loses a validation, as some do, is told to validate again.
func TestAChallengeThatStaysPendingIsBegunAgain(t *testing.T) {
	w := newWorld(t)
	w.patient(50 * time.Millisecond)
	end := w.ca.slowly("validating", "", "slow")
	w.dns.delegate("slow.example.com")
	w.s.Want(Want{Hostname: "slow.example.com", UID: "u1", DNS01: true})
	w.until("slow.example.com", "at work", func(o ownership.CertificateObservation) bool { return strings.Contains(o.Message, "since") })
	if got := w.ca.count("chal"); got != 1 {
		t.Errorf("begun %d times", got)
	}
	w.advance(6 * time.Minute)
	w.wait("the challenge to be begun again", func() bool { return w.ca.count("chal") == 2 }, func() string { return "" })
	end()
	w.advance(6 * time.Minute)
	w.until("slow.example.com", "certified", seen)
}

// After a while the other CAs are asked, once, and the order goes on beside.
func TestOthersAreAskedWhenACATakesTooLong(t *testing.T) {
	w := newWorld(t)
	w.patient(50 * time.Millisecond)
	other := w.second()
	other.answering(refusing)
	end := w.ca.slowly("signing", "", "slow")
	w.dns.delegate("slow.example.com")
	w.s.Want(Want{Hostname: "slow.example.com", UID: "u1", DNS01: true})
	working := func(o ownership.CertificateObservation) bool {
		return strings.Contains(o.Message, "signing the certificate since")
	}
	w.until("slow.example.com", "at work", working)
	w.advance(6 * time.Minute)
	w.wait("the other to be asked", func() bool { return other.count("order") > 0 }, func() string { return "" })
	w.until("slow.example.com", "at work", working)
	got := other.count("order")
	for range 3 {
		before := w.ca.count("order")
		w.advance(3 * time.Minute)
		w.wait("another question", func() bool { return w.ca.count("order") > before }, func() string { return "" })
	}
	if now := other.count("order"); now > got {
		t.Errorf("%d requests at the other, after %d", now, got)
	}
	end()
	w.until("slow.example.com", "certified", func(o ownership.CertificateObservation) bool {
		w.advance(time.Second) // a question may have been under way
		return seen(o)
	})
	if w.ca.placed() != 1 {
		t.Errorf("%d orders", w.ca.placed())
	}
}

// An order that is not ready right after its authorization is asked after, and not
// finalized before, whatever a CA makes of that.
func TestAnOrderThatIsNotReadyYetIsPolled(t *testing.T) {
	w := newWorld(t)
	w.ca.strict = true
	w.patient(10 * time.Second)
	end := w.ca.slowly("ready", "", "api.")
	w.dns.delegate("api.example.com")
	w.s.Want(Want{Hostname: "api.example.com", UID: "u1", DNS01: true})
	w.wait("some questions", func() bool { return w.ca.count("order") > 3 }, func() string { return fmt.Sprint(w.ca.count("order")) })
	end()
	w.until("api.example.com", "certified", seen)
	if orders, asked := w.ca.placed(), w.ca.count("finalize"); orders != 1 || asked != 1 {
		t.Errorf("%d orders were placed, and finalized %d times", orders, asked)
	}

	w.ca.mu.Lock()
	w.ca.lags = []acmez.Problem{
		{Type: acmez.ProblemTypeOrderNotReady, Status: 403},
		{Type: acmez.ProblemTypeMalformed, Status: 400, Detail: `Order's status ("pending") is not acceptable for finalization`},
		{Type: acmez.ProblemTypeUnauthorized, Status: 403, Detail: "authorizations are not final"},
	}
	w.ca.mu.Unlock()
	w.dns.delegate("lag.example.com")
	w.s.Want(Want{Hostname: "lag.example.com", UID: "u2", DNS01: true})
	w.until("lag.example.com", "certified", seen)
	if orders := w.ca.placed(); orders != 2 {
		t.Errorf("%d orders were placed for two certificates", orders)
	}
}

// What acmez returns after its one question is pinned: a server's error is told
// from an order that is not done.
func TestAnErrorAtFinalizingIsNoWaiting(t *testing.T) {
	w := newWorld(t)
	w.patient(50 * time.Millisecond)
	w.ca.inject = func(path string) *injected {
		if strings.HasPrefix(path, "finalize/") {
			return &injected{status: 500, problem: acmez.Problem{Type: acmez.ProblemTypeServerInternal, Detail: "cannot sign"}}
		}
		return nil
	}
	w.dns.delegate("api.example.com")
	w.s.Want(Want{Hostname: "api.example.com", UID: "u1", DNS01: true})
	o := w.until("api.example.com", "failed", worked(ownership.WorkFailed))
	if !strings.Contains(o.Message, "cannot sign") {
		t.Errorf("said %q", o.Message)
	}
}

// An order of before this version, without what is known of the CA's work, is
// taken up.
func TestAnOrderOfAnEarlierVersionIsTakenUp(t *testing.T) {
	_, r, err := decodeRecord(IndexPrefix+"a.example.com", []byte(`{"order":{"ca":"x","account":"y","url":"z","placed":7}}`))
	if err != nil || r.Order.AtWork("x") || r.Order.Placed != 7 {
		t.Errorf("%+v, %v", r.Order, err)
	}
}
