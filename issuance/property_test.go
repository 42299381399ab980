package issuance

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/certmagic"
	acmez "github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/internal/acmetest"
	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
)

// moody is the way to a CA in simulated time: every request takes a while, and
// now and then is answered with a limit. It judges each request that comes.
type moody struct {
	t  *testing.T
	ca *acmetest.CA

	mu     sync.Mutex
	rng    *rand.Rand
	sunny  bool // no more limits
	held   map[string][2]time.Time
	gone   map[string]time.Time // hostnames nobody wants any more, since
	orders []time.Time
	limits map[acme.Scope]int
}

func (m *moody) RoundTrip(req *http.Request) (*http.Response, error) {
	sent, host, isOrder, replaces := time.Now(), "", false, false
	var body []byte
	if req.Body != nil {
		var err error
		if body, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
	}
	kind, id, _ := strings.Cut(strings.TrimPrefix(req.URL.Path, "/"), "/")
	if kind == "order" && id == "" {
		var jws struct{ Payload string }
		var order acmez.Order
		_ = json.Unmarshal(body, &jws)
		raw, _ := base64.RawURLEncoding.DecodeString(jws.Payload)
		_ = json.Unmarshal(raw, &order)
		host, isOrder, replaces = order.Identifiers[0].Value, true, order.Replaces != ""
	} else if n, _, _ := strings.Cut(id, "/"); n != "" && kind != "ari" {
		m.ca.Mu.Lock()
		for _, o := range m.ca.Orders {
			if fmt.Sprint(o.ID) == n {
				host = o.Host
			}
		}
		m.ca.Mu.Unlock()
	}
	m.judge(sent, host, kind, isOrder && !replaces)
	m.pause()
	if h := m.limit(host, isOrder); h != nil {
		rec := httptest.NewRecorder()
		rec.Header().Set("Retry-After", fmt.Sprint(int(h.wait/time.Second)))
		m.ca.Refuse(rec, acmez.Problem{Type: acmez.ProblemTypeRateLimited, Status: 429, Detail: h.detail})
		m.pause()
		m.mu.Lock()
		now := time.Now()
		if until := now.Add(h.wait); until.After(m.held[h.key][1]) {
			m.held[h.key] = [2]time.Time{now, until}
		}
		m.mu.Unlock()
		return rec.Result(), nil
	}
	rec := httptest.NewRecorder()
	inner := req.Clone(req.Context())
	inner.Body = io.NopCloser(bytes.NewReader(body))
	m.ca.ServeHTTP(rec, inner)
	m.pause()
	return rec.Result(), nil
}

// pause is what the network takes.
func (m *moody) pause() {
	m.mu.Lock()
	d := time.Duration(1+m.rng.IntN(100)) * time.Millisecond
	m.mu.Unlock()
	time.Sleep(d)
}

type imposed struct {
	key, detail string
	wait        time.Duration
}

// limit decides whether a request meets a limit, and which.
func (m *moody) limit(host string, order bool) *imposed {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.sunny || host == "" || m.rng.IntN(40) != 0 {
		return nil
	}
	d := time.Duration(10+m.rng.IntN(2400)) * time.Second
	switch m.rng.IntN(3) {
	case 0:
		m.limits[acme.ScopeCA]++
		return &imposed{"ca", "too many new orders (300) from this account in the last 3h0m0s", d}
	case 1:
		m.limits[acme.ScopeDomain]++
		return &imposed{"domain " + acme.RegisteredDomain(host), fmt.Sprintf("too many certificates (50) already issued for %q in the last 168h0m0s", acme.RegisteredDomain(host)), d}
	}
	m.limits[acme.ScopeName]++
	return &imposed{"name " + host, fmt.Sprintf("too many failed authorizations (5) for %q in the last 1h0m0s", host), d}
}

// judge fails the test over a request that must not have been sent.
func (m *moody) judge(sent time.Time, host, kind string, counted bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, key := range []string{"ca", "domain " + acme.RegisteredDomain(host), "name " + host} {
		if h := m.held[key]; sent.After(h[0]) && sent.Before(h[1]) {
			m.t.Errorf("%s about %q was sent %s before the end of a hold on %s", kind, host, h[1].Sub(sent), key)
		}
	}
	if since, ok := m.gone[host]; ok && sent.After(since) {
		m.t.Errorf("%s about %q was sent %s after nobody wanted it any more", kind, host, sent.Sub(since))
	}
	if counted {
		m.orders = append(m.orders, sent)
	}
}

