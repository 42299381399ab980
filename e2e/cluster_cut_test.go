package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// A node that is cut from etcd answers SERVFAIL for challenges and everything else from
// memory, and refuses writes; certificates are issued meanwhile though the CA's resolver
// asks it, too, and though another name server is silent; mended it comes back by itself.
func TestClusterNodeIsCutFromEtcd(t *testing.T) {
	n := network(t)
	c := startCluster(t, n, settings{})
	alone, left := c.nodes[2], c.nodes[:2]
	before, after := customer(t, n, "cutnode"), customer(t, n, "cutlater")
	steady, plain := "steady."+before.name, "plain."+before.name
	before.set(t, delegation(steady), fmt.Sprintf("%s. CNAME %[1]s.%s.", plain, testnet.Zone))
	alone.submit(t, steady, true)
	alone.submit(t, plain, false)
	left[0].await(t, steady, 150*time.Second, "the certificate", is("TLSReady=True"))
	left[0].await(t, plain, 150*time.Second, "Ready", is("Ready=True"))
	alone.serves(t, steady, plain)
	servfails := func() float64 {
		return countedAt(t, alone.admin, "apoxy_dns_queries_total", `type="TXT"`, `rcode="SERVFAIL"`)
	}
	if got := servfails(); got != 0 {
		t.Errorf("%v challenges were answered SERVFAIL while the node was live", got)
	}

	began := time.Now()
	mend := alone.cut(t)
	alone.refuses(t, "early."+before.name, 10*time.Second)
	t.Logf("the first write was refused after %v", time.Since(began).Round(time.Millisecond))
	alone.refuses(t, "early."+before.name, 3*time.Second)
	eventually(t, 15*time.Second, "the node to withhold challenges", func() error { return alone.withholds(steady) })
	t.Logf("SERVFAIL after %v", time.Since(began).Round(time.Millisecond))
	for _, d := range left {
		eventually(t, 15*time.Second, "the node to be gone", func() error {
			all, err := d.status(t.Context())
			if err != nil || all[alone.name] {
				return errorf("node %s says %v, %v", d.name, all, err)
			}
			return nil
		})
	}
	t.Logf("gone after %v", time.Since(began).Round(time.Millisecond))
	if all, err := alone.status(t.Context()); err != nil || all[alone.name] {
		t.Errorf("the node says of itself and others %v, %v", all, err)
	}
	alone.serves(t, steady, plain)

	// Nothing of this is known to the node that is cut off, and its name server is asked.
	var known []string
	withheld := servfails() + 8 // of what is asked below by us
	issue := func(count int, label string) (hosts []string) {
		for i := range count {
			hosts = append(hosts, fmt.Sprintf("%s%d.%s", label, i, after.name))
		}
		after.delegated(t, append(known, hosts...)...)
		known = append(known, hosts...)
		for i, host := range hosts {
			left[i%2].submit(t, host, true)
		}
		for i, host := range hosts {
			left[(i+1)%2].await(t, host, 4*time.Minute, "the certificate", is("TLSReady=True"))
			c.orderedOnce(t, host)
			if err := alone.withholds(host); err != nil {
				t.Error(err)
			}
		}
		return hosts
	}
	began = time.Now()
	hosts := issue(8, "cut")
	t.Logf("%d certificates in %v", len(hosts), time.Since(began).Round(time.Millisecond))
	asked := servfails()
	if asked <= withheld {
		t.Error("the CA's resolver never asked the node that is cut off")
	}
	t.Logf("%v challenges were answered SERVFAIL", asked-withheld)
	speak := left[1].drop(t, "dns", "ip daddr "+left[1].addr+" udp dport 53", "ip daddr "+left[1].addr+" tcp dport 53")
	began = time.Now()
	hosts = append(hosts, issue(4, "silent")...)
	t.Logf("with another name server silent, 4 certificates in %v", time.Since(began).Round(time.Millisecond))
	speak()
	alone.serves(t, steady, plain)

	began = time.Now()
	mend()
	alone.awaitLive(t)
	t.Logf("live %v after it was mended", time.Since(began).Round(time.Millisecond))
	for _, host := range hosts {
		eventually(t, 10*time.Second, "the node to have heard", func() error { return alone.answers(host) })
		if _, err := alone.handshake(host); err != nil {
			t.Errorf("a handshake for %s at node %s: %v", host, alone.name, err)
		}
		if answer, err := alone.resolve("_acme-challenge."+host+"."+testnet.Zone, dns.TypeTXT); err != nil || answer.Rcode != dns.RcodeSuccess {
			t.Errorf("live again, node %s answers %v, %v", alone.name, answer, err)
		}
	}
	late := "late." + before.name
	before.set(t, delegation(steady), delegation(late))
	alone.submit(t, late, true)
	for _, d := range c.nodes {
		d.await(t, late, 150*time.Second, "the certificate", is("TLSReady=True"))
	}
	// What was refused never happened.
	if status, _, err := left[0].call(t.Context(), http.MethodGet, recordsPath+"/early."+before.name, nil, nil); status != http.StatusNotFound {
		t.Errorf("a write that was refused has happened: %d, %v", status, err)
	}
}

// readsFromMemory: GET and LIST answer from memory, with a Warning, where etcd cannot be
// asked.
const readsFromMemory = true

// serves demands that the node serves a host with a certificate and an HTTP-only one.
func (d *node) serves(t *testing.T, steady, plain string) {
	t.Helper()
	for _, host := range []string{steady, plain} {
		if err := d.answers(host); err != nil {
			t.Errorf("the zone for %s: %v", host, err)
		}
	}
	if body, err := d.page(t.Context(), steady); err != nil || body != ours {
		t.Errorf("node %s answers %q for %s, %v", d.name, body, steady, err)
	}
	if status, body, err := fetch(t.Context(), client(), "http://"+d.addr+"/", plain); err != nil || status != http.StatusOK || body != ours {
		t.Errorf("node %s answers %d %q for %s, %v", d.name, status, body, plain, err)
	}
	if _, err := d.handshake("stranger.example.org"); err == nil {
		t.Errorf("node %s has a certificate for a stranger", d.name)
	}
	began := time.Now()
	status, header, err := d.call(t.Context(), http.MethodGet, recordsPath+"/"+steady, nil, nil)
	t.Logf("node %s answers GET with %d after %v, Warning %q", d.name, status, time.Since(began).Round(time.Millisecond), header.Get("Warning"))
	if err != nil && (readsFromMemory || status != http.StatusServiceUnavailable) {
		t.Errorf("reading: %v", err)
	}
}

// refuses demands that the node refuses to make a record as the contract says.
func (d *node) refuses(t *testing.T, host string, bound time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bound)
	defer cancel()
	status, header, err := d.call(ctx, http.MethodPost, recordsPath, manifest(host, false), nil)
	after, convErr := strconv.Atoi(header.Get("Retry-After"))
	if status != http.StatusServiceUnavailable || convErr != nil || after < 1 || !strings.Contains(err.Error(), "etcd at ") {
		t.Errorf("node %s answers a write with %d, Retry-After %q: %v", d.name, status, header.Get("Retry-After"), err)
	}
}

// withholds tells whether the node answers SERVFAIL for a host's challenges.
func (d *node) withholds(host string) error {
	answer, err := d.resolve("_acme-challenge."+host+"."+testnet.Zone, dns.TypeTXT)
	if err == nil && answer.Rcode != dns.RcodeServerFailure {
		err = errorf("node %s answers for a challenge %v", d.name, answer)
	}
	return err
}
