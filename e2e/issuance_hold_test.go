package e2e

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// held is one request to wait that a gate has answered with.
type held struct {
	step        step
	at, until   time.Time
	conditioned bool // TLSReady has told of it
}

// holds refuses steps, each once, with a status and a Retry-After.
type holds struct {
	mu   sync.Mutex
	left []step
	done []held
	rule func(asked) http.HandlerFunc
}

// holding holds a hostname, or every request, at each of the steps in their order.
func holding(host string, status int, date bool, pause time.Duration, kind, detail string, steps ...step) *holds {
	h := &holds{left: steps}
	h.rule = func(a asked) http.HandlerFunc {
		h.mu.Lock()
		defer h.mu.Unlock()
		if len(h.left) == 0 || a.step != h.left[0] || host != "" && a.host != host {
			return nil
		}
		h.left = h.left[1:]
		now := time.Now()
		until, header := now.Add(pause), fmt.Sprint(int(pause/time.Second))
		if date {
			until = until.Truncate(time.Second)
			header = until.UTC().Format(http.TimeFormat)
		}
		text := detail
		if strings.Contains(detail, "%s") { // the time is in the words alone
			until = until.Truncate(time.Second)
			header, text = "", fmt.Sprintf(detail, until.UTC().Format("2006-01-02 15:04:05"))
		}
		h.done = append(h.done, held{step: a.step, at: now, until: until})
		return problem(status, kind, text, header)
	}
	return h
}

func (h *holds) so(t *testing.T) ([]held, []step) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.done), slices.Clone(h.left)
}

var untilStamp = regexp.MustCompile(`until (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC`)

// told notes which hold a RateLimited condition speaks of.
func (h *holds) told(c condition) {
	if c.Status != "False" || c.Reason != "RateLimited" {
		return
	}
	m := untilStamp.FindStringSubmatch(c.Message)
	if m == nil {
		return
	}
	said, err := time.Parse(time.DateTime, m[1])
	if err != nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.done {
		if d := said.Sub(h.done[i].until); d.Abs() < 1500*time.Millisecond {
			h.done[i].conditioned = true
		}
	}
}

// certified waits for a certificate and notes what TLSReady says meanwhile.
func (p *product) certified(t *testing.T, host string, limit time.Duration, also ...*holds) record {
	t.Helper()
	return p.await(t, host, limit, "the certificate", func(r record) error {
		for _, h := range also {
			h.told(r.condition("TLSReady"))
		}
		return is("TLSReady=True")(r)
	})
}

// silent fails the test over every request that was made while it was held.
func silent(t *testing.T, g *gate, h *holds, hosts ...string) {
	t.Helper()
	done, left := h.so(t)
	if len(left) > 0 {
		t.Errorf("the flow never came to %v", left)
	}
	for _, d := range done {
		for _, a := range g.between(d.at.Add(time.Millisecond), d.until, hosts...) {
			t.Errorf("held at %q until %v: %s %s was asked for %v before the end", d.step, d.until.Format("05.000"), a.step, a.host, d.until.Sub(a.at).Round(time.Millisecond))
		}
		if !d.conditioned {
			t.Errorf("held at %q until %s: TLSReady never said RateLimited with that time", d.step, d.until.UTC().Format(time.DateTime))
		}
	}
}

