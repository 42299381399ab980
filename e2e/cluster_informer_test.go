package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// roaming sends each request to the next node.
type roaming struct {
	inner http.RoundTripper
	c     *cluster
	next  atomic.Uint32
}

// lead has requests that go out by inner go to one node after the other.
func (c *cluster) lead(inner http.RoundTripper) http.RoundTripper {
	return &roaming{inner: inner, c: c}
}

// RoundTrip implements http.RoundTripper.
func (r *roaming) RoundTrip(req *http.Request) (*http.Response, error) {
	d := r.c.nodes[int(r.next.Add(1))%len(r.c.nodes)]
	req = req.Clone(req.Context())
	req.URL.Host = strings.TrimPrefix(d.admin, "http://")
	req.Host = ""
	return r.inner.RoundTrip(req)
}

// Neither a client-go informer nor a plain watch, which go to another node with every
// request, misses or repeats an event while writers write at all nodes, connections break
// and nodes are killed and started again.
func TestClusterInformersMissNothing(t *testing.T) {
	const (
		records = 40
		last    = 55
		writing = 20
	)
	n := network(t)
	c := startCluster(t, n, settings{checkInterval: time.Hour})
	names := make([]string, records)
	for i := range names {
		names[i] = fmt.Sprintf("r%d.roaming.com", i)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	informed, followed := newLedger("informer"), newLedger("watch")
	connections := &connections{open: map[net.Conn]bool{}, lead: c.lead}
	startInformer(t, ctx, informed, connections)
	follow(t, ctx, followed, connections)

	begun := time.Now()
	w := startWriters(ctx, names, writing, last, c.lead)
	const all, disturbances = int64(records * (last + 1)), 9
	for i := range int64(disturbances) {
		w.reach(t, 2*time.Minute, all*(i+1)/(disturbances+1))
		d := c.nodes[i%3]
		switch {
		case i < 3:
			connections.cut()
		case i < 6:
			d.proc.Kill()
			d.spawn(t)
			d.awaitLive(t)
		default: // while it is away nobody waits for it
			d.proc.Kill()
			d.spawn(t)
			connections.cut()
		}
	}
	w.reach(t, 2*time.Minute, all)
	took := time.Since(begun)
	t.Logf("%d writes by %d writers in %v: %.0f a second; %d requests were sent again",
		all, writing, took.Round(time.Millisecond), float64(all)/took.Seconds(), w.again.Load())
	for _, d := range c.nodes {
		d.awaitLive(t)
	}
	for _, l := range []*ledger{informed, followed} {
		if err := testnet.Until(time.Minute, "the last writes to be heard of", func() error { return l.behind(names, last) }); err != nil {
			t.Error(err)
		}
	}
	informed.close(t, 0)
	followed.close(t, 0)
}
