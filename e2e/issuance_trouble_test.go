package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// times answers the first n requests of a step, of whatever hostname, with h.
func times(n int, at step, h http.HandlerFunc) func(asked) http.HandlerFunc {
	return func(a asked) http.HandlerFunc {
		if a.step != at || n == 0 {
			return nil
		}
		n--
		return h
	}
}

// What a CA does wrong in passing is lived through without anyone's help.
func TestIssuanceLivesThroughTroubleAtTheCA(t *testing.T) {
	n := network(t)
	g := openGate(t, "127.0.0.71", n.CA)
	p := startAt(t, n, settings{}, g)
	customer := customer(t, n, "cantrouble")
	labels := []string{"healthy", "reset", "nonce", "slow", "gone", "account", "down"}
	hosts := map[string]string{}
	var all []string
	for _, l := range labels {
		hosts[l] = l + "." + customer.name
		all = append(all, hosts[l])
	}
	customer.delegated(t, all...)
	p.submit(t, hosts["healthy"])
	p.certified(t, hosts["healthy"], 20*time.Second)
	healthy := func(t *testing.T) {
		t.Helper()
		began := time.Now()
		if _, err := p.handshake(hosts["healthy"]); err != nil || time.Since(began) > 2*time.Second {
			t.Errorf("another host's handshake took %v: %v", time.Since(began), err)
		}
	}

	t.Run("connections are reset", func(t *testing.T) {
		order, finalize := times(2, atOrder, reset), times(1, atFinalize, reset)
		g.obey(func(a asked) http.HandlerFunc {
			if h := order(a); h != nil {
				return h
			}
			return finalize(a)
		})
		p.submit(t, hosts["reset"])
		healthy(t)
		p.certified(t, hosts["reset"], 90*time.Second)
		if got := g.passed(atOrder, hosts["reset"]); got != 1 {
			t.Errorf("%d orders reached the CA, want 1", got)
		}
	})
	t.Run("nonces are refused", func(t *testing.T) {
		bad := problem(400, "badNonce", "JWS has an invalid anti-replay nonce", "")
		order, finalize := times(2, atOrder, bad), times(1, atFinalize, bad)
		g.obey(func(a asked) http.HandlerFunc {
			if h := order(a); h != nil {
				return h
			}
			return finalize(a)
		})
		p.submit(t, hosts["nonce"])
		p.certified(t, hosts["nonce"], 8*time.Second)
		if got := g.passed(atOrder, hosts["nonce"]); got != 1 {
			t.Errorf("%d orders reached the CA, want 1", got)
		}
	})
	t.Run("every answer is slow", func(t *testing.T) {
		g.obey(func(asked) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				time.Sleep(time.Second) // the CA's pace
				g.pass(w, r)
			}
		})
		p.submit(t, hosts["slow"])
		healthy(t)
		p.certified(t, hosts["slow"], 40*time.Second)
	})
	t.Run("the order is gone", func(t *testing.T) {
		host := hosts["gone"]
		hold := holding(host, 429, false, 2*time.Second, "rateLimited", "Service busy", atPoll)
		gone := times(1, atOrderPoll, problem(404, "malformed", "No order found for account", ""))
		g.obey(func(a asked) http.HandlerFunc {
			if h := hold.rule(a); h != nil {
				return h
			}
			if _, left := hold.so(t); len(left) > 0 {
				return nil
			}
			return gone(a)
		})
		p.submit(t, host)
		p.certified(t, host, 30*time.Second)
		if got := g.passed(atOrder, host); got != 2 {
			t.Errorf("%d orders reached the CA, want the one that is gone and one more: %+v", got, g.seen(host))
		}
	})
	t.Run("the CA is down for a while", func(t *testing.T) {
		host := hosts["down"]
		g.obey(func(asked) http.HandlerFunc { return reset })
		down := time.Now()
		p.submit(t, host)
		r := p.await(t, host, 20*time.Second, "the trouble", is("TLSReady=False/CertificateError"))
		t.Log(r.condition("TLSReady").Message)
		healthy(t)
		time.Sleep(max(0, 8*time.Second-time.Since(down))) // as long as the CA is down
		if got := len(g.between(down, time.Now())); got > 20 {
			t.Errorf("%d requests were made to a CA that is down", got)
		}
		g.obey(nil)
		p.certified(t, host, 60*time.Second)
	})
	t.Run("the account is gone", func(t *testing.T) {
		g.obey(nil)
		other, err := testnet.StartCA("127.0.0.62", 24*time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		registered := g.passed(atAccount)
		g.lead(t, other) // the same URL, and nothing is remembered behind it
		p.submit(t, hosts["account"])
		p.certified(t, hosts["account"], 20*time.Second)
		if got := g.passed(atAccount) - registered; got != 1 {
			t.Errorf("%d accounts were registered, want 1", got)
		}
	})
}

