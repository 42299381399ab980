package nodes

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/bench"
	"github.com/apoxy-dev/caddy-apoxy/cluster"
	"github.com/apoxy-dev/caddy-apoxy/dnsprovider"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// node is a node with a connection to etcd, a table of records, a zone that answers on
// loopback and a place in the cluster.
type node struct {
	*cluster.Member
	name   string
	store  store.Store
	table  *hosts.Table
	rrsets *dnsprovider.RRSets
	dns    *dnsprovider.Server
	told   atomic.Pointer[func(hosts.Change)]
	stop   func() // gives its lease back
}

// names shows the zone the table.
type names struct{ *hosts.Table }

func (n names) Lookup(hostname []byte) (dnsprovider.Name, bool) {
	h, ok := n.GetBytes(hostname)
	if !ok {
		return dnsprovider.Name{}, false
	}
	return dnsprovider.Name{TTL: h.TTL, TLS: h.TLS, Unsettled: !h.Settled()}, true
}

// startNode starts one and waits until it answers from all records and does its share.
func startNode(b *testing.B, e *etcd, name string) *node {
	b.Helper()
	n := &node{name: name, store: e.open(b), table: hosts.New()}
	var err error
	if n.rrsets, err = dnsprovider.NewRRSets(n.store, bench.Zone, nil); err != nil {
		b.Fatal(err)
	}
	n.Member = cluster.New(cluster.Config{Store: n.store, Name: func() string { return name }, Instance: name, CaughtUp: n.rrsets.WaitRevision})
	n.rrsets.SharedWith(n.Member)
	zone, err := dnsprovider.NewZone(dnsprovider.Config{
		Name:        bench.Zone,
		Nameservers: []dnsprovider.Nameserver{{Name: "ns1.example.net"}},
		EdgeAddrs:   []netip.Addr{netip.MustParseAddr("203.0.113.10")},
		Current:     n.Live,
	}, names{n.table}, n.rrsets)
	if err != nil {
		b.Fatal(err)
	}
	authority, err := dnsprovider.NewAuthority(zone)
	if err != nil {
		b.Fatal(err)
	}
	if n.dns, err = dnsprovider.Listen(b.Context(), "127.0.0.1:0", dnsprovider.ServerOptions{Authority: authority}); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	loaded := make(chan struct{})
	running.Go(func() {
		_ = hosts.Follow(ctx, n.store, hosts.Follower{Table: n.table, OnLoaded: func() { close(loaded) }, OnChange: func(c hosts.Change) {
			if told := n.told.Load(); told != nil {
				(*told)(c)
			}
		}})
	})
	running.Go(func() { _ = n.rrsets.Run(ctx) })
	running.Go(func() { _ = n.Run(ctx) })
	n.stop = func() { cancel(); running.Wait() }
	b.Cleanup(func() { n.stop(); _ = n.dns.Close() })
	<-loaded
	if err := n.WaitJoined(b.Context()); err != nil {
		b.Fatal(err)
	}
	n.Work()
	return n
}

// shares waits until all of them share the work, as each sees it.
func shares(b *testing.B, nodes ...*node) {
	b.Helper()
	for limit := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		working := 0
		for _, n := range nodes {
			for _, other := range n.Nodes() {
				if other.Working {
					working++
				}
			}
		}
		if working == len(nodes)*len(nodes) {
			return
		}
		if time.Now().After(limit) {
			b.Fatalf("the nodes do not share the work: %v", nodes[0].Nodes())
		}
	}
}

// ask asks the node's name server over UDP for a name of a type, as often as it takes.
func (n *node) ask(b *testing.B, name string, qtype uint16) {
	b.Helper()
	query := new(dns.Msg)
	query.SetQuestion(dns.Fqdn(name), qtype)
	client := dns.Client{Timeout: time.Second}
	for limit := time.Now().Add(10 * time.Second); ; {
		answer, _, err := client.Exchange(query, n.dns.Addr().String())
		if err == nil && len(answer.Answer) > 0 {
			return
		}
		if time.Now().After(limit) {
			b.Fatalf("node %s does not answer for %s: %v, %v", n.name, name, answer, err)
		}
	}
}
