package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// Ownership falls once every proof has been gone for detach_after, not before,
// and comes back with a proof.
func TestDiagnosisDetachAndReturn(t *testing.T) {
	n := network(t)
	const after = 5 * time.Second
	p := start(t, n, settings{checkInterval: time.Second, detachAfter: after})
	d := customer(t, n, "detaches")
	host := "api." + d.name
	r := p.add(t, host, false, nil)
	traffic := r.line(t, "Traffic")
	d.set(t, traffic)
	p.await(t, host, 20*time.Second, "ownership", is("phase=Active", "OwnershipVerified=True/CNAMEConfigured"))
	d.set(t)
	gone := time.Now()
	r = p.await(t, host, 30*time.Second, "the first look that finds it gone", is("CNAMEConfigured=False"))
	if err := is("OwnershipVerified=True", "phase=Active")(r); err != nil {
		t.Errorf("ownership fell at once: %v", err)
	}
	if m := r.condition("OwnershipVerified").Message; !strings.Contains(m, "gone since") {
		t.Errorf("the message does not warn: %s", m)
	}
	r = p.await(t, host, 60*time.Second, "the detach", is("phase=Detached", "OwnershipVerified=False/ProofWithdrawn", "Ready=False"))
	if took := time.Since(gone); took < after {
		t.Errorf("ownership fell after %v, want at least %v", took, after)
	}
	if status, _, err := p.plain(t.Context(), host); err != nil || status != http.StatusMisdirectedRequest {
		t.Errorf("a detached host is answered %d, %v, want 421", status, err)
	}
	contains(t, p.describe(t, host), "Detached", "ProofWithdrawn", strings.Join(strings.Fields(traffic), " "))
	d.set(t, traffic)
	p.look(t, host)
	p.await(t, host, 20*time.Second, "the return", is("phase=Active", "OwnershipVerified=True/CNAMEConfigured"))
	_ = r
}

// When many would fall together none does; alone one does.
func TestDiagnosisFleetBrake(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{checkInterval: time.Second, detachAfter: 3 * time.Second})
	d := customer(t, n, "fleet")
	const fleet = 14
	var hosts, records []string
	for i := range fleet {
		host := fmt.Sprintf("h%d.%s", i, d.name)
		hosts = append(hosts, host)
		records = append(records, host+". CNAME "+host+"."+testnet.Zone+".")
	}
	d.set(t, records...)
	for _, host := range hosts {
		p.add(t, host, false, nil)
	}
	for _, host := range hosts {
		p.await(t, host, 20*time.Second, "ownership", is("OwnershipVerified=True/CNAMEConfigured"))
	}
	d.set(t)
	eventually(t, 60*time.Second, "the fleet brake", func() error {
		for _, host := range hosts {
			p.look(t, host)
		}
		if !bytes.Contains(p.proc.Log(), []byte("fleet brake")) {
			return fmt.Errorf("it is not logged")
		}
		return nil
	})
	for _, host := range hosts {
		// Each is due when its own proofs have been gone for long enough.
		eventually(t, 20*time.Second, host+" to say that the brake holds", func() error {
			r, _ := p.look(t, host)
			if err := is("OwnershipVerified=True", "phase=Active", "CNAMEConfigured=False")(r); err != nil {
				t.Fatalf("%s fell with the fleet: %v", host, err)
			}
			if m := r.condition("OwnershipVerified").Message; !strings.Contains(m, "Too many records") {
				return fmt.Errorf("it says %s", m)
			}
			return nil
		})
	}
	status, metrics, err := fetch(t.Context(), http.DefaultClient, adminURL+"/metrics", "")
	if err != nil || status != http.StatusOK || !strings.Contains(metrics, "apoxy_fleet_brake_total 1") {
		t.Errorf("the brake is not counted once: %d, %v, %s", status, err, grep(metrics, "brake"))
	}
	d.set(t, records[1:]...)
	for _, host := range hosts[1:] {
		p.look(t, host)
	}
	p.await(t, hosts[0], 60*time.Second, "the detach of one alone", is("phase=Detached", "OwnershipVerified=False/ProofWithdrawn"))
	for _, host := range hosts[1:] {
		r, _ := p.look(t, host)
		if err := is("OwnershipVerified=True", "CNAMEConfigured=True")(r); err != nil {
			t.Error(err)
		}
	}
}

func grep(text, word string) string {
	var found []string
	for line := range strings.Lines(text) {
		if strings.Contains(line, word) {
			found = append(found, line)
		}
	}
	return strings.Join(found, "")
}

