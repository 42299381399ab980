package issuance

import (
	"fmt"
	"strings"
	"testing"
	"time"

	acmez "github.com/mholt/acmez/v3/acme"

	"github.com/apoxy-dev/caddy-apoxy/internal/acmetest"
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

// More orders than there are slots, all of which the CA takes its time with, do
// not keep another from going through, over a restart too, and none is placed
// twice.
func TestOrdersThatACATakesItsTimeWithGiveTheirSlotsBack(t *testing.T) {
	for _, at := range []string{"validating", "signing", "ready"} {
		for _, after := range []string{"", "86400"} {
			t.Run(at+" "+after, func(t *testing.T) {
				w := newWorld(t)
				w.patient(200 * time.Millisecond)
				end := w.ca.Slowly(at, after, "slow")
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
					asked := w.ca.Count("order") + w.ca.Count("authz")
					w.advance(3 * time.Minute)
					w.wait("another question", func() bool { return w.ca.Count("order")+w.ca.Count("authz") > asked }, func() string { return "" })
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
				if got := w.ca.Placed(); got != many+1 {
					t.Errorf("%d orders, want %d", got, many+1)
				}
				if n := w.zone.Len(""); n != 0 {
					t.Errorf("%d values are left in the zone", n)
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
	end := w.ca.Slowly("signing", "86400", "slow")
	w.dns.delegate("slow.example.com")
	w.s.Want(Want{Hostname: "slow.example.com", UID: "u1", DNS01: true})
	w.until("slow.example.com", "at work", func(o ownership.CertificateObservation) bool {
		return strings.Contains(o.Message, "signing the certificate since")
	})
	before := w.ca.Count("")
	w.s.Retry("slow.example.com") // nobody makes it ask more often
	for n := range 3 {
		w.advance(110 * time.Second)
		w.s.entries.mu.Lock()
		_, at := w.s.entries.of.get("slow.example.com").next(w.s.now())
		w.s.entries.mu.Unlock()
		if left := at.Sub(w.s.now()); left <= 0 || left > lastAsk {
			t.Errorf("asked again in %v", left)
		}
		if got := w.ca.Count("") - before; got != n {
			t.Errorf("%d requests, want %d", got, n)
		}
		w.advance(11 * time.Second)
		w.wait("the question", func() bool { return w.ca.Count("") > before+n }, func() string { return fmt.Sprint(w.ca.Count("") - before) })
		w.wait("the end of it", func() bool {
			w.s.entries.mu.Lock()
			defer w.s.entries.mu.Unlock()
			return w.s.entries.of.get("slow.example.com").flight() == nil
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
	w.ca.Slowly("validating", "", "slow")
	w.dns.delegate("slow.example.com")
	w.s.Want(Want{Hostname: "slow.example.com", UID: "u1", DNS01: true})
	w.until("slow.example.com", "at work", func(o ownership.CertificateObservation) bool {
		return strings.Contains(o.Message, "checking the dns-01 challenge since")
	})
	w.ca.Mu.Lock()
	w.ca.Slow = nil
	o := w.ca.Orders[0]
	o.Authz, o.Status, o.Error = acmez.StatusInvalid, acmez.StatusInvalid, &acmez.Problem{Type: acmez.ProblemTypeDNS, Detail: "looked in vain"}
	w.ca.Mu.Unlock()
	w.advance(3 * time.Second)
	w.until("slow.example.com", "failed", func(o ownership.CertificateObservation) bool {
		return o.Work == ownership.WorkFailed && strings.Contains(o.Message, "looked in vain")
	})
	if w.ca.Placed() != 1 {
		t.Errorf("%d orders", w.ca.Placed())
	}
	w.s.entries.mu.Lock()
	tr := *w.s.entries.of.get("slow.example.com").trouble()
	w.s.entries.mu.Unlock()
	if tr.Class != acme.ClassCustomer || len(tr.Failed) != 1 {
		t.Errorf("trouble %+v", tr)
	}
}

// A CA that loses a validation, as some do, is told to validate again.
func TestAChallengeThatStaysPendingIsBegunAgain(t *testing.T) {
	w := newWorld(t)
	w.patient(50 * time.Millisecond)
	end := w.ca.Slowly("validating", "", "slow")
	w.dns.delegate("slow.example.com")
	w.s.Want(Want{Hostname: "slow.example.com", UID: "u1", DNS01: true})
	w.until("slow.example.com", "at work", func(o ownership.CertificateObservation) bool { return strings.Contains(o.Message, "since") })
	if got := w.ca.Count("chal"); got != 1 {
		t.Errorf("begun %d times", got)
	}
	w.advance(6 * time.Minute)
	w.wait("the challenge to be begun again", func() bool { return w.ca.Count("chal") == 2 }, func() string { return "" })
	end()
	w.advance(6 * time.Minute)
	w.until("slow.example.com", "certified", seen)
}

// After a while the other CAs are asked, once, and the order goes on beside.
func TestOthersAreAskedWhenACATakesTooLong(t *testing.T) {
	w := newWorld(t)
	w.patient(50 * time.Millisecond)
	other := w.second()
	other.AnswerOrders(refusing)
	end := w.ca.Slowly("signing", "", "slow")
	w.dns.delegate("slow.example.com")
	w.s.Want(Want{Hostname: "slow.example.com", UID: "u1", DNS01: true})
	working := func(o ownership.CertificateObservation) bool {
		return strings.Contains(o.Message, "signing the certificate since")
	}
	w.until("slow.example.com", "at work", working)
	w.advance(6 * time.Minute)
	w.wait("the other to be asked", func() bool { return other.Count("order") > 0 }, func() string { return "" })
	w.until("slow.example.com", "at work", working)
	got := other.Count("order")
	for range 3 {
		before := w.ca.Count("order")
		w.advance(3 * time.Minute)
		w.wait("another question", func() bool { return w.ca.Count("order") > before }, func() string { return "" })
	}
	if now := other.Count("order"); now > got {
		t.Errorf("%d requests at the other, after %d", now, got)
	}
	end()
	w.until("slow.example.com", "certified", func(o ownership.CertificateObservation) bool {
		w.advance(time.Second) // a question may have been under way
		return seen(o)
	})
	if w.ca.Placed() != 1 {
		t.Errorf("%d orders", w.ca.Placed())
	}
}

// An order that is not ready right after its authorization is asked after, and not
// finalized before, whatever a CA makes of that.
func TestAnOrderThatIsNotReadyYetIsPolled(t *testing.T) {
	w := newWorld(t)
	w.ca.Strict = true
	w.patient(10 * time.Second)
	end := w.ca.Slowly("ready", "", "api.")
	w.dns.delegate("api.example.com")
	w.s.Want(Want{Hostname: "api.example.com", UID: "u1", DNS01: true})
	w.wait("some questions", func() bool { return w.ca.Count("order") > 3 }, func() string { return fmt.Sprint(w.ca.Count("order")) })
	end()
	w.until("api.example.com", "certified", seen)
	if orders, asked := w.ca.Placed(), w.ca.Count("finalize"); orders != 1 || asked != 1 {
		t.Errorf("%d orders were placed, and finalized %d times", orders, asked)
	}

	w.ca.Mu.Lock()
	w.ca.Lags = []acmez.Problem{
		{Type: acmez.ProblemTypeOrderNotReady, Status: 403},
		{Type: acmez.ProblemTypeMalformed, Status: 400, Detail: `Order's status ("pending") is not acceptable for finalization`},
		{Type: acmez.ProblemTypeUnauthorized, Status: 403, Detail: "authorizations are not final"},
	}
	w.ca.Mu.Unlock()
	w.dns.delegate("lag.example.com")
	w.s.Want(Want{Hostname: "lag.example.com", UID: "u2", DNS01: true})
	w.until("lag.example.com", "certified", seen)
	if orders := w.ca.Placed(); orders != 2 {
		t.Errorf("%d orders were placed for two certificates", orders)
	}
}

// What acmez returns after its one question is pinned: a server's error is told
// from an order that is not done.
func TestAnErrorAtFinalizingIsNoWaiting(t *testing.T) {
	w := newWorld(t)
	w.patient(50 * time.Millisecond)
	w.ca.Inject = func(path string) *acmetest.Answer {
		if strings.HasPrefix(path, "finalize/") {
			return &acmetest.Answer{Status: 500, Problem: acmez.Problem{Type: acmez.ProblemTypeServerInternal, Detail: "cannot sign"}}
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
	_, r, err := decodeDossier(IndexPrefix+"a.example.com", []byte(`{"order":{"ca":"x","account":"y","url":"z","placed":7}}`))
	if err != nil || r.Order.AtWork("x") || r.Order.Placed != 7 {
		t.Errorf("%+v, %v", r.Order, err)
	}
}
