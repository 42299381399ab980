package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// probing asks every node for the challenge of each host that the CA is told to look at,
// before the CA hears of it: a node has the value, or says that it cannot tell.
type probing struct {
	c *cluster

	mu     sync.Mutex
	having map[int]int // how many nodes had the value, to how often that was
	wrong  []error
}

// probe begins that; it takes the gate's rule.
func (c *cluster) probe() *probing {
	p := &probing{c: c, having: map[int]int{}}
	c.gate.obey(func(a asked) http.HandlerFunc {
		if a.step != atChallenge {
			return nil
		}
		return func(w http.ResponseWriter, r *http.Request) {
			for range 3 { // the CA looks at once, and once more a little later
				p.look(a.host)
			}
			if r.Context().Err() == nil { // else the client has died
				c.gate.pass(w, r)
			}
		}
	})
	return p
}

func (p *probing) look(host string) {
	having := 0
	for _, d := range p.c.nodes {
		query := new(dns.Msg)
		query.SetQuestion("_acme-challenge."+host+"."+testnet.Zone+".", dns.TypeTXT)
		client := dns.Client{Timeout: 200 * time.Millisecond}
		answer, _, err := client.Exchange(query, d.addr+":53")
		switch {
		case err != nil, answer.Rcode == dns.RcodeServerFailure: // another is asked
		case answer.Rcode == dns.RcodeSuccess && len(answer.Answer) > 0:
			having++
		default:
			p.mu.Lock()
			p.wrong = append(p.wrong, fmt.Errorf("the CA is told to look at %s, and node %s answers %s with %d records", host, d.name, dns.RcodeToString[answer.Rcode], len(answer.Answer)))
			p.mu.Unlock()
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.having[having]++
}

// report fails the test over what was wrong.
func (p *probing) report(t *testing.T) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	t.Logf("nodes that had the value, to how often: %v", p.having)
	for _, err := range p.wrong[:min(10, len(p.wrong))] {
		t.Error(err)
	}
	if len(p.wrong) > 10 {
		t.Errorf("and %d more", len(p.wrong)-10)
	}
}

// submitting makes records with TLS at random nodes until the context ends, and returns
// those that may have been made.
func (c *cluster) submitting(ctx context.Context, hosts []string, every time.Duration) (made []string) {
	for _, host := range hosts {
		d := c.nodes[rand.IntN(len(c.nodes))]
		bounded, cancel := context.WithTimeout(ctx, 5*time.Second)
		status, _, err := d.call(bounded, http.MethodPost, recordsPath, manifest(host, true), nil)
		cancel()
		if err == nil || status == 0 {
			made = append(made, host)
		}
		select {
		case <-ctx.Done():
			return made
		case <-time.After(every):
		}
	}
	return made
}

// Whatever breaks, when the CA is told to look no node says that there is no such
// challenge, not even one that has just come back; and each record gets its certificate,
// by one order.
func TestClusterChallengesAreOnEveryNode(t *testing.T) {
	n := network(t)
	c := startCluster(t, n, settings{})
	customer := customer(t, n, "everynode")
	var hosts []string
	for i := range 150 {
		hosts = append(hosts, fmt.Sprintf("h%03d.%s", i, customer.name))
	}
	customer.delegated(t, hosts...)
	p := c.probe()

	ctx, cancel := context.WithCancel(t.Context())
	var work sync.WaitGroup
	var made []string
	work.Go(func() { made = c.submitting(ctx, hosts, 250*time.Millisecond) })
	c.disturb(t, ctx, 2*time.Second)
	cancel()
	work.Wait()
	began := time.Now()
	for i, host := range made {
		d := c.nodes[i%len(c.nodes)]
		eventually(t, 150*time.Second, "the certificate of "+host, func() error {
			var r record
			status, _, err := d.call(t.Context(), http.MethodGet, recordsPath+"/"+host, nil, &r)
			if status == http.StatusNotFound {
				return nil // its write had no answer, and did not happen
			} else if err != nil {
				return err
			}
			return is("TLSReady=True")(r)
		})
	}
	t.Logf("all of %d records have a certificate %v after the last fault", len(made), time.Since(began).Round(time.Millisecond))
	for _, host := range made {
		if got := c.gate.ordered(host); got > 1 {
			t.Errorf("%d orders for %s reached the CA: %v", got, host, c.gate.seen(host))
		}
	}
	p.report(t)
}
