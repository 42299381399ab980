package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// What one tenant does, or leaves behind, gives nothing to another and takes
// nothing away.

const ownerLabel = "core.apoxy.dev/owner"

func ownedBy(name string) map[string]string { return map[string]string{ownerLabel: name} }

// required tells whether a record asks for its token, and the line that holds it.
func required(t *testing.T, p *product, name string) (bool, string) {
	t.Helper()
	r, full := p.look(t, name)
	for _, rec := range full.Problems.DNSRecords {
		if rec.Purpose == "Ownership" {
			return rec.Required, r.line(t, "Ownership")
		}
	}
	t.Fatalf("%s has no ownership record", name)
	return false, ""
}

// relabel sets, or with "" removes, the owner label.
func (p *product) relabel(t *testing.T, name, owner string) {
	t.Helper()
	label := ownerLabel + "-"
	if owner != "" {
		label = ownerLabel + "=" + owner
	}
	if _, err := p.kubectl(t.Context(), "", "label", "--overwrite", "domainrecord", name, label); err != nil {
		t.Fatal(err)
	}
}

func TestTenantsCertificatePassesOnlyWithinAnOwner(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{})
	d := customer(t, n, "heirs")
	host := "api." + d.name
	first := p.add(t, host, true, ownedBy("alice"))
	delegation := first.line(t, "ACMEChallenge")
	d.set(t, delegation)
	first = p.await(t, host, 30*time.Second, "Alice's certificate", is("phase=Active", "TLSReady=True"))
	orders := p.ca.Orders(host)

	// With everything gone from DNS a new record of hers has no proof; the
	// certificate that is still there is none.
	p.delete(t, host)
	d.set(t)
	p.add(t, host, true, ownedBy("alice"))
	unproven := is("phase=Pending", "OwnershipVerified=False/OwnershipNotVerified", "TLSReady=False/WaitingForDNS")
	if err := unproven(p.check(t, host)); err != nil {
		t.Fatalf("a certificate proves a record that it was not issued for: %v", err)
	}
	if answer := p.ask(t, "http", host, host); answer.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("over HTTP it is answered %d, want 421", answer.StatusCode)
	}
	if _, err := p.handshake(host); err == nil {
		t.Error("it shakes hands")
	}
	// One proof of its own, and the certificate is used as it is.
	d.set(t, delegation)
	p.check(t, host)
	again := p.await(t, host, 30*time.Second, "the certificate of before", is("phase=Active", "TLSReady=True", "OwnershipVerified=True"))
	if got := p.ca.Orders(host); got != orders || again.Status.Certificate.SerialNumber != first.Status.Certificate.SerialNumber {
		t.Errorf("%d new orders; the serial number is %s, was %s", got-orders, again.Status.Certificate.SerialNumber, first.Status.Certificate.SerialNumber)
	}

	// Bob gets neither the hostname nor, once it is his, the certificate.
	p.delete(t, host)
	p.add(t, host, true, ownedBy("bob"))
	asked, token := required(t, p, host)
	if err := unproven(p.check(t, host)); err != nil || !asked {
		t.Fatalf("Bob is asked for a token: %v; %v", asked, err)
	}
	d.set(t, token)
	r := p.check(t, host)
	if err := is("OwnershipVerified=True/ApoxyChallengeConfigured", "TLSReady=False/WaitingForDNS")(r); err != nil || r.Status.Certificate != nil {
		t.Errorf("with the token alone: %v, certificate %+v", err, r.Status.Certificate)
	}
	eventually(t, 5*time.Second, "Alice's certificate is shown no more", func() error {
		if shown, err := p.handshake(host); err == nil {
			return fmt.Errorf("a handshake is shown the certificate with serial number %x", shown.PeerCertificates[0].SerialNumber)
		}
		return nil
	})
	d.set(t, token, delegation)
	p.check(t, host)
	bobs := p.await(t, host, 30*time.Second, "Bob's own certificate", is("TLSReady=True", "phase=Active"))
	if bobs.Status.Certificate.SerialNumber == first.Status.Certificate.SerialNumber || p.ca.Orders(host) != orders+1 {
		t.Errorf("Bob has %+v after %d orders", bobs.Status.Certificate, p.ca.Orders(host)-orders)
	}
}

