package domainconnect

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/internal/dnstest"
)

// answer waits until an offer is known, and returns what it is.
func (n *network) answer(t *testing.T, zone string) (Offer, Answer) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		o, a := n.finder.Offer(zone, "api."+zone, theService)
		if a != Unknown || time.Now().After(deadline) {
			return o, a
		}
		select {
		case <-n.found:
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func TestAnOfferIsFoundAndRememberedForADay(t *testing.T) {
	n := newNetwork(t)
	if o, a := n.finder.Offer("example.com", "api.example.com", theService); a != Unknown || o != (Offer{}) {
		t.Fatalf("before anybody was asked: %+v, %v", o, a)
	}
	if host := <-n.found; host != "api.example.com" {
		t.Errorf("told of %s", host)
	}
	o, a := n.finder.Offer("example.com", "api.example.com", theService)
	if want := "https://" + n.provider.at() + "/sync"; a != Offered || o.SyncUX != want {
		t.Fatalf("%+v, %v; want %s", o, a, want)
	}
	asked := n.provider.requests.Load()
	n.now.Store(23 * 3600)
	if _, a := n.finder.Offer("example.com", "api.example.com", theService); a != Offered || n.provider.requests.Load() != asked {
		t.Errorf("%v after %d further questions", a, n.provider.requests.Load()-asked)
	}
	// The next day it is asked again, and what was known holds meanwhile.
	n.provider.instead(func(w http.ResponseWriter, r *http.Request) bool { http.NotFound(w, r); return true })
	n.now.Store(25 * 3600)
	if _, a := n.finder.Offer("example.com", "api.example.com", theService); a != Offered {
		t.Errorf("while it is asked again: %v", a)
	}
	<-n.found
	if _, a := n.finder.Offer("example.com", "api.example.com", theService); a != NotOffered {
		t.Errorf("the provider withdrew it: %v", a)
	}
}

func TestWhatIsNoOffer(t *testing.T) {
	settings := func(body string) func(*network) {
		return func(n *network) {
			n.provider.instead(func(w http.ResponseWriter, r *http.Request) bool {
				if strings.HasSuffix(r.URL.Path, "/settings") {
					fmt.Fprint(w, strings.ReplaceAll(body, "HOST", n.provider.at()))
					return true
				}
				return false
			})
		}
	}
	for _, c := range []struct {
		what string
		set  func(n *network)
	}{
		{"no record", func(n *network) { n.Domain.Remove("_domainconnect") }},
		{"a record of something else", func(n *network) { n.Domain.Set(`_domainconnect TXT "v=spf1 -all"`) }},
		{"a record with a scheme", func(n *network) { n.Domain.Set("_domainconnect TXT https://" + n.provider.at() + "/dc") }},
		{"a record that names an address", func(n *network) { n.Domain.Set("_domainconnect TXT 127.0.0.1:" + n.provider.port + "/dc") }},
		{"the provider does not have the zone", func(n *network) { n.Domain.Set("_domainconnect TXT " + n.provider.at() + "/elsewhere") }},
		{"the provider does not have the template", func(n *network) {
			n.provider.instead(func(w http.ResponseWriter, r *http.Request) bool {
				if strings.HasPrefix(r.URL.Path, "/api/") {
					http.NotFound(w, r)
					return true
				}
				return false
			})
		}},
		{"no synchronous flow", settings(`{"urlAPI":"https://HOST/api"}`)},
		{"something that must be understood", settings(`{"urlSyncUX":"https://HOST/sync","urlAPI":"https://HOST/api","vnd.x":1,"crit":["vnd.x"]}`)},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			n := newNetwork(t)
			c.set(n)
			if o, a := n.answer(t, "example.com"); a != NotOffered {
				t.Errorf("%+v, %v", o, a)
			}
		})
	}
}

