package looks

import (
	"fmt"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/cluster"
)

// BenchmarkShares looks at 20,000 records, or fewer, as one, two and three nodes share
// them out. A node of a cluster has a machine of its own, so each has this one for itself
// in its turn, and the cluster is done when the slowest would be. Name servers keep up
// with any number, and the store here is each node's own.
func BenchmarkShares(b *testing.B) {
	nodes, count := []string{"n1", "n2", "n3"}, min(*records, 20_000)
	for n := 1; n <= len(nodes); n++ {
		b.Run(fmt.Sprint("nodes=", n), func(b *testing.B) {
			for range b.N {
				var slowest, cpu time.Duration
				for _, name := range nodes[:n] {
					p := passOf(b, count, func(hostname string) bool { return cluster.Share(nodes[:n], hostname) == name })
					b.Logf("%s of %d: %d looks in %.2f s, %.2f cpu-s", name, n, p.looks, p.took.Seconds(), p.cpu.Seconds())
					slowest, cpu = max(slowest, p.took), max(cpu, p.cpu)
				}
				b.ReportMetric(slowest.Seconds(), "s/pass")
				b.ReportMetric(float64(count)/slowest.Seconds(), "looks/s")
				b.ReportMetric(cpu.Seconds(), "cpu-s/node")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// share is one node's part of a pass.
type share struct {
	looks     int
	took, cpu time.Duration
}

// passOf looks at a node's share of so many records once, when nothing is known of their
// domains.
func passOf(b *testing.B, count int, mine func(hostname string) bool) share {
	n := start(b, fifth(0), aged(count), mine)
	defer n.stop()
	cpu := processor(b)
	done, _ := n.pass(count, func(i int) bool { return mine(hostname(i)) })
	return share{looks: len(done), took: done[len(done)-1], cpu: processor(b) - cpu}
}