func TestTenantsLastVerifiedHolderIsRemembered(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{})
	d := customer(t, n, "holders")
	host := "www." + d.name
	traffic := p.add(t, host, false, nil).line(t, "Traffic")
	verified, pending := is("OwnershipVerified=True", "phase=Active"), is("OwnershipVerified=False/OwnershipNotVerified", "phase=Pending")

	// An unproven record burdens nobody.
	p.delete(t, host)
	p.add(t, host, false, ownedBy("alice"))
	d.set(t, traffic)
	p.check(t, host)
	p.await(t, host, 20*time.Second, "Alice's proof", verified)
	// A relabelled one stays verified and is its new owner's, without an owner, too.
	for _, owner := range []string{"bob", ""} {
		p.relabel(t, host, owner)
		if err := verified(p.check(t, host)); err != nil {
			t.Errorf("relabelled to %q: %v", owner, err)
		}
	}
	p.delete(t, host)
	// A restart forgets nothing.
	p.kill()
	p.run(t)
	for _, owner := range []string{"alice", "bob"} {
		p.add(t, host, false, ownedBy(owner))
		if asked, _ := required(t, p, host); !asked {
			t.Errorf("%s is asked for no token after the empty owner", owner)
		}
		if err := pending(p.check(t, host)); err != nil {
			t.Errorf("%s has what the empty owner's customer left: %v", owner, err)
		}
		p.delete(t, host)
	}
	p.add(t, host, false, nil)
	p.await(t, host, 20*time.Second, "the empty owner's proof", verified)
}

func TestTenantsBeingFirstExemptsNobody(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{})
	d := customer(t, n, "firsts")
	base := p.add(t, d.name, true, ownedBy("bob")) // he has nothing to do with the domain
	wild := p.add(t, "*."+d.name, true, ownedBy("alice"))
	for _, r := range []record{base, wild} {
		asked, line := required(t, p, r.Metadata.Name)
		if !asked || strings.Contains(line, " _apoxy-verify.") {
			t.Errorf("%s is asked for no token: %s", r.Metadata.Name, line)
		}
	}
	// Alice's customer follows Alice, record by record.
	_, token := required(t, p, wild.Metadata.Name)
	followed := []string{wild.line(t, "ACMEChallenge")}
	d.set(t, followed...)
	p.check(t, wild.Metadata.Name)
	for range 3 {
		for _, name := range []string{base.Metadata.Name, wild.Metadata.Name} {
			if err := is("phase=Pending", "OwnershipVerified=False")(p.check(t, name)); err != nil {
				t.Errorf("%s: the delegation that both share proves it: %v", name, err)
			}
		}
	}
	d.set(t, append(followed, token)...)
	p.check(t, wild.Metadata.Name)
	p.await(t, wild.Metadata.Name, 30*time.Second, "Alice's certificate", is("phase=Active", "TLSReady=True", "OwnershipVerified=True"))
	if err := is("phase=Pending", "OwnershipVerified=False", "TLSReady=False")(p.check(t, base.Metadata.Name)); err != nil {
		t.Errorf("Bob has the base domain: %v", err)
	}
	if got := p.ca.Orders(d.name); got != 0 {
		t.Errorf("%d orders were placed for Bob", got)
	}
	// It makes no difference that Alice leaves.
	p.delete(t, wild.Metadata.Name)
	if err := is("phase=Pending", "OwnershipVerified=False")(p.check(t, base.Metadata.Name)); err != nil {
		t.Errorf("Bob has the base domain of one who left: %v", err)
	}
}