// Whatever request of the flow is answered with 429 or 503 and a time, in either
// form, everything is silent until then; the record says so; and the same order
// goes on afterwards.
func TestIssuanceObeysRetryAfterAtEveryStep(t *testing.T) {
	n := network(t)
	forms := []struct {
		name   string
		status int
		date   bool
	}{{"429 in seconds", 429, false}, {"429 with a date", 429, true}, {"503 in seconds", 503, false}, {"503 with a date", 503, true}}
	var gates []*gate
	for i := range forms {
		gates = append(gates, openGate(t, fmt.Sprintf("127.0.0.%d", 71+i), n.CA))
	}
	p := startAt(t, n, settings{}, gates...)
	customer := customer(t, n, "retryafter")
	var hosts []string
	for i := range forms {
		hosts = append(hosts, fmt.Sprintf("form%d.%s", i, customer.name))
	}
	customer.delegated(t, hosts...)
	steps := []step{atDirectory, atNonce, atAccount, atOrder, atAuthz, atChallenge, atPoll, atFinalize, atOrderPoll, atCertificate}
	t.Run("forms", func(t *testing.T) {
		for i, form := range forms {
			t.Run(form.name, func(t *testing.T) {
				t.Parallel()
				g, host := gates[i], hosts[i]
				kind := map[int]string{429: "rateLimited", 503: "serverInternal"}[form.status]
				h := holding("", form.status, form.date, 3*time.Second, kind, "Service busy; retry later.", steps...)
				g.obey(h.rule)
				p.submit(t, host, g.named())
				p.certified(t, host, 2*time.Minute, h)
				silent(t, g, h)
				if got := g.passed(atOrder, host); got != 1 {
					t.Errorf("%d orders reached the CA, want the one to be taken up again", got)
				}
				done, _ := h.so(t)
				for k := 1; k < len(done); k++ {
					if late := done[k].at.Sub(done[k-1].until); late > 5*time.Second {
						t.Errorf("after %q work went on %v late", done[k-1].step, late.Round(time.Millisecond))
					}
				}
			})
		}
	})
}

// A hold outlasts the process.
func TestIssuanceHoldsOverARestart(t *testing.T) {
	n := network(t)
	g := openGate(t, "127.0.0.71", n.CA)
	p := startAt(t, n, settings{}, g)
	customer := customer(t, n, "restartheld")
	host, other := "a."+customer.name, "b."+customer.name
	customer.delegated(t, host, other)
	h := holding("", 429, false, 12*time.Second, "rateLimited", "too many new orders (300) from this account in the last 3h0m0s", atOrder)
	g.obey(h.rule)
	p.submit(t, host)
	p.await(t, host, 20*time.Second, "the hold", is("TLSReady=False/RateLimited"))
	p.stop(t)
	p.run(t)
	p.submit(t, other)
	for _, name := range []string{host, other} {
		p.await(t, name, 8*time.Second, "the hold after the restart", func(r record) error {
			h.told(r.condition("TLSReady"))
			return is("TLSReady=False/RateLimited")(r)
		})
	}
	p.kill()
	p.run(t)
	p.certified(t, host, 40*time.Second, h)
	p.certified(t, other, 20*time.Second)
	silent(t, g, h)
}

