package e2e

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"
)

// An order that a node is in the middle of when it loses etcd, or stands still, goes on
// elsewhere, though that node still reaches the CA or wakes up in the middle of it: one
// order, and one certificate that all nodes serve.
func TestClusterOrderChangesHands(t *testing.T) {
	n := network(t)
	c := startCluster(t, n, settings{})
	customer := customer(t, n, "handover")
	var known []string
	for _, round := range []struct {
		name  string
		at    step
		leave func(d *node) (comeBack func())
	}{
		{"cutfinal", atFinalize, func(d *node) func() { return d.cut(t) }},
		{"stillfinal", atFinalize, func(d *node) func() { return stand(t, d) }},
		{"cutorder", atOrder, func(d *node) func() { return d.cut(t) }},
		{"stillchal", atChallenge, func(d *node) func() { return stand(t, d) }},
	} {
		t.Run(round.name, func(t *testing.T) {
			var hosts []string
			for i := range 9 {
				hosts = append(hosts, fmt.Sprintf("%s%d.%s", round.name, i, customer.name))
			}
			known = append(known, hosts...)
			customer.delegated(t, known...)
			// Each host's first request of that step waits at the CA's door.
			goOn, held := make(chan struct{}), map[string]bool{}
			release := sync.OnceFunc(func() { close(goOn) })
			t.Cleanup(release)
			c.gate.obey(func(a asked) http.HandlerFunc {
				if a.step != round.at || held[a.host] {
					return nil
				}
				held[a.host] = true
				return func(w http.ResponseWriter, r *http.Request) {
					<-goOn
					if r.Context().Err() == nil {
						c.gate.pass(w, r)
					}
				}
			})
			for i, host := range hosts {
				c.nodes[i%len(c.nodes)].submit(t, host, true)
			}
			eventually(t, 60*time.Second, "all orders to be held", func() error {
				for _, host := range hosts {
					if reached(c.gate, round.at, host) == 0 {
						return errorf("%s is not at %q", host, round.at)
					}
				}
				return nil
			})
			leaving, left := c.nodes[2], c.nodes[:2]
			comeBack := round.leave(leaving)
			for _, d := range left {
				eventually(t, 20*time.Second, "the node to be gone at "+d.name, func() error {
					all, err := d.status(t.Context())
					if err != nil || all[leaving.name] {
						return errorf("it says %v, %v", all, err)
					}
					return nil
				})
			}
			began := time.Now()
			release()
			if round.at != atFinalize { // it wakes up at once
				comeBack()
			}
			for i, host := range hosts {
				left[i%2].await(t, host, 150*time.Second, "the certificate", is("TLSReady=True"))
			}
			t.Logf("all certified after %v", time.Since(began).Round(time.Millisecond))
			comeBack()
			leaving.awaitLive(t)
			for _, host := range hosts {
				c.orderedOnce(t, host)
				for _, d := range c.nodes {
					eventually(t, 10*time.Second, "one certificate everywhere", func() error {
						var r record
						if _, _, err := d.call(t.Context(), http.MethodGet, recordsPath+"/"+host, nil, &r); err != nil {
							return err
						}
						if r.Status.Certificate == nil {
							return errorf("node %s tells of no certificate for %s: TLSReady is %+v", d.name, host, r.condition("TLSReady"))
						}
						state, err := d.handshake(host)
						if err != nil {
							return err
						}
						if got := state.PeerCertificates[0].SerialNumber.Text(16); got != r.Status.Certificate.SerialNumber {
							return errorf("node %s serves %s for %s, and says %+v", d.name, got, host, r.Status.Certificate)
						}
						return nil
					})
				}
			}
		})
	}
}

// stand has a node stand still until the returned function wakes it, or the test ends.
func stand(t *testing.T, d *node) (wake func()) {
	t.Helper()
	if err := d.proc.Silence(); err != nil {
		t.Fatal(err)
	}
	wake = sync.OnceFunc(func() {
		if err := d.proc.Speak(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(wake)
	return wake
}
