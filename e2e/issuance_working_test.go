package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// More orders than there are slots stay `processing`, with a Retry-After of a day:
// another tenant's order goes through meanwhile, the CA is asked at a bounded pace,
// TLSReady says so, and once the CA is done the certificates come, without a restart.
func TestIssuanceGoesOnBesideOrdersThatStayProcessing(t *testing.T) {
	n := network(t)
	g := openGate(t, "127.0.0.71", n.CA)
	p := startAt(t, n, settings{}, g)
	slow, quick := customer(t, n, "processing"), customer(t, n, "meanwhile")
	var hosts []string
	for i := range 40 {
		hosts = append(hosts, fmt.Sprintf("h%d.%s", i, slow.name))
	}
	other := "www." + quick.name
	slow.delegated(t, hosts...)
	quick.delegated(t, other)
	var done atomic.Bool
	g.obey(func(a asked) http.HandlerFunc {
		if done.Load() || !strings.HasSuffix(a.host, slow.name) || a.step != atFinalize && a.step != atOrderPoll {
			return nil
		}
		return func(w http.ResponseWriter, r *http.Request) {
			seen := httptest.NewRecorder()
			g.pass(seen, r)
			for k, v := range seen.Header() {
				w.Header()[k] = v
			}
			w.Header().Set("Retry-After", "86400")
			body := seen.Body.String()
			if seen.Code < 300 {
				body = strings.Replace(strings.Replace(body, `"status": "valid"`, `"status": "processing"`, 1), `"status":"valid"`, `"status":"processing"`, 1)
			}
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
			w.WriteHeader(seen.Code)
			fmt.Fprint(w, body)
		}
	})
	for _, h := range hosts {
		p.submit(t, h)
	}
	for _, h := range hosts {
		p.await(t, h, 90*time.Second, "the CA to be at work", func(r record) error {
			c := r.condition("TLSReady")
			if c.Reason != "Issuing" || !strings.Contains(c.Message, "has been signing the certificate since") {
				return errorf("TLSReady is %s/%s: %s", c.Status, c.Reason, c.Message)
			}
			return nil
		})
	}
	p.submit(t, other)
	p.certified(t, other, 30*time.Second)
	began := time.Now()
	before := p.await(t, hosts[0], time.Second, "the record", func(record) error { return nil })
	again := func() bool {
		return slices.ContainsFunc(g.between(began, time.Now(), hosts[0]), func(a asked) bool { return a.step == atOrderPoll })
	}
	// The record does not change with each question, so the journal is looked at.
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for !again() {
		select {
		case <-tick.C:
		case <-time.After(time.Until(began.Add(150 * time.Second))):
			t.Fatalf("not asked since %v: %+v", began, g.seen(hosts[0]))
		}
	}
	after := p.await(t, hosts[0], time.Second, "the record", func(record) error { return nil })
	if before.condition("TLSReady").Message != after.condition("TLSReady").Message {
		t.Errorf("TLSReady said %q, and then %q", before.condition("TLSReady").Message, after.condition("TLSReady").Message)
	}
	done.Store(true)
	for _, h := range hosts {
		p.certified(t, h, 180*time.Second)
	}
}