// A limit stops what it is about and nothing else.
func TestIssuanceTellsTheScopesOfLimitsApart(t *testing.T) {
	n := network(t)
	g := openGate(t, "127.0.0.71", n.CA)
	p := startAt(t, n, settings{}, g)
	one, two := customer(t, n, "scopeone"), customer(t, n, "scopetwo")
	var names [2][]string
	for i, d := range []*domain{one, two} {
		for _, label := range []string{"name", "free", "exact", "limited", "sibling", "account", "last"} {
			names[i] = append(names[i], label+"."+d.name)
		}
		d.delegated(t, names[i]...)
	}
	at := func(label string, d *domain) string { return label + "." + d.name }
	const pause = 10 * time.Second // the first order waits for four: the delegation may be older than its name

	t.Run("failed authorizations stop the hostname", func(t *testing.T) {
		host := at("name", one)
		h := holding(host, 429, false, pause, "rateLimited",
			fmt.Sprintf("too many failed authorizations (5) for %q in the last 1h0m0s, retry after %%s UTC: see https://letsencrypt.org/docs/rate-limits/#authorization-failures-per-hostname-per-account", host), atOrder)
		g.obey(h.rule)
		p.submit(t, host)
		p.await(t, host, 15*time.Second, "the hold", is("TLSReady=False/RateLimited"))
		p.submit(t, at("free", one))
		p.certified(t, at("free", one), pause-time.Second)
		p.certified(t, host, 20*time.Second, h)
		silent(t, g, h, host)
	})
	t.Run("duplicates stop the set of names", func(t *testing.T) {
		host := at("exact", one)
		h := holding(host, 429, false, pause, "rateLimited",
			"too many certificates (5) already issued for this exact set of identifiers in the last 168h0m0s, retry after %s UTC: see https://letsencrypt.org/docs/rate-limits/#new-certificates-per-exact-set-of-identifiers", atOrder)
		g.obey(h.rule)
		p.submit(t, host)
		p.await(t, host, 15*time.Second, "the hold", is("TLSReady=False/RateLimited"))
		p.submit(t, at("free", two))
		p.certified(t, at("free", two), pause-time.Second)
		p.certified(t, host, 20*time.Second, h)
		silent(t, g, h, host)
	})
	t.Run("certificates per registered domain stop the domain", func(t *testing.T) {
		host, sibling := at("limited", one), at("sibling", one)
		h := holding(host, 429, true, pause, "rateLimited",
			fmt.Sprintf("too many certificates (50) already issued for %q in the last 168h0m0s, see https://letsencrypt.org/docs/rate-limits/#new-certificates-per-registered-domain", one.name), atOrder)
		g.obey(h.rule)
		p.submit(t, host)
		p.await(t, host, 15*time.Second, "the hold", is("TLSReady=False/RateLimited"))
		p.submit(t, sibling)
		p.submit(t, at("sibling", two))
		p.await(t, sibling, pause-2*time.Second, "the hold of the sibling", is("TLSReady=False/RateLimited"))
		p.certified(t, at("sibling", two), pause-time.Second)
		p.certified(t, host, 20*time.Second, h)
		p.certified(t, sibling, 20*time.Second)
		silent(t, g, h, host, sibling)
	})
	t.Run("new orders stop the account", func(t *testing.T) {
		host, other := at("account", one), at("account", two)
		h := holding(host, 429, false, pause, "rateLimited",
			"too many new orders (300) from this account in the last 3h0m0s, retry after %s UTC: see https://letsencrypt.org/docs/rate-limits/#new-orders-per-account", atOrder)
		g.obey(h.rule)
		p.submit(t, host)
		p.await(t, host, 15*time.Second, "the hold", is("TLSReady=False/RateLimited"))
		p.submit(t, other)
		p.await(t, other, pause-2*time.Second, "the hold of the other", is("TLSReady=False/RateLimited"))
		p.certified(t, host, 20*time.Second, h)
		p.certified(t, other, 20*time.Second)
		silent(t, g, h)
	})
}

// The first CA being held, the second is asked at once; who names a CA waits for it.
func TestIssuanceGoesOnToTheSecondCA(t *testing.T) {
	n := network(t)
	first, second := openGate(t, "127.0.0.71", n.CA), openGate(t, "127.0.0.72", n.CA)
	p := startAt(t, n, settings{}, first, second)
	customer := customer(t, n, "secondca")
	any, later, named, picks := "any."+customer.name, "later."+customer.name, "named."+customer.name, "picks."+customer.name
	customer.delegated(t, any, later, named, picks)

	p.submit(t, picks, second.named())
	p.certified(t, picks, 20*time.Second)
	if got := len(first.seen()); got != 0 {
		t.Errorf("%d requests reached the first CA for a record that names the second", got)
	}
	h := holding("", 429, false, 15*time.Second, "rateLimited", "too many new orders (300) from this account in the last 3h0m0s", atOrder)
	first.obey(h.rule)
	p.submit(t, any)
	p.certified(t, any, 10*time.Second)
	if got := second.passed(atOrder, any); got != 1 {
		t.Errorf("%d orders reached the second CA while the first is held, want 1", got)
	}
	p.submit(t, later)
	p.submit(t, named, first.named())
	p.certified(t, later, 8*time.Second)
	p.await(t, named, 10*time.Second, "the hold", is("TLSReady=False/RateLimited"))
	p.certified(t, named, 40*time.Second, h)
	silent(t, first, h)
	if got := second.passed(atOrder, named); got != 0 {
		t.Errorf("%d orders reached the second CA for a record that names the first", got)
	}
}