// Whatever limits a CA imposes and however records come and go: what is held is
// left alone, no span sees more orders than the budget has and gets back, and once the CA
// is quiet everyone has a certificate, in time, and keeps it.
func TestSchedulerUnderRandomLimits(t *testing.T) {
	limits := map[acme.Scope]int{} // in all runs: one alone may be spared a kind
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			ca, dir := acmetest.New(t), t.TempDir()
			synctest.Test(t, func(t *testing.T) { underRandomLimits(t, seed, ca, dir, limits) })
		})
	}
	if len(limits) < 3 && !t.Failed() {
		t.Errorf("the test has lost its bite: limits %v", limits)
	}
}

func underRandomLimits(t *testing.T, seed uint64, ca *acmetest.CA, dir string, limits map[acme.Scope]int) {
	const hostnames = 36
	budget := acme.Budget{Orders: 12, Per: time.Hour}
	rng := rand.New(rand.NewPCG(seed, 7))
	ca.T, ca.Lifetime = t, 12*time.Hour
	ca.Windows = func(notBefore, notAfter time.Time) (time.Time, time.Time) {
		return notBefore.Add(6 * time.Hour), notBefore.Add(8 * time.Hour)
	}
	zone := &acmetest.Zone{}
	st, err := boltstore.Open(filepath.Join(dir, "apoxy.db"), boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := New(Config{Store: st, Challenges: zone})
	magic := certmagic.NewCache(certmagic.CacheOptions{Logger: zap.NewNop(),
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return nil, nil }})
	defer magic.Stop()
	cfg := certmagic.New(magic, certmagic.Config{Storage: &certmagic.FileStorage{Path: filepath.Join(dir, "storage")}, Logger: zap.NewNop()})
	is := &Issuers{}
	is.Set("one", acme.Authority{Directory: ca.Directory(), Email: "ops@example.net", Budget: budget}, cfg, nil)
	way := &moody{t: t, ca: ca, rng: rand.New(rand.NewPCG(seed, 9)), held: map[string][2]time.Time{}, gone: map[string]time.Time{}, limits: limits}
	is.cas()[0].Client.HTTPClient.Transport = acme.Transport{Next: way}
	s.SetIssuers(is)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()

	host := func(i int) string { return fmt.Sprintf("h%d.tenant%d-%d.com", i, i%3, i%7) }
	want := func(i int) {
		way.mu.Lock()
		delete(way.gone, host(i))
		way.mu.Unlock()
		s.Want(Want{Hostname: host(i), UID: host(i), Owner: fmt.Sprint("tenant", i%3), DNS01: true})
	}
	for i := range hostnames {
		want(i)
		time.Sleep(time.Duration(rng.IntN(60)) * time.Second)
	}
	for range 40 { // records come and go
		i := rng.IntN(hostnames)
		s.Forget(host(i))
		way.mu.Lock()
		way.gone[host(i)] = time.Now()
		way.mu.Unlock()
		time.Sleep(time.Duration(rng.IntN(600)) * time.Second)
		want(i)
	}
	time.Sleep(12 * time.Hour)
	way.mu.Lock()
	way.sunny = true
	way.mu.Unlock()
	time.Sleep(time.Duration(hostnames/budget.Orders)*budget.Per + time.Hour)
	for hour := range 14 {
		for i := range hostnames {
			if o := s.Observe(host(i)); !seen(o) || !o.NotAfter.After(time.Now()) {
				t.Fatalf("%d h after the CA became quiet %s has no certificate: %+v", hour, host(i), o)
			}
		}
		time.Sleep(time.Hour)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := st.Close(); err != nil {
		t.Error(err)
	}

	for i, from := range way.orders {
		for j, to := range way.orders[i:] {
			// One more: an order may arrive sooner after it was counted than the one before.
			if most := budget.Orders + int(to.Sub(from)/budget.Each()) + 1; j+1 > most {
				t.Fatalf("%d orders within %s of %s, allowed are %d", j+1, to.Sub(from), from, most)
			}
		}
	}
	if len(way.orders) < hostnames {
		t.Errorf("the test has lost its bite: %d orders", len(way.orders))
	}
}