// A hostname that one tenant released does not fall to another through records
// left behind: not by the CNAME, not by the delegation, not by a certificate.
func TestDiagnosisReclaimByAnotherOwner(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{})
	d := customer(t, n, "reclaim")
	host := "api." + d.name
	owner := func(name string) map[string]string { return map[string]string{"core.apoxy.dev/owner": name} }
	r := p.add(t, host, true, owner("alice"))
	left := []string{r.line(t, "Traffic"), r.line(t, "ACMEChallenge"), r.line(t, "Ownership")}
	d.set(t, left...)
	p.await(t, host, 30*time.Second, "Alice's Ready", is("phase=Active", "Ready=True"))
	orders := p.ca.Orders(host)
	p.delete(t, host)

	r = p.add(t, host, true, owner("bob"))
	_, full := p.look(t, host)
	var token string
	for _, rec := range full.Problems.DNSRecords {
		if rec.Purpose == "Ownership" {
			token = rec.Value
			if !rec.Required || token == "_apoxy-verify."+testnet.Zone+"." {
				t.Errorf("the token form is not required: %+v", rec)
			}
		}
	}
	for range 3 {
		r, _ = p.look(t, host)
		if err := is("phase=Pending", "OwnershipVerified=False", "TLSReady=False")(r); err != nil {
			t.Fatalf("Bob got the hostname through what Alice's customer left: %v", err)
		}
	}
	if reason, m := full.problem("Ownership"); reason != "TokenMissing" || !strings.Contains(m, token) {
		t.Errorf("the problem of the challenge is %q: %s", reason, m)
	}
	if got := p.ca.Orders(host); got != orders {
		t.Errorf("%d orders reached the CA for Bob before the token was there", got-orders)
	}
	if status, _, err := p.plain(t.Context(), host); err != nil || status == http.StatusOK {
		t.Errorf("Bob's unverified host is answered %d, %v", status, err)
	}
	c := client(p.ca.RootPEM)
	if body, err := visit(t.Context(), c, "https://"+host+"/"); err == nil {
		t.Errorf("Alice's certificate serves Bob: %q", body)
	}

	d.set(t, left[0], left[1], r.line(t, "Ownership"))
	p.look(t, host)
	p.await(t, host, 30*time.Second, "Bob's ownership by the token", is("OwnershipVerified=True", "phase=Active", "TLSReady=True"))

	// The same owner needs no token.
	p.delete(t, host)
	d.set(t, left[0], left[1])
	p.add(t, host, true, owner("bob"))
	p.await(t, host, 30*time.Second, "Bob's second record", is("OwnershipVerified=True", "TLSReady=True"))
}

// The apex and the wildcard of one domain share one delegation, are issued by
// DNS-01 and served.
func TestDiagnosisWildcardAndApex(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{})
	d := customer(t, n, "wild")
	apex := p.add(t, d.name, true, nil)
	wild := p.add(t, "*."+d.name, true, nil)
	if wild.Metadata.Name != d.name+"--wildcard" {
		t.Errorf("the wildcard's record is named %q", wild.Metadata.Name)
	}
	delegation := apex.line(t, "ACMEChallenge")
	if other := wild.line(t, "ACMEChallenge"); other != delegation {
		t.Fatalf("the customer needs one delegation for both, and is told %q and %q", delegation, other)
	}
	d.set(t, delegation, wild.line(t, "Traffic"), "@ A "+testnet.ProductAddr)
	for _, name := range []string{apex.Metadata.Name, wild.Metadata.Name} {
		r := p.await(t, name, 30*time.Second, "Ready", is("phase=Active", "Ready=True", "ACMEChallengeDelegationReady=True"))
		if r.Status.Certificate == nil || r.Status.Certificate.Challenge != "dns-01" {
			t.Errorf("%s: the certificate is %+v, want one by dns-01", name, r.Status.Certificate)
		}
	}
	if r, err := p.get(t.Context(), apex.Metadata.Name); err != nil || r.condition("CNAMEConfigured").Reason != "AddressConfigured" {
		t.Errorf("the apex: %v, %+v", err, r.condition("CNAMEConfigured"))
	}
	for host, want := range map[string]string{d.name: d.name, "any." + d.name: "*." + d.name} {
		state, err := p.handshake(host)
		if err != nil {
			t.Errorf("%s: %v", host, err)
			continue
		}
		if names := state.PeerCertificates[0].DNSNames; len(names) != 1 || names[0] != want {
			t.Errorf("%s is shown a certificate for %v, want %s", host, names, want)
		}
		eventually(t, 10*time.Second, "the resolver to lead "+host+" here", func() error {
			return resolvesTo(t.Context(), host, testnet.ProductAddr)
		})
		if body, err := visit(t.Context(), client(p.ca.RootPEM), "https://"+host+"/"); err != nil || body != ours {
			t.Errorf("%s is answered %q, %v", host, body, err)
		}
	}
	// A wildcard matches one label, and never the bare name.
	if _, err := p.handshake("a.b." + d.name); err == nil {
		t.Error("two labels below the wildcard's base shake hands")
	}
	p.delete(t, apex.Metadata.Name)
	if status, _, err := p.plain(t.Context(), d.name); err != nil || status != http.StatusMisdirectedRequest {
		t.Errorf("without its record the bare name is answered %d, %v, want 421", status, err)
	}
}
