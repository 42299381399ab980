package bench

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/hosts"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
)

func tableOf(n int) (*hosts.Table, []string) {
	table := hosts.New()
	names := make([]string, n)
	for i := range n {
		h := hosts.FromRecord(Record(i), int64(i+1))
		table.Set(h)
		names[i] = Hostname(i)
	}
	return table, names
}

// BenchmarkPermission is the decision whether a name may have a certificate:
// the look-up and the condition that gates it. As in a handshake the name has
// just been read, so it is in the processor's cache; the record is not, because
// every name is another one.
func BenchmarkPermission(b *testing.B) {
	table, names := tableOf(records)
	for _, c := range []struct{ name, prefix string }{{"known", ""}, {"unknown", "not."}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			runtime.GC()
			const round = 2000
			asked := make([]string, round)
			done, next, allowed := 0, 0, 0
			for b.Loop() {
				if done%round == 0 {
					b.StopTimer()
					arrived := make([]byte, 0, round*64)
					for i := range asked {
						next = (next + 7919) % records
						from := len(arrived)
						arrived = append(append(arrived, c.prefix...), names[next]...)
						asked[i] = string(arrived[from:])
					}
					b.StartTimer()
				}
				if h, ok := table.Match(asked[done%round]); ok && h.Verified {
					allowed++
				}
				done++
			}
			if (allowed > 0) != (c.prefix == "") {
				b.Fatalf("%d of %d allowed", allowed, b.N)
			}
		})
	}
}

// loadStore names a store to be loaded in place of a new one.
var loadStore = flag.String("load-store", "", "the file of a store that BenchmarkLoad loads; default: a new one of 100,000 records")

// BenchmarkLoad is a start: 100,000 records read from bolt, skimmed and put into the
// table, until the follower says that it is complete, and then until it has told of all.
func BenchmarkLoad(b *testing.B) {
	path := *loadStore
	if path == "" {
		path = filepath.Join(b.TempDir(), "apoxy.db")
		s := openBolt(b, path)
		fill(b, s, records)
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
	var heap uint64
	var n int
	best, least, told := time.Hour, time.Hour, time.Hour
	for b.Loop() {
		before := liveHeap()
		cpu := cpuTime(b)
		begin := time.Now()
		s, err := boltstore.Open(path, boltstore.Options{})
		if err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(b.Context())
		table, ended := hosts.New(), make(chan error, 1)
		loaded, all := make(chan time.Duration, 1), make(chan int, 1)
		heard := 0
		go func() {
			ended <- hosts.Follow(ctx, s, hosts.Follower{
				Table: table, OnChange: func(hosts.Change) { heard++ },
				OnLoaded: func() { loaded <- time.Since(begin) }, OnTold: func() { all <- heard },
			})
		}()
		best = min(best, <-loaded)
		complete := cpuTime(b)
		least = min(least, complete-cpu)
		n = <-all
		told = min(told, cpuTime(b)-complete)
		heap = liveHeap() - before
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) || table.Len() != n || *loadStore == "" && n != records {
			b.Fatalf("%d records, told of %d, %v", table.Len(), n, err)
		}
		runtime.KeepAlive(table)
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(best.Seconds(), "s-best")
	b.ReportMetric(least.Seconds(), "cpu-s")
	b.ReportMetric(told.Seconds(), "cpu-s-told")
	b.ReportMetric(float64(heap)/float64(n), "B/record")
}

// BenchmarkHeap is the live heap that a record costs in the table.
func BenchmarkHeap(b *testing.B) {
	for _, n := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprintf("records=%d", n), func(b *testing.B) {
			var table *hosts.Table
			var heap uint64
			for b.Loop() {
				before := liveHeap()
				table = hosts.New()
				for i := range n {
					table.Set(hosts.FromRecord(Record(i), int64(i+1)))
				}
				heap = liveHeap() - before
			}
			runtime.KeepAlive(table)
			b.ReportMetric(float64(heap)/float64(n), "B/record")
		})
	}
}

// BenchmarkChange is a change of the table at a million records; the longest
// shows whether growing ever makes a pause.
func BenchmarkChange(b *testing.B) {
	const n = 1_000_000
	var longest time.Duration
	for b.Loop() {
		all := make([]*hosts.Host, n)
		for i := range n {
			hostname := Hostname(i)
			all[i] = hosts.Make(hosts.Values{Hostname: hostname, Name: hostname})
		}
		runtime.GC()
		table := hosts.New()
		longest = 0
		begin := time.Now()
		before := begin
		for _, h := range all {
			table.Set(h)
			now := time.Now()
			longest = max(longest, now.Sub(before))
			before = now
		}
		b.ReportMetric(float64(before.Sub(begin).Nanoseconds())/n, "ns/set")
	}
	b.ReportMetric(float64(longest.Microseconds())/1000, "ms-longest")
}

func liveHeap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkSearch is what a person types into the dashboard's search with a million
// records: a word that few hostnames have, none, one that all have, and a label's value;
// and the counts of the overview. Labels are shared by their owner's records, as in a
// fleet, or each record has its own.
func BenchmarkSearch(b *testing.B) {
	const million = 1_000_000
	for _, labels := range []string{"shared", "own"} {
		table := hosts.New()
		for i := range million {
			r := Record(i)
			if labels == "own" {
				r.Labels["order"] = fmt.Sprintf("number-%d", i)
			}
			table.Set(hosts.FromRecord(r, int64(i+1)))
		}
		runtime.GC()
		for _, text := range []string{Hostname(777_777), "none-such", ".", "caaforbidden none"} {
			b.Run(labels+"/"+text, func(b *testing.B) {
				for b.Loop() {
					if _, err := table.Search(b.Context(), hosts.Search{Text: text, Most: 51}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
