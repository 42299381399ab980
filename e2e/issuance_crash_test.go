package e2e

import (
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// Killed at any step of an order, before the CA has the request or before the
// answer arrives, the product takes the order up again and leaves nothing behind.
func TestIssuanceSurvivesKillAtEveryStep(t *testing.T) {
	n := network(t)
	g := openGate(t, "127.0.0.71", n.CA)
	p := startAt(t, n, settings{}, g)
	customer := customer(t, n, "killedstep")
	steps := []step{atOrder, atAuthz, atChallenge, atPoll, atFinalize, atOrderPoll, atCertificate}
	var hosts []string
	for i := range steps {
		for _, when := range []string{"before", "after"} {
			hosts = append(hosts, fmt.Sprintf("%s%d.%s", when, i, customer.name))
		}
	}
	customer.delegated(t, hosts...)
	for i, at := range steps {
		for k, when := range []string{"before", "after"} {
			host := hosts[2*i+k]
			t.Run(fmt.Sprintf("%s the CA had %s", when, at), func(t *testing.T) {
				killed := p.killedAt(g, at, host, when == "after")
				p.submit(t, host)
				select {
				case <-killed:
				case <-time.After(30 * time.Second):
					t.Fatalf("the flow never came to %q", at)
				}
				p.run(t)
				began := time.Now()
				p.certified(t, host, 100*time.Second) // a validation that met nobody has failed, and is tried again after a minute
				t.Logf("certified %v after the restart", time.Since(began).Round(time.Millisecond))
				orders := g.passed(atOrder, host)
				if when == "after" && at == atOrder {
					orders++ // the first one reached the CA, too
				}
				// An order whose answer was lost cannot be known, and a challenge
				// that the CA looked at while nobody answered has failed.
				allowed := 1
				if when == "after" && (at == atOrder || at == atChallenge) || at == atPoll {
					allowed = 2
				}
				if orders > allowed {
					t.Errorf("%d orders reached the CA, want at most %d", orders, allowed)
				}
				nothingLeft(t, p, host)
			})
		}
	}
}

// nothingLeft demands that neither challenge values nor keys of orders stay behind.
func nothingLeft(t *testing.T, p *product, hosts ...string) {
	t.Helper()
	for _, host := range hosts {
		eventually(t, 5*time.Second, "the challenge values to vanish", func() error {
			answer, err := testnet.Ask(testnet.ProductAddr, "_acme-challenge."+host+"."+testnet.Zone, dns.TypeTXT)
			if err != nil {
				return err
			}
			if len(answer.Answer) > 0 || answer.Rcode != dns.RcodeSuccess {
				return fmt.Errorf("the zone answers %v", answer)
			}
			return nil
		})
	}
	eventually(t, 5*time.Second, "storage to be tidy", func() error {
		return filepath.WalkDir(filepath.Join(p.dir, "storage", "acme"), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			if strings.Contains(path, "/challenge_tokens/") || strings.Contains(path, "/orders/") {
				return fmt.Errorf("%s is left behind", path)
			}
			return nil
		})
	})
}

// The same for HTTP-01: its answers lie in storage.
func TestIssuanceSurvivesKillDuringHTTP01(t *testing.T) {
	n := network(t)
	g := openGate(t, "127.0.0.71", n.CA)
	p := startAt(t, n, settings{}, g)
	customer := customer(t, n, "killedhttp")
	for _, at := range []step{atChallenge, atFinalize} {
		t.Run(string(at), func(t *testing.T) {
			label := strings.ReplaceAll(string(at), " ", "")
			host := label + "." + customer.name
			customer.set(t, fmt.Sprintf("%s CNAME %s.%s.", label, host, testnet.Zone))
			killed := p.killedAt(g, at, host, false)
			p.submit(t, host)
			<-killed
			p.run(t)
			r := p.certified(t, host, 45*time.Second)
			if r.Status.Certificate.Challenge != "http-01" {
				t.Errorf("the challenge was %q", r.Status.Certificate.Challenge)
			}
			if got := g.passed(atOrder, host); got != 1 {
				t.Errorf("%d orders reached the CA, want 1", got)
			}
			nothingLeft(t, p)
			if _, err := os.Stat(filepath.Join(p.dir, "storage", "certificates")); err != nil {
				t.Error(err)
			}
		})
	}
}

// killedAt has the product killed when it first asks the CA for a step of a hostname's
// order: after the CA has got it, or before. The channel is closed then.
func (p *product) killedAt(g *gate, at step, host string, after bool) <-chan struct{} {
	killed := make(chan struct{})
	once := false
	g.obey(func(a asked) http.HandlerFunc {
		if once || a.step != at || a.host != host {
			return nil
		}
		once = true
		return func(w http.ResponseWriter, r *http.Request) {
			if after {
				g.pass(httptest.NewRecorder(), r)
			}
			p.kill()
			close(killed)
			reset(w, r)
		}
	})
	return killed
}
