package resolver

import (
	"sync"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/internal/dnstest"
)

// BenchmarkLook asks everything about one pending hostname of a zone with two
// name servers, over loopback sockets, the servers' own work included.
func BenchmarkLook(b *testing.B) {
	world := dnstest.NewCustomer(b)
	r := newTestResolver(b, world.World, func(c *Config) {
		c.CacheTTL, c.QueryTimeout = 15*time.Second, time.Second
	})
	b.ReportAllocs()
	for b.Loop() {
		var wg sync.WaitGroup
		for _, kind := range []Kind{KindTraffic, KindACMEChallenge, KindOwnership} {
			wg.Go(func() { r.Observe(b.Context(), "api.example.com", kind) })
		}
		wg.Wait()
	}
	b.ReportMetric(float64(world.NS1.Queries()+world.NS2.Queries())/float64(b.N), "queries/op")
}
