package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// load is queries and requests to some nodes, of which none may be lost.
type load struct{ queries, pages []*hammer }

// startLoad asks the zones of nodes for a host, and the nodes for its page.
func startLoad(t *testing.T, host string, nodes ...*node) *load {
	t.Helper()
	l := new(load)
	for _, d := range nodes {
		l.queries = append(l.queries, hit(t, 1, func(context.Context) (string, error) {
			return "answered", d.answers(host)
		}))
		l.pages = append(l.pages, hit(t, 1, func(ctx context.Context) (string, error) { return d.page(ctx, host) }))
	}
	return l
}

// lostNothing ends the load and fails the test over every loss.
func (l *load) lostNothing(t *testing.T) {
	t.Helper()
	for _, h := range append(l.queries, l.pages...) {
		h.stop()
		failed, err := h.failures()
		t.Logf("%d of %d requests failed", failed, h.total())
		if failed > 0 || h.total() == 0 {
			t.Errorf("%d of %d requests failed: %v", failed, h.total(), err)
		}
	}
}

// A node that is killed under load is gone for the others within its lease, which go on
// with what it was busy with, without a second order and without losing a query or a
// request; started again it is live without waiting for its old lease.
func TestClusterNodeIsKilled(t *testing.T) {
	const many = 12
	n := network(t)
	c := startCluster(t, n, settings{})
	dying, left := c.nodes[2], c.nodes[:2]
	customer := customer(t, n, "killednode")
	steady := "steady." + customer.name
	hosts := []string{}
	for i := range many {
		hosts = append(hosts, fmt.Sprintf("h%02d.%s", i, customer.name))
	}
	customer.delegated(t, append(hosts, steady)...)
	dying.submit(t, steady, true)
	left[0].await(t, steady, 150*time.Second, "the certificate", is("TLSReady=True"))

	// Every order is in flight when the node dies.
	killed := make(chan struct{})
	release := sync.OnceFunc(func() { close(killed) })
	t.Cleanup(release)
	c.gate.obey(func(a asked) http.HandlerFunc {
		if a.step != atChallenge || a.host == steady {
			return nil
		}
		return func(w http.ResponseWriter, r *http.Request) {
			<-killed
			if r.Context().Err() == nil { // else it was the dead node's, whose packets never arrived
				c.gate.pass(w, r)
			}
		}
	})
	for i, host := range hosts {
		c.nodes[i%len(c.nodes)].submit(t, host, true)
	}
	eventually(t, 60*time.Second, "all orders to be in flight", func() error {
		for _, host := range hosts {
			if reached(c.gate, atChallenge, host) == 0 {
				return errorf("%s is not: %v", host, c.gate.seen(host))
			}
		}
		return nil
	})
	l := startLoad(t, steady, left...)
	began := time.Now()
	dying.proc.Kill()
	release()
	var looked []string
	for i := range many {
		looked = append(looked, fmt.Sprintf("looked%02d.%s", i, customer.name))
		left[i%2].submit(t, looked[i], false)
	}
	for _, d := range left {
		eventually(t, 20*time.Second, "the dead node to be gone at node "+d.name, func() error {
			all, err := d.status(t.Context())
			if live, known := all[dying.name]; err != nil || live || !known {
				return errorf("it says %v, %v", all, err)
			}
			return nil
		})
		t.Logf("gone at node %s after %v", d.name, time.Since(began).Round(time.Millisecond))
	}
	for i, host := range looked {
		left[i%2].await(t, host, 30*time.Second, "the first look", is("CNAMEConfigured=False/CNAMENotConfigured"))
	}
	t.Logf("all looked at %v after the death", time.Since(began).Round(time.Millisecond))
	for i, host := range hosts {
		left[i%2].await(t, host, 150*time.Second, "the certificate", is("TLSReady=True")) // longer than the pause after an order that the CA refused
	}
	t.Logf("all certified %v after the death", time.Since(began).Round(time.Millisecond))
	handedOver := 0
	for _, host := range hosts {
		if reached(c.gate, atChallenge, host) > 1 {
			handedOver++
		}
		c.orderedOnce(t, host)
		for _, d := range left {
			if _, err := d.handshake(host); err != nil {
				t.Errorf("a handshake for %s at node %s: %v", host, d.name, err)
			}
		}
	}
	if handedOver == 0 {
		t.Error("the dead node was busy with nothing")
	}
	t.Logf("%d orders of the dead node were taken up by others", handedOver)

	// Back, killed again and back at once: its old lease has seconds to go.
	for range 2 {
		began = time.Now()
		dying.spawn(t)
		dying.awaitLive(t)
		t.Logf("live %v after the start", time.Since(began).Round(time.Millisecond))
		if _, err := dying.handshake(steady); err != nil {
			t.Error(err)
		}
		dying.proc.Kill()
	}
	dying.spawn(t)
	dying.awaitLive(t)
	if log := string(dying.proc.Log()); strings.Contains(log, "another process is live as node") {
		t.Error("started again it waited for its own old lease")
	}
	late := "late." + customer.name
	customer.delegated(t, append(hosts, steady, late)...)
	dying.submit(t, late, true)
	for _, d := range c.nodes {
		d.await(t, late, 150*time.Second, "the certificate", is("TLSReady=True"))
	}
	l.lostNothing(t)
	for _, d := range c.nodes {
		for _, host := range append(hosts, late) {
			answer, err := d.resolve("_acme-challenge."+host+".cname.example.net", dns.TypeTXT)
			if err != nil || answer.Rcode != dns.RcodeSuccess || len(answer.Answer) > 0 {
				t.Errorf("node %s still answers a challenge of %s: %v, %v", d.name, host, answer, err)
			}
		}
	}
}

// reached is how many requests for a step have come to the gate.
func reached(g *gate, s step, host string) (count int) {
	for _, a := range g.seen(host) {
		if a.step == s {
			count++
		}
	}
	return count
}
