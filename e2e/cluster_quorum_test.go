package e2e

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// Without a majority of etcd every node serves on and refuses writes, no status falls,
// and everything comes back by itself; nodes that are started meanwhile wait for it. All
// nodes killed at once and started again serve what they served, and order nothing.
func TestClusterWithoutEtcd(t *testing.T) {
	n := network(t)
	c := startCluster(t, n, settings{detachAfter: time.Second})
	customer := customer(t, n, "quorum")
	steady, plain := "steady."+customer.name, "plain."+customer.name
	lines := []string{delegation(steady), fmt.Sprintf("%s. CNAME %[1]s.%s.", plain, testnet.Zone)}
	customer.set(t, lines...)
	c.nodes[0].submit(t, steady, true)
	c.nodes[1].submit(t, plain, false)
	c.nodes[2].await(t, steady, 150*time.Second, "the certificate", is("TLSReady=True"))
	c.nodes[2].await(t, plain, 150*time.Second, "Ready", is("Ready=True"))
	everywhere := func() {
		t.Helper()
		for _, d := range c.nodes {
			d.serves(t, steady, plain)
		}
	}
	everywhere()

	leader, err := c.etcd.Leader()
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	leader.Kill()
	var silent *testnet.EtcdMember
	for _, m := range c.etcd.Members {
		if m != leader {
			silent = m
		}
	}
	if err := silent.Silence(); err != nil {
		t.Fatal(err)
	}
	for _, d := range c.nodes {
		before := time.Now()
		d.refuses(t, "early."+customer.name, 10*time.Second)
		t.Logf("node %s refused the first write after %v", d.name, time.Since(before).Round(time.Millisecond))
		d.refuses(t, "early."+customer.name, 3*time.Second)
	}
	for _, d := range c.nodes {
		eventually(t, 15*time.Second, "node "+d.name+" to withhold challenges", func() error { return d.withholds(steady) })
	}
	t.Logf("all nodes without a lease after %v", time.Since(began).Round(time.Millisecond))
	everywhere()
	// A node that is started now serves from its copy.
	starting := c.nodes[2]
	starting.proc.Kill()
	starting.spawn(t)
	eventually(t, 45*time.Second, "a node that is started without etcd to withhold challenges", func() error { return starting.withholds(steady) })
	eventually(t, 10*time.Second, "its web server", func() error {
		_, err := starting.page(t.Context(), steady)
		return err
	})
	everywhere()

	began = time.Now()
	if err := silent.Speak(); err != nil {
		t.Fatal(err)
	}
	for _, d := range c.nodes {
		d.awaitLive(t)
	}
	t.Logf("all nodes live %v after a majority is back", time.Since(began).Round(time.Millisecond))
	everywhere()
	for _, d := range c.nodes {
		d.await(t, steady, 10*time.Second, "its state", is("TLSReady=True", "OwnershipVerified=True", "ACMEChallengeDelegationReady=True"))
		d.await(t, plain, 10*time.Second, "its state", is("Ready=True", "OwnershipVerified=True"))
	}
	late := "late." + customer.name
	customer.set(t, append(lines, delegation(late))...)
	c.nodes[1].submit(t, late, true)
	for _, d := range c.nodes {
		d.await(t, late, 150*time.Second, "the certificate", is("TLSReady=True"))
	}
	if status, _, err := c.nodes[0].call(t.Context(), http.MethodGet, recordsPath+"/early."+customer.name, nil, nil); status != http.StatusNotFound {
		t.Errorf("a write that was refused has happened: %d, %v", status, err)
	}
	if err := leader.Start(); err != nil {
		t.Fatal(err)
	}

	for _, d := range c.nodes {
		d.proc.Kill()
	}
	c.run(t)
	everywhere()
	for _, d := range c.nodes {
		for _, host := range []string{steady, late} {
			if _, err := d.handshake(host); err != nil {
				t.Errorf("a handshake for %s at node %s: %v", host, d.name, err)
			}
			d.await(t, host, 10*time.Second, "its state", is("TLSReady=True", "OwnershipVerified=True"))
		}
	}
	c.orderedOnce(t, steady, late)
}
