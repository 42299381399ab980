package nodes

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/bench"
	"github.com/apoxy-dev/caddy-apoxy/dnsprovider"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
)

// pace is between two writes, so that each is measured by itself.
const pace = 10 * time.Millisecond

// BenchmarkAnswer is the way of a change between three nodes. For a record: from the
// write's call on node a until node c answers DNS for it over UDP and permits its
// certificate, and until the write is acknowledged. For a challenge: from its being put
// into the zone on a until all nodes have confirmed it; then c answers it.
func BenchmarkAnswer(b *testing.B) {
	for _, members := range []int{1, 3} {
		b.Run(fmt.Sprint("members=", members), func(b *testing.B) {
			e := startEtcd(b, members)
			fill(b, e.open(b), *records)
			a, c := startNode(b, e, "a"), startNode(b, e, "c")
			shares(b, a, startNode(b, e, "b"), c)
			next := *records // the record that is made next
			b.Run("record", func(b *testing.B) { next = answerRecords(b, a, c, next) })
			b.Run("challenge", func(b *testing.B) { confirmChallenges(b, a, c) })
		})
	}
}

// answerRecords makes records from number next on, and returns the number after them.
func answerRecords(b *testing.B, a, c *node, next int) int {
	changed := make(chan string, 100)
	told := func(change hosts.Change) { changed <- change.Name }
	c.told.Store(&told)
	defer c.told.Store(nil)
	var acked, answered, after []time.Duration
	for range b.N {
		op, hostname := bench.PutOp(next), bench.Hostname(next)
		verified := next%10 != 9
		next++
		acknowledged := make(chan time.Time, 1)
		began := time.Now()
		go func() {
			if _, err := a.store.Write(context.Background(), op); err != nil {
				b.Error(err)
			}
			acknowledged <- time.Now()
		}()
		for <-changed != hostname {
		}
		c.ask(b, v1alpha3.TrafficName(hostname, bench.Zone), dns.TypeA)
		if h, ok := c.table.Match(hostname); !ok || h.Verified != verified {
			b.Fatalf("permission for %s on node c: %v, want %v", hostname, ok && h.Verified, verified)
		}
		done, ack := time.Now(), <-acknowledged
		acked, answered, after = append(acked, ack.Sub(began)), append(answered, done.Sub(began)), append(after, done.Sub(ack))
		time.Sleep(pace)
	}
	b.ReportMetric(0, "ns/op")
	report(b, "answered", answered)
	report(b, "acked", acked)
	slices.Sort(after)
	b.ReportMetric(ms(at(after, 0.5)), "answered-after-ack-p50-ms")
	return next
}

func confirmChallenges(b *testing.B, a, c *node) {
	challenges, ctx := dnsprovider.NewChallenges(a.rrsets), context.Background()
	var confirmed []time.Duration
	for i := range b.N {
		hostname, value := bench.Hostname(i%*records), fmt.Sprintf("%043d", i)
		began := time.Now()
		if err := challenges.Present(ctx, hostname, value); err != nil {
			b.Fatal(err)
		}
		confirmed = append(confirmed, time.Since(began))
		c.ask(b, "_acme-challenge."+hostname+"."+bench.Zone, dns.TypeTXT)
		if err := challenges.CleanUp(ctx, hostname, value); err != nil {
			b.Fatal(err)
		}
		time.Sleep(pace)
	}
	b.ReportMetric(0, "ns/op")
	report(b, "confirmed", confirmed)
}