// A record that becomes contested while its order is in flight gains nothing by
// the certificate.
func TestTenantsContestedInFlight(t *testing.T) {
	n := network(t)
	g := openGate(t, "127.0.0.62", n.CA)
	p := start(t, n, settings{ca: g.front})
	d := customer(t, n, "inflight")
	reached, proceed := make(chan struct{}), make(chan struct{})
	var once sync.Once
	g.mu.Lock()
	g.rule = func(a asked) http.HandlerFunc {
		if a.step != atCertificate {
			return nil
		}
		return func(w http.ResponseWriter, r *http.Request) {
			once.Do(func() { close(reached) })
			<-proceed
			g.pass(w, r)
		}
	}
	g.mu.Unlock()
	wild := p.add(t, "*."+d.name, true, ownedBy("alice"))
	d.set(t, wild.line(t, "ACMEChallenge"))
	p.check(t, wild.Metadata.Name)
	select {
	case <-reached:
	case <-time.After(30 * time.Second):
		t.Fatal("no certificate is asked for")
	}
	p.add(t, d.name, false, ownedBy("bob"))
	close(proceed)
	for range 5 {
		if err := is("OwnershipVerified=False", "phase=Pending")(p.check(t, wild.Metadata.Name)); err != nil {
			t.Fatalf("the certificate in flight proves a contested record: %v", err)
		}
	}
	asked, token := required(t, p, wild.Metadata.Name)
	if !asked {
		t.Error("no token is asked for")
	}
	d.set(t, wild.line(t, "ACMEChallenge"), token)
	p.check(t, wild.Metadata.Name)
	p.await(t, wild.Metadata.Name, 30*time.Second, "Alice's service", is("OwnershipVerified=True", "TLSReady=True"))
}

func TestTenantsUnprovenClaimBlocksNobody(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{})
	d := customer(t, n, "claims")
	host := "shop." + d.name
	squatter := p.add(t, host, true, ownedBy("squatter"))
	with := func(owner, name, replaces string) error {
		body := manifest(host, true)
		metadata := map[string]any{"labels": ownedBy(owner)}
		if name != "" {
			metadata["name"] = name
		}
		if replaces != "" {
			metadata["annotations"] = map[string]string{"core.apoxy.dev/replaces": replaces}
		}
		body["metadata"] = metadata
		return call(t.Context(), http.MethodPost, recordsPath, body, nil)
	}
	refused := func(err error, words ...string) {
		t.Helper()
		for _, word := range append([]string{"status 409"}, words...) {
			if err == nil || !strings.Contains(err.Error(), word) {
				t.Errorf("the answer lacks %q: %v", word, err)
			}
		}
	}
	refused(with("alice", "", ""), "not verified", "core.apoxy.dev/replaces: "+host)
	refused(with("squatter", "mine", host), "same owner")

	if err := with("alice", "", host); err != nil {
		t.Fatal(err)
	}
	seen := eventsFrom(t, squatter.Metadata.ResourceVersion, func(kind, uid string) bool { return kind == "ADDED" })
	deleted, added := "DELETED "+squatter.Metadata.UID, len(seen)-1
	if added < 1 || seen[added-1] != deleted || seen[added] == "ADDED "+squatter.Metadata.UID {
		t.Errorf("a watcher sees %v, want %q and then another record ADDED", seen, deleted)
	}
	r := p.await(t, host, 15*time.Second, "the first look", is("OwnershipVerified=False", "CNAMEConfigured=False"))
	if r.Metadata.UID == squatter.Metadata.UID {
		t.Error("the new record has the old one's uid")
	}
	if asked, _ := required(t, p, host); asked {
		t.Error("an unproven claim burdens the one that took its place")
	}
	d.set(t, r.line(t, "ACMEChallenge"))
	p.check(t, host)
	p.await(t, host, 30*time.Second, "Alice's certificate", is("phase=Active", "TLSReady=True"))
	refused(with("squatter", "", host), "verified")
	if state, err := p.handshake(host); err != nil || state.PeerCertificates[0].DNSNames[0] != host {
		t.Errorf("Alice's service has changed: %v", err)
	}
}

// eventsFrom is what a watcher from a revision on sees, "TYPE uid", until last holds.
func eventsFrom(t *testing.T, from string, last func(kind, uid string) bool) (seen []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, adminURL+recordsPath+"?watch=true&resourceVersion="+from, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	for events := json.NewDecoder(answer.Body); ; {
		var event struct {
			Type   string
			Object record
		}
		if err := events.Decode(&event); err != nil {
			t.Fatalf("after %v: %v", seen, err)
		}
		seen = append(seen, event.Type+" "+event.Object.Metadata.UID)
		if last(event.Type, event.Object.Metadata.UID) {
			return seen
		}
	}
}

