package e2e

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// preissued makes a record with TLS and waits for its certificate by DNS-01.
func (p *product) preissued(t *testing.T, customer *domain, host string, records ...string) record {
	t.Helper()
	r := p.create(t, host, true)
	customer.set(t, append(records, r.line(t, "Traffic"), r.line(t, "ACMEChallenge"))...)
	return p.await(t, host, 30*time.Second, "Ready", is("phase=Active", "Ready=True", "ACMEChallengeDelegationReady=True"))
}

// After a restart everything is there at once, and the CA is not asked again.
func TestRestartKeepsRecordsAndCertificates(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{})
	customer := customer(t, n, "restart")
	host := "api." + customer.name
	before := p.preissued(t, customer, host)
	certBefore, err := p.handshake(host)
	if err != nil {
		t.Fatal(err)
	}

	p.stop(t)
	if code := p.proc.ExitCode(); code != 0 {
		t.Errorf("the product ended with status %d after SIGTERM, want 0", code)
	}
	p.run(t)
	after, err := p.get(t.Context(), host)
	if err != nil {
		t.Fatal(err)
	}
	if after.Metadata.UID != before.Metadata.UID {
		t.Errorf("the record's uid changed from %s to %s", before.Metadata.UID, after.Metadata.UID)
	}
	if err := is("phase=Active", "OwnershipVerified=True", "TLSReady=True", "Ready=True")(after); err != nil {
		t.Errorf("right after the restart: %v", err)
	}
	answer, err := testnet.Ask(testnet.ProductAddr, host+"."+testnet.Zone, dns.TypeA)
	if err != nil || len(answer.Answer) != 1 {
		t.Errorf("right after the restart the zone answers %v, %v, want one address", answer, err)
	}
	certAfter, err := p.handshake(host)
	if err != nil {
		t.Fatal(err)
	}
	if !certAfter.PeerCertificates[0].Equal(certBefore.PeerCertificates[0]) {
		t.Error("another certificate is served after the restart")
	}
	if body, err := visit(t.Context(), client(p.ca.RootPEM), "https://"+host+"/"); err != nil || body != ours {
		t.Errorf("after the restart the host is answered %q, %v", body, err)
	}
	if got := p.ca.Orders(host); got != 1 {
		t.Errorf("%d orders reached the CA, want 1", got)
	}
}

// What was acknowledged is there after kill -9.
func TestKillUnderWritesLosesNoAcknowledgedRecord(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{})
	var mu sync.Mutex
	var acknowledged []string
	var serial int
	for round := range 3 {
		h := hit(t, 8, func(ctx context.Context) (string, error) {
			mu.Lock()
			serial++
			name := fmt.Sprintf("w%d.kill.com", serial)
			mu.Unlock()
			// The request outlives the hammer's context: its answer counts.
			if err := call(context.WithoutCancel(ctx), http.MethodPost, recordsPath, manifest(name, false), nil); err != nil {
				return "", err
			}
			mu.Lock()
			defer mu.Unlock()
			acknowledged = append(acknowledged, name)
			return "created", nil
		})
		h.until(t, 30*time.Second, "created", 100)
		p.kill()
		h.stop()
		p.run(t)
		slices.Sort(acknowledged)
		names := p.names(t)
		for _, name := range acknowledged {
			if _, found := slices.BinarySearch(names, name); !found {
				t.Errorf("round %d: %s was acknowledged and is gone", round+1, name)
			}
		}
		t.Logf("round %d: all of %d acknowledged records are there, %d in all", round+1, len(acknowledged), len(names))
	}
}

