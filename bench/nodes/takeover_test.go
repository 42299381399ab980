package nodes

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/cluster"
)

// BenchmarkTakeover ends one of three nodes without a word to etcd, at some moment of its
// lease, as often as there are iterations, and waits until the other two both know whose
// its work is now.
func BenchmarkTakeover(b *testing.B) {
	e := startEtcd(b, 1)
	a, c := startNode(b, e, "a"), startNode(b, e, "c")
	var took []time.Duration
	for range b.N {
		dies := startNode(b, e, "b")
		shares(b, a, dies, c)
		key := ""
		for i := 0; a.Owner(key) != "b"; i++ {
			key = fmt.Sprintf("h%d.example.com", i)
		}
		time.Sleep(rand.N(cluster.DefaultTTL / 4)) // leases are renewed every sixth of that
		began := time.Now()
		if err := dies.store.Close(); err != nil {
			b.Fatal(err)
		}
		for a.Owner(key) == "b" || c.Owner(key) == "b" {
			time.Sleep(time.Millisecond)
		}
		took = append(took, time.Since(began))
		dies.stop()
	}
	slices.Sort(took)
	b.Logf("each: %v", took)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(took[0].Seconds(), "least-s")
	b.ReportMetric(at(took, 0.5).Seconds(), "p50-s")
	b.ReportMetric(took[len(took)-1].Seconds(), "most-s")
	b.ReportMetric((took[len(took)-1] - cluster.DefaultTTL).Seconds(), "most-beyond-lease-s")
}