func TestTenantsUnprovenRecordsExpire(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{checkInterval: time.Second})
	d := customer(t, n, "expiry")
	const old = "detach_after"
	kept, lost := "kept."+d.name, "lost."+d.name
	d.set(t, p.add(t, kept, false, nil).line(t, "Traffic"))
	p.check(t, kept)
	p.await(t, kept, 20*time.Second, "the proof", is("OwnershipVerified=True"))
	p.add(t, lost, true, ownedBy("squatter"))
	d.set(t)
	p.reconfigure(t, old, "unproven_ttl 5s\n\t\t"+old)
	eventually(t, 30*time.Second, "the record that was never verified to go", func() error {
		if names := p.names(t); len(names) != 1 || names[0] != kept {
			return fmt.Errorf("there are %v", names)
		}
		return nil
	})
	p.add(t, lost, true, ownedBy("alice")) // the hostname is free
}

// While an exact record is not proven, a proven wildcard goes on serving its
// hostname in every respect; once it is proven, it takes over.
func TestTenantsWildcardGoesOnServing(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{})
	d := customer(t, n, "below")
	exact := "shop." + d.name
	wild := p.add(t, "*."+d.name, true, ownedBy("alice"))
	followed := []string{wild.line(t, "ACMEChallenge"), wild.line(t, "Traffic")}
	d.set(t, followed...)
	p.check(t, wild.Metadata.Name)
	p.await(t, wild.Metadata.Name, 30*time.Second, "the wildcard", is("Ready=True"))
	h := hit(t, 2, func(context.Context) (string, error) {
		answer := p.ask(t, "https", exact, exact)
		return answer.Header.Get("X-Hostname"), nil
	})
	defer h.stop()
	h.until(t, 10*time.Second, "*."+d.name, 5)

	claim := p.add(t, exact, true, ownedBy("bob"))
	served := func(want string) {
		t.Helper()
		if answer := p.ask(t, "http", exact, exact); answer.StatusCode != http.StatusPermanentRedirect {
			t.Errorf("over HTTP it is answered %d, want 308", answer.StatusCode)
		}
		state, err := p.handshake(exact)
		if err != nil {
			t.Errorf("it does not shake hands: %v", err)
		} else if got := state.PeerCertificates[0].DNSNames[0]; got != want {
			t.Errorf("it shows the certificate of %s, want %s", got, want)
		}
		if got := p.ask(t, "https", exact, exact).Header.Get("X-Hostname"); got != want {
			t.Errorf("it is served by %q, want %q", got, want)
		}
	}
	served("*." + d.name)
	if answer := p.ask(t, "https", "other."+d.name, exact); answer.StatusCode != http.StatusOK {
		t.Errorf("on another name's connection it is answered %d, want 200 as both are the wildcard's", answer.StatusCode)
	}
	p.check(t, exact)
	served("*." + d.name)
	h.stop()
	if n, err := h.failures(); n > 0 || h.count("*."+d.name) != h.total() {
		t.Errorf("of %d requests %d failed (%v) and %d were served by the wildcard", h.total(), n, err, h.count("*."+d.name))
	}

	d.set(t, append(followed, claim.line(t, "Ownership"), claim.line(t, "ACMEChallenge"), claim.line(t, "Traffic"))...)
	p.check(t, exact)
	p.await(t, exact, 30*time.Second, "Bob's certificate", is("TLSReady=True", "OwnershipVerified=True"))
	served(exact)
	// Nor does it depend on whose certificate came into memory first.
	p.kill()
	p.run(t)
	served(exact)
	p.kill()
	p.run(t)
	if state, err := p.handshake("other." + d.name); err != nil || state.PeerCertificates[0].DNSNames[0] != "*."+d.name {
		t.Errorf("another name below does not shake hands with the wildcard's certificate: %v", err)
	}
	served(exact)
	if answer := p.ask(t, "https", "other."+d.name, exact); answer.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("on the wildcard's connection it is answered %d, want 421", answer.StatusCode)
	}
	p.delete(t, exact)
	eventually(t, 5*time.Second, "the wildcard to serve again", func() error {
		if got := p.ask(t, "https", exact, exact).Header.Get("X-Hostname"); got != "*."+d.name {
			return fmt.Errorf("it is served by %q", got)
		}
		return nil
	})
	served("*." + d.name)
	p.kill()
	p.run(t)
	served("*." + d.name) // though the other certificate was the first in storage
}

