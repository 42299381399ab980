package looks

import (
	"fmt"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/cluster"
)

// BenchmarkShares looks at all records as one, two and three nodes share them out. A node
// of a cluster has a machine of its own, so each has this one for itself in its turn, and
// the cluster is done when the slowest would be. Name servers keep up with any number, and
// the store here is each node's own.
func BenchmarkShares(b *testing.B) {
	nodes := []string{"n1", "n2", "n3"}
	for n := 1; n <= len(nodes); n++ {
		b.Run(fmt.Sprint("nodes=", n), func(b *testing.B) {
			for range b.N {
				var slowest time.Duration
				most := 0
				for _, name := range nodes[:n] {
					mine := func(hostname string) bool { return cluster.Share(nodes[:n], hostname) == name }
					took, looks := passOf(b, mine)
					b.Logf("%s of %d: %d looks in %.2f s", name, n, looks, took.Seconds())
					slowest, most = max(slowest, took), max(most, looks)
				}
				b.ReportMetric(slowest.Seconds(), "s/pass")
				b.ReportMetric(float64(*records)/slowest.Seconds(), "looks/s")
				b.ReportMetric(float64(most)*100/float64(*records), "%-largest-share")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// passOf looks at a node's share of all records once, when nothing is known of their
// domains.
func passOf(b *testing.B, mine func(hostname string) bool) (took time.Duration, looks int) {
	n := start(b, fifth(0), aged(*records), mine)
	defer n.stop()
	done, _ := n.pass(*records, func(i int) bool { return mine(hostname(i)) })
	return done[len(done)-1], len(done)
}
