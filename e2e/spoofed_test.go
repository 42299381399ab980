package e2e

import (
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// spoofedVictim counts what reaches UDP port 53 of an address, but for what comes from
// another, and answers nothing, until the test ends.
func spoofedVictim(t *testing.T, addr, but string) *atomic.Int64 {
	t.Helper()
	conn, err := net.ListenPacket("udp", addr+":53")
	if err != nil {
		t.Fatal(err)
	}
	var packets atomic.Int64
	done := make(chan struct{})
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	go func() {
		defer close(done)
		buf := make([]byte, 4096)
		for {
			_, from, err := conn.ReadFrom(buf)
			if err != nil {
				return // closed
			}
			if !strings.HasPrefix(from.String(), but+":") {
				packets.Add(1)
			}
		}
	}()
	return &packets
}

// A customer aims at somebody else's server and sends queries in anyone's name.
// Each query costs that server five packets of ours at most, and nothing later.
func TestSpoofedQueriesAreNoWeapon(t *testing.T) {
	const (
		victimAddr    = "127.0.0.22"
		resolverAddr  = "127.0.0.56"
		most          = 5
		leastApart    = time.Second // of what is done about one record
		quietFor      = 5 * time.Second
		checkInterval = 5 * time.Minute
	)
	n := network(t)
	resolver(t, resolverAddr, testnet.Trusting, testnet.ShortCaches, "outgoing-interface: "+resolverAddr)
	p := start(t, n, settings{checkInterval: checkInterval})
	p.useResolvers(t, resolverAddr)
	named, customer := customer(t, n, "victims"), customer(t, n, "attacker")
	named.set(t, "ns A "+victimAddr)
	packets := spoofedVictim(t, victimAddr, resolverAddr)
	host := "api.sub." + customer.name
	p.create(t, host, false)
	customer.set(t, "sub NS ns."+named.name+".")
	p.awaitProblem(t, host, "Traffic", "ServersUnreachable", 40*time.Second)
	ask := func() {
		if _, err := testnet.Ask(testnet.ProductAddr, host+"."+testnet.Zone, dns.TypeA); err != nil {
			t.Fatal(err)
		}
	}

	before, asked := packets.Load(), int64(0)
	eventually(t, 20*time.Second, "a query to be heeded", func() error { // a silent server is left alone for some seconds
		asked++
		ask()
		if got := packets.Load(); got == before {
			return fmt.Errorf("nothing came of %d queries", asked)
		}
		return nil
	})
	quiet := time.NewTimer(quietFor)
	<-quiet.C // what must not come has its time
	// The last query but one may have waited for its turn beside the last.
	if got := packets.Load() - before; got > 2*most {
		t.Errorf("%d queries, of which two were heeded, cost the victim %d packets, want at most %d", asked, got, 2*most)
	} else {
		t.Logf("%d queries, of which the last were heeded, cost the victim %d packets", asked, got)
	}

	before = packets.Load()
	began := time.Now()
	const queries = 1000
	for range queries {
		ask()
	}
	quiet.Reset(quietFor)
	<-quiet.C
	heeded := 2 + int64((time.Since(began)-quietFor)/leastApart) // the last of them after its time apart
	if got := packets.Load() - before; got > most*heeded {
		t.Errorf("%d queries cost the victim %d packets, want at most %d", queries, got, most*heeded)
	} else {
		t.Logf("%d queries in %v cost the victim %d packets", queries, (time.Since(began) - quietFor).Round(time.Millisecond), got)
	}
}