func TestTenantsForgedStatusOpensNothing(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{checkInterval: 2 * time.Second})
	d := customer(t, n, "forged")
	plain, secure := "plain."+d.name, "secure."+d.name
	p.add(t, plain, false, nil)
	p.add(t, secure, true, nil)
	h := hit(t, 2, func(ctx context.Context) (string, error) {
		status, _, err := p.plain(ctx, plain)
		if _, shook := p.handshake(secure); shook == nil {
			return "a handshake", nil
		}
		return fmt.Sprint(status), err
	})
	defer h.stop()
	const future = "2036-01-01T00:00:00Z"
	for _, host := range []string{plain, secure} {
		var live map[string]any
		if err := call(t.Context(), http.MethodGet, recordsPath+"/"+host, nil, &live); err != nil {
			t.Fatal(err)
		}
		status := live["status"].(map[string]any)
		status["phase"] = "Active"
		status["ownership"] = map[string]any{"verified": true, "verifiedTime": future}
		status["certificate"] = map[string]any{"notAfter": future}
		for _, c := range status["conditions"].([]any) {
			c := c.(map[string]any)
			c["status"], c["lastTransitionTime"] = "True", future
		}
		for _, r := range status["dnsRecords"].([]any) {
			r := r.(map[string]any)
			r["configured"], r["lastTransitionTime"] = true, future
		}
		body, err := json.Marshal(map[string]any{"status": status})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 5 {
			if _, err := p.kubectl(t.Context(), "", "patch", "dr", host, "--subresource=status", "--type=merge", "-p", string(body)); err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				h.until(t, 20*time.Second, "421", h.count("421")+4)
			}
		}
		p.await(t, host, 20*time.Second, "the status to be put right", func(r record) error {
			if err := is("OwnershipVerified=False/OwnershipNotVerified", "phase=Pending", "Ready=False")(r); err != nil {
				return err
			}
			if w := r.wanted("Traffic"); w.Configured {
				return fmt.Errorf("the main record is configured: %+v", w)
			}
			return nil
		})
	}
	// What is settled, and would be looked at in minutes, is put right as soon.
	settled := "settled." + d.name
	d.set(t, p.add(t, settled, false, nil).line(t, "Traffic"))
	p.check(t, settled)
	p.await(t, settled, 20*time.Second, "the proof", is("Ready=True", "phase=Active"))
	for range 3 {
		if _, err := p.kubectl(t.Context(), "", "patch", "dr", settled, "--subresource=status", "--type=merge", "-p", `{"status":{"phase":"Detached","conditions":[],"dnsRecords":[]}}`); err != nil {
			t.Fatal(err)
		}
		p.await(t, settled, 12*time.Second, "the status of a settled record to be put right", func(r record) error {
			if len(r.Status.DNSRecords) == 0 {
				return errorf("dnsRecords are gone")
			}
			return is("Ready=True", "phase=Active")(r)
		})
	}
	p.kill()
	p.run(t)
	h.stop()
	if h.count("421")+h.count("") == 0 || h.count("200") > 0 || h.count("a handshake") > 0 {
		t.Errorf("%d requests were answered 200 and %d handshakes made, of %d", h.count("200"), h.count("a handshake"), h.total())
	}
}