// A CAA record that forbids the CA costs no order; the message holds the line to
// add; and a mended zone is noticed.
func TestIssuanceAsksNothingWhereCAAForbids(t *testing.T) {
	n := network(t)
	g := openGate(t, "127.0.0.71", n.CA)
	p := startAt(t, n, settings{}, g)
	p2 := customer(t, n, "caaforbids")
	for _, c := range []struct{ name, label, caa, says string }{
		{"another CA alone", "other", `@ CAA 0 issue "elsewhere.test"`, p2.name + `. CAA 0 issue "ca.test"`},
		{"nobody", "nobody", `@ CAA 0 issue ";"`, p2.name + `. CAA 0 issue "ca.test"`},
		{"another account", "account", `@ CAA 0 issue "ca.test; accounturi=https://elsewhere.test/1"`, "CAA 0 issue"},
		{"another method", "method", `@ CAA 0 issue "ca.test; validationmethods=http-01"`, "validationmethods"},
		{"another account, behind 200 octets", "long", `@ CAA 0 issue "ca.test; x=` + strings.Repeat("y", 200) + `; accounturi=https://elsewhere.test/1"`, "another account than ours"},
		{"quotation marks inside", "quotes", `@ CAA 0 issue "\"ca.test\""`, "quotation marks"},
		{"a final dot", "dot", `@ CAA 0 issue "ca.test."`, "ends in a dot"},
	} {
		t.Run(c.name, func(t *testing.T) {
			host := c.label + "." + p2.name
			p2.set(t, delegation(host), c.caa)
			p.submit(t, host)
			r := p.await(t, host, 30*time.Second, "the refusal", is("TLSReady=False/CAAForbidden"))
			if msg := r.condition("TLSReady").Message; !strings.Contains(msg, c.says) {
				t.Errorf("TLSReady says %q, want %q in it", msg, c.says)
			}
			if got := len(g.seen(host)); got != 0 {
				t.Errorf("%d requests reached the CA for a hostname that it may not issue for", got)
			}
			failsFast(t, p, g, host)
			p2.set(t, delegation(host))
			began := time.Now()
			p.certified(t, host, 60*time.Second)
			t.Logf("the mended zone was noticed and used after %v", time.Since(began).Round(time.Millisecond))
		})
	}
}

// Behind a CNAME the CAA records of our own zone count as the customer's do.
func TestIssuanceAsksNothingWhereOurOwnCAAForbids(t *testing.T) {
	n := network(t)
	g := openGate(t, "127.0.0.71", n.CA)
	p := startAt(t, n, settings{}, g)
	customer := customer(t, n, "caaours")
	host := "www." + customer.name
	edge := "edge " + testnet.ProductAddr
	p.reconfigure(t, edge, edge+"\n\t\t\tcaa 0 issue \"ca.test; accounturi=https://elsewhere.test/1\"")
	customer.set(t, fmt.Sprintf("www CNAME %s.%s.", host, testnet.Zone))
	p.submit(t, host)
	r := p.await(t, host, 30*time.Second, "the refusal", is("TLSReady=False/CAAForbidden"))
	t.Log(r.condition("TLSReady").Message)
	if msg, want := r.condition("TLSReady").Message, fmt.Sprintf("add: %s.%s. CAA 0 issue \"ca.test; accounturi=%s", host, testnet.Zone, strings.TrimSuffix(g.front.Directory, "dir")); !strings.Contains(msg, want) {
		t.Errorf("TLSReady says %q, want %q in it", msg, want)
	} else if strings.Contains(msg, host+". CAA") {
		t.Errorf("TLSReady wants a CAA record beside a CNAME: %q", msg)
	}
	if got := len(g.seen(host)); got != 0 {
		t.Errorf("%d requests reached the CA for a hostname that it may not issue for", got)
	}
	p.reconfigure(t, "; accounturi=https://elsewhere.test/1", "; validationmethods=http-01,dns-01")
	p.check(t, host)
	if r := p.certified(t, host, 60*time.Second); r.Status.Certificate.Challenge != "http-01" {
		t.Errorf("the certificate came by %s", r.Status.Certificate.Challenge)
	}
}

