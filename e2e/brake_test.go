package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// When many records of two tenants would fall together none does, until the
// operator releases the brake. What one tenant withdraws alone falls.
func TestBrakeReleased(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{checkInterval: time.Second, detachAfter: 5 * time.Second})
	d := customer(t, n, "brake")
	var hosts, records []string
	add := func(owner string, many int) {
		for range many {
			host := fmt.Sprintf("%s%d.%s", owner, len(hosts), d.name)
			hosts = append(hosts, host)
			records = append(records, host+". CNAME "+host+"."+testnet.Zone+".")
			p.add(t, host, false, map[string]string{"core.apoxy.dev/owner": owner})
		}
		d.set(t, records...)
		for _, host := range hosts[len(hosts)-many:] {
			p.look(t, host)
			p.await(t, host, 20*time.Second, "ownership", is("OwnershipVerified=True/CNAMEConfigured"))
		}
	}
	fall := func(what string) {
		t.Helper()
		for _, host := range hosts {
			p.await(t, host, 30*time.Second, what, is("phase=Detached", "OwnershipVerified=False/ProofWithdrawn"))
		}
	}
	release := func(want string) {
		t.Helper()
		if out, err := p.caddy(t.Context(), "", "apoxy", "brake", "release"); err != nil || !strings.Contains(out, want) || strings.Count(out, "\n") != 1 {
			t.Errorf("releasing says %q, %v, want one line with %q", out, err, want)
		}
	}
	add("alice", 12)
	d.set(t)
	fall("the fall of all that one tenant has")
	release("does not hold")

	hosts, records = nil, nil
	for _, host := range p.names(t) {
		p.delete(t, host)
	}
	add("bob", 6)
	add("carol", 6) // other hostnames: those of before are Alice's
	d.set(t)
	for _, host := range hosts { // the first must not be due before the others are known to be gone
		p.look(t, host)
	}
	eventually(t, 60*time.Second, "the brake", func() error {
		for _, host := range hosts {
			r, _ := p.look(t, host)
			if m := r.condition("OwnershipVerified").Message; !strings.Contains(m, "`caddy apoxy brake release`") {
				return fmt.Errorf("%s is not held: %s", host, m)
			}
		}
		return nil
	})
	for _, host := range hosts {
		if r, _ := p.look(t, host); is("OwnershipVerified=True", "phase=Active")(r) != nil {
			t.Errorf("%s fell while the brake holds", host)
		}
	}
	if status, _, err := fetch(t.Context(), http.DefaultClient, adminURL+"/apoxy/brake/release", ""); err != nil || status != http.StatusMethodNotAllowed {
		t.Errorf("GET is answered %d, %v, want 405", status, err)
	}
	release("12 are due")
	fall("the fall after the release")
	release("does not hold")
}

// What the brake holds falls by itself when fleet_brake_hold is over: the looks of
// every minute have no part in it.
func TestBrakeEndsByItself(t *testing.T) {
	n := network(t)
	const after, hold = 2 * time.Second, 3 * time.Second
	p := start(t, n, settings{checkInterval: time.Minute, detachAfter: after, brakeHold: hold})
	d := customer(t, n, "hold")
	var hosts, records []string
	for i := range 12 {
		owner := []string{"alice", "bob"}[i%2]
		host := fmt.Sprintf("%s%d.%s", owner, i, d.name)
		hosts = append(hosts, host)
		records = append(records, host+". CNAME "+host+"."+testnet.Zone+".")
		p.add(t, host, false, map[string]string{"core.apoxy.dev/owner": owner})
	}
	d.set(t, records...)
	for _, host := range hosts {
		p.look(t, host)
		p.await(t, host, 20*time.Second, "ownership", is("OwnershipVerified=True/CNAMEConfigured"))
	}
	d.set(t)
	gone := time.Now()
	for _, host := range hosts {
		p.look(t, host)
	}
	p.await(t, hosts[0], 20*time.Second, "the brake", func(r record) error {
		if m := r.condition("OwnershipVerified").Message; !strings.Contains(m, "the fleet brake holds") {
			return fmt.Errorf("it is not held: %s", m)
		}
		return is("OwnershipVerified=True", "phase=Active")(r)
	})
	for i, host := range hosts {
		p.await(t, host, 20*time.Second, "the fall", is("phase=Detached", "OwnershipVerified=False/ProofWithdrawn"))
		if took := time.Since(gone); i == 0 && took < after+hold {
			t.Errorf("%s fell after %v, want at least %v", host, took, after+hold)
		}
	}
	status, metrics, err := fetch(t.Context(), http.DefaultClient, adminURL+"/metrics", "")
	if err != nil || status != http.StatusOK || !strings.Contains(metrics, "apoxy_fleet_brake_total 1\n") {
		t.Errorf("the brake is not counted once: %d, %v, %s", status, err, grep(metrics, "brake"))
	}
}