func TestTenantsProofToken(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{})
	d := customer(t, n, "tokens")
	before, after := "before."+d.name, "after."+d.name
	lines := []string{p.add(t, before, false, nil).line(t, "Traffic")}
	d.set(t, lines...)
	p.check(t, before)
	p.await(t, before, 20*time.Second, "the proof", is("OwnershipVerified=True"))
	p.reconfigure(t, "detach_after", "proof token\n\t\tdetach_after")

	r := p.add(t, after, true, nil)
	lines = append(lines, r.line(t, "Traffic"), r.line(t, "ACMEChallenge"), "_apoxy-challenge.after CNAME _apoxy-verify."+testnet.Zone+".")
	d.set(t, lines...)
	for range 3 {
		if err := is("OwnershipVerified=False", "phase=Pending")(p.check(t, after)); err != nil {
			t.Errorf("without its token: %v", err)
		}
	}
	if got := p.ca.Orders(after); got != 0 {
		t.Errorf("%d orders were placed without its token", got)
	}
	asked, token := required(t, p, after)
	if !asked {
		t.Error("the token is not required")
	}
	lines[3] = token
	d.set(t, lines...)
	p.check(t, after)
	p.await(t, after, 30*time.Second, "the certificate", is("OwnershipVerified=True", "TLSReady=True"))
	if err := is("OwnershipVerified=True", "phase=Active")(p.check(t, before)); err != nil {
		t.Errorf("the option takes from one who was verified before it: %v", err)
	}
}

// The edge's addresses at a hostname are anybody's: they prove nothing by themselves,
// and not even a certificate obtained by them does where a wildcard makes them up.
func TestTenantsAddressesProveLittle(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{})
	d := customer(t, n, "flattened")
	at := func(name string) string { return name + " A " + testnet.ProductAddr }

	// An exact one: with TLS the certificate proves, without it the challenge does.
	www, plain := "www."+d.name, "plain."+d.name
	p.add(t, www, true, ownedBy("alice"))
	challenge := p.add(t, plain, false, ownedBy("alice")).line(t, "Ownership")
	d.set(t, at("www"), at("plain"))
	r := p.await(t, www, 40*time.Second, "the certificate", is("Ready=True", "CNAMEConfigured=True/AddressConfigured", "OwnershipVerified=True/TLSCertificateIssued"))
	if r.Status.Certificate.Challenge != "http-01" {
		t.Errorf("the certificate came by %s", r.Status.Certificate.Challenge)
	}
	p.awaitProblem(t, www, "Traffic", "FlattenedCNAME", 10*time.Second)
	unproven := is("CNAMEConfigured=True/AddressConfigured", "OwnershipVerified=False/OwnershipNotVerified", "phase=Pending")
	p.await(t, plain, 20*time.Second, "the address to be seen", unproven)
	d.set(t, at("www"), at("plain"), challenge)
	p.check(t, plain)
	p.await(t, plain, 20*time.Second, "the challenge", is("Ready=True", "OwnershipVerified=True/ApoxyChallengeConfigured"))

	// A wildcard that Alice pointed here for records of hers gives Bob nothing.
	wild := p.add(t, "*."+d.name, true, ownedBy("alice"))
	d.set(t, at("*"), wild.line(t, "ACMEChallenge"))
	poached, deep := "shop."+d.name, "a.b."+d.name
	for _, host := range []string{poached, deep} {
		p.add(t, host, true, ownedBy("bob"))
		p.await(t, host, 20*time.Second, "the wildcard to be seen", unproven)
		p.awaitProblem(t, host, "Traffic", "WildcardAnswers", 10*time.Second)
	}
	p.await(t, wild.Metadata.Name, 40*time.Second, "Alice's wildcard", is("phase=Active", "TLSReady=True"))
	// Nor does an address of the name's own below it.
	d.set(t, at("*"), at("shop"), at("a.b"), wild.line(t, "ACMEChallenge"))
	for _, host := range []string{poached, deep} {
		if err := unproven(p.check(t, host)); err != nil {
			t.Error(err)
		}
	}
	d.set(t, at("shop"), at("a.b"), wild.line(t, "ACMEChallenge"))
	for _, host := range []string{poached, deep} {
		p.check(t, host)
		p.awaitProblem(t, host, "Traffic", "FlattenedCNAME", 10*time.Second)
		if err := is("OwnershipVerified=False", "TLSReady=False/WaitingForDNS")(p.check(t, host)); err != nil {
			t.Error(err)
		}
		if n := p.ca.Orders(host); n > 0 {
			t.Errorf("%d orders for %s", n, host)
		}
	}
}