// Reloading the configuration loses no query, and no open HTTPS connection.
func TestReloadUnderLoadLosesNothing(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{})
	customer := customer(t, n, "reload")
	host := "api." + customer.name
	p.preissued(t, customer, host)

	queries := hit(t, 2, func(context.Context) (string, error) {
		answer, err := testnet.Ask(testnet.ProductAddr, host+"."+testnet.Zone, dns.TypeA)
		if err != nil {
			return "", err
		}
		if len(answer.Answer) != 1 {
			return "", errorf("the zone answers %v", answer)
		}
		return "answered", nil
	})
	fresh := client(p.ca.RootPEM)
	connections := hit(t, 1, func(ctx context.Context) (string, error) { return visit(ctx, fresh, "https://"+host+"/") })
	queries.until(t, 10*time.Second, "answered", 500)
	const reloads = 10
	for range reloads {
		if err := p.reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		queries.until(t, 10*time.Second, "answered", 200)
		connections.until(t, 10*time.Second, ours, 5)
	}
	queries.stop()
	connections.stop()
	lost, err := queries.failures()
	t.Logf("%d reloads: %d of %d DNS queries lost", reloads, lost, queries.total())
	if lost > 0 {
		t.Errorf("%d DNS queries were lost over %d reloads: %v", lost, reloads, err)
	}
	// Closing a listener with connections waiting in it cuts those: at most a
	// few in a hundred, which is the web server's and not ours.
	cut, err := connections.failures()
	t.Logf("%d reloads: %d of %d fresh HTTPS connections cut", reloads, cut, connections.total())
	if cut*100 > connections.total()*5 {
		t.Errorf("%d of %d fresh HTTPS connections were cut over %d reloads: %v", cut, connections.total(), reloads, err)
	}
	if err := is("phase=Active", "Ready=True")(p.check(t, host)); err != nil {
		t.Error(err)
	}
	if got := p.ca.Orders(host); got != 1 {
		t.Errorf("%d orders reached the CA, want 1", got)
	}
}

// A deleted record is gone from every way in within a second, open connections
// too.
func TestDeletedRecordIsRefusedEverywhere(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{})
	customer := customer(t, n, "deletion")
	host := "api." + customer.name
	p.preissued(t, customer, host)
	eventually(t, 10*time.Second, "the resolver to send visitors to us", func() error {
		return resolvesTo(t.Context(), host, testnet.ProductAddr)
	})
	kept := client(p.ca.RootPEM)
	kept.Transport.(*http.Transport).DisableKeepAlives = false
	if body, err := visit(t.Context(), kept, "https://"+host+"/"); err != nil || body != ours {
		t.Fatalf("before the deletion the host is answered %q, %v", body, err)
	}

	p.delete(t, host)
	misdirected := func(what string, ask func() (int, string, error)) {
		t.Helper()
		eventually(t, time.Second, what+" to be refused", func() error {
			if status, _, err := ask(); err != nil || status != http.StatusMisdirectedRequest {
				return errorf("the deleted host is answered %d, %v, want 421", status, err)
			}
			return nil
		})
	}
	misdirected("the open connection", func() (int, string, error) { return fetch(t.Context(), kept, "https://"+host+"/", "") })
	misdirected("plain HTTP", func() (int, string, error) { return p.plain(t.Context(), host) })
	for _, name := range []string{host + "." + testnet.Zone, "_acme-challenge." + host + "." + testnet.Zone} {
		answer, err := testnet.Ask(testnet.ProductAddr, name, dns.TypeA)
		if err != nil {
			t.Fatal(err)
		}
		if answer.Rcode != dns.RcodeNameError {
			t.Errorf("%s is answered %s, want NXDOMAIN", name, dns.RcodeToString[answer.Rcode])
		}
	}
	// A handshake may still be answered from memory; serving it is refused.
	if status, _, err := fetch(t.Context(), client(p.ca.RootPEM), "https://"+host+"/", ""); err == nil && status != http.StatusMisdirectedRequest {
		t.Errorf("a fresh HTTPS request for the deleted host is answered %d, want 421 or no handshake", status)
	}
	if got := p.ca.Orders(host); got != 1 {
		t.Errorf("%d orders reached the CA, want 1", got)
	}
}