// What fails says nothing: it is tried again later each time.
func TestWhatFailsIsTriedAgainLater(t *testing.T) {
	flood := strings.Repeat("x", maxAnswer+1)
	for _, c := range []struct {
		what string
		set  func(n *network)
	}{
		{"nobody tells of the zone", func(n *network) { n.Behave(dnstest.Fail(dns.RcodeServerFailure)) }},
		{"the host has no address", func(n *network) { n.Zone("provider.test").Remove("connect") }},
		{"the provider is in trouble", func(n *network) {
			n.provider.instead(func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(500); return true })
		}},
		{"the provider redirects", func(n *network) {
			n.provider.instead(func(w http.ResponseWriter, r *http.Request) bool {
				http.Redirect(w, r, "https://"+n.provider.at()+"/dc/v2/example.com/settings", http.StatusFound)
				return true
			})
		}},
		{"the provider sends a flood", func(n *network) {
			n.provider.instead(func(w http.ResponseWriter, _ *http.Request) bool { fmt.Fprint(w, flood); return true })
		}},
		{"the provider sends no JSON", func(n *network) {
			n.provider.instead(func(w http.ResponseWriter, _ *http.Request) bool { fmt.Fprint(w, "<html>"); return true })
		}},
		{"a prefix without TLS", func(n *network) {
			n.provider.instead(func(w http.ResponseWriter, _ *http.Request) bool {
				fmt.Fprint(w, `{"urlSyncUX":"http://a.test","urlAPI":"https://a.test"}`)
				return true
			})
		}},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			n := newNetwork(t)
			c.set(n)
			cfg := n.finder.cfg
			if _, err := discover(t.Context(), &cfg, n.finder.asker, "example.com", theService); err == nil || errors.Is(err, errNotOffered) {
				t.Errorf("it did not fail: %v", err)
			}
		})
	}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	offered := finding{offer: Offer{"https://a.test"}, offered: true, told: true, until: now}
	for failures, want := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute} {
		offered = learn(offered, Offer{}, errors.New("timeout"), now)
		if !offered.offered || offered.until != now.Add(want) {
			t.Errorf("after %d failures: %+v, want it again after %s", failures+1, offered, want)
		}
	}
	for range 100 {
		offered = learn(offered, Offer{}, errors.New("timeout"), now)
	}
	if offered.until != now.Add(believeFor) {
		t.Errorf("after many failures it is tried again after %s", offered.until.Sub(now))
	}
}

// A stranger's word leads to no address that the operator has not allowed.
func TestNobodyLeadsUsIntoAPrivateNetwork(t *testing.T) {
	n := newNetwork(t, func(c *Config) { c.PrivateNetworks = nil })
	cfg := n.finder.cfg
	_, err := discover(t.Context(), &cfg, n.finder.asker, "example.com", theService)
	if err == nil || !strings.Contains(err.Error(), "private_networks") {
		t.Errorf("%v", err)
	}
	if asked := n.provider.requests.Load(); asked > 0 {
		t.Errorf("it was asked %d times", asked)
	}
}

// A host that cannot be reached is left alone for a while, whatever zone names it.
func TestAHostThatIsOutOfReachIsLeftAlone(t *testing.T) {
	n := newNetwork(t)
	cfg := n.finder.cfg
	cfg.PrivateNetworks = nil // nothing can be reached
	a := newAsker(&cfg)
	if _, err := discover(t.Context(), &cfg, a, "example.com", theService); err == nil || !strings.Contains(err.Error(), "private_networks") {
		t.Errorf("the first time: %v", err)
	}
	if _, err := discover(t.Context(), &cfg, a, "example.com", theService); err == nil || !strings.Contains(err.Error(), "a moment ago") {
		t.Errorf("the second time: %v", err)
	}
	n.provider.instead(func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(500); return true })
	for range 2 { // one that answers is not
		if _, err := discover(t.Context(), &n.finder.cfg, n.finder.asker, "example.com", theService); err == nil || !strings.Contains(err.Error(), "answers 500") {
			t.Errorf("%v", err)
		}
	}
}

// However many zones are asked for at once, no look waits and what waits is bounded.
func TestManyZonesAtOnce(t *testing.T) {
	f := NewFinder(Config{DNS: nil}) // nobody works
	for i := range 10 * zonesAwaited {
		for k := range 2 * hostsOfZone {
			f.Offer(fmt.Sprintf("zone%d.example", i), fmt.Sprintf("h%d", k), theService)
		}
	}
	if len(f.awaited) > zonesAwaited || len(f.queue) > zonesAwaited {
		t.Errorf("%d zones wait", len(f.awaited))
	}
	for q, hosts := range f.awaited {
		if len(hosts) > hostsOfZone {
			t.Fatalf("%d hosts wait for %s", len(hosts), q.zone)
		}
	}
}