// failsFast shakes hands for a hostname in trouble: refused in milliseconds,
// and not one request goes out.
func failsFast(t *testing.T, p *product, g *gate, host string) {
	t.Helper()
	before := len(g.seen())
	var longest time.Duration
	for range 20 {
		began := time.Now()
		if _, err := p.handshake(host); err == nil {
			t.Errorf("%s was given a certificate", host)
		}
		longest = max(longest, time.Since(began))
	}
	t.Logf("20 handshakes for a hostname in trouble took %v at most", longest.Round(time.Millisecond))
	if longest > time.Second {
		t.Errorf("a handshake for a hostname in trouble took %v", longest)
	}
	if got := len(g.seen()) - before; got != 0 {
		t.Errorf("20 handshakes caused %d requests to the CA", got)
	}
}

// Handshakes neither hang on a hostname that waits for the CA, nor make it asked.
func TestIssuanceInTroubleRefusesHandshakesAtOnce(t *testing.T) {
	n := network(t)
	g := openGate(t, "127.0.0.71", n.CA)
	p := startAt(t, n, settings{}, g)
	customer := customer(t, n, "introuble")
	limited, cutover := "limited."+customer.name, "cutover."+customer.name
	traffic := fmt.Sprintf("cutover CNAME %s.%s.", cutover, testnet.Zone)
	customer.set(t, delegation(limited), traffic)
	for _, c := range []struct {
		name, host, reason string
		answer             http.HandlerFunc
	}{
		{"the CA asked to wait", limited, "RateLimited", problem(429, "rateLimited", fmt.Sprintf("too many failed authorizations (5) for %q in the last 1h0m0s", limited), "3600")},
		{"the CA refuses the name", cutover, "CertificateError", problem(400, "rejectedIdentifier", "Error creating new order :: Cannot issue: The ACME server refuses to issue a certificate for this domain name, because it is forbidden by policy", "")},
	} {
		t.Run(c.name, func(t *testing.T) {
			g.obey(func(a asked) http.HandlerFunc {
				if a.step == atOrder {
					return c.answer
				}
				return nil
			})
			p.submit(t, c.host)
			r := p.await(t, c.host, 20*time.Second, "the trouble", is("TLSReady=False/"+c.reason))
			t.Log(r.condition("TLSReady").Message)
			failsFast(t, p, g, c.host)
		})
	}
}

// Hostnames that a CA's limit holds cost it not one request.
func TestIssuanceOfManyHeldHostnamesIsSilent(t *testing.T) {
	n := network(t)
	g := openGate(t, "127.0.0.71", n.CA)
	p := startAt(t, n, settings{}, g)
	customer := customer(t, n, "manyheld")
	const many = 200 // a thousand are measured in bench/certs
	var hosts []string
	for i := range many {
		hosts = append(hosts, fmt.Sprintf("h%d.%s", i, customer.name))
	}
	customer.delegated(t, hosts...)
	g.obey(func(a asked) http.HandlerFunc {
		if a.step != atOrder {
			return nil
		}
		return problem(429, "rateLimited", "too many new orders (300) from this account in the last 3h0m0s", "600")
	})
	p.submit(t, hosts[0])
	p.await(t, hosts[0], 20*time.Second, "the hold", is("TLSReady=False/RateLimited"))
	before := len(g.seen())
	for _, h := range hosts[1:] {
		p.submit(t, h)
	}
	for _, h := range hosts {
		p.await(t, h, 60*time.Second, "the hold", is("TLSReady=False/RateLimited"))
	}
	p.stop(t)
	p.run(t)
	p.await(t, hosts[many-1], 20*time.Second, "the hold after a restart", is("TLSReady=False/RateLimited"))
	if got := len(g.seen()) - before; got != 0 {
		t.Errorf("%d requests were made while %d hostnames were held", got, many)
	}
}
