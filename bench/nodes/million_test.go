package nodes

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/bench"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
	"github.com/apoxy-dev/caddy-apoxy/store/mirror"
)

// copied tells when the local copy is complete: it watches everything from then on.
type copied struct {
	store.Store
	once sync.Once
	at   chan time.Time
}

func (c *copied) Watch(ctx context.Context, prefix string, after int64) (store.Watcher, error) {
	if prefix == "" {
		c.once.Do(func() { c.at <- time.Now() })
	}
	return c.Store.Watch(ctx, prefix, after)
}

// started is a node's memory of the store.
type started struct {
	store store.Store
	table *hosts.Table
	took  time.Duration // until the table had all records
	copy  time.Duration // until the copy had; 0: there is none
	cpu   time.Duration // until both had
	stop  func()
}

// begin opens a store and fills a table from it; n is how many records that are.
func begin(b *testing.B, n int, open func() (store.Store, *copied, error), told func(hosts.Change)) *started {
	b.Helper()
	cpu, began := processor(b), time.Now()
	st, c, err := open()
	if err != nil {
		b.Fatal(err)
	}
	s := &started{store: st, table: hosts.New()}
	ctx, cancel := context.WithCancel(context.Background())
	ended, loaded := make(chan error, 1), make(chan struct{})
	go func() {
		ended <- hosts.Follow(ctx, st, hosts.Follower{Table: s.table, OnChange: told, OnLoaded: func() { close(loaded) }})
	}()
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			b.Error(err)
		}
		if err := st.Close(); err != nil {
			b.Error(err)
		}
	})
	b.Cleanup(s.stop)
	<-loaded
	s.took = time.Since(began)
	if c != nil {
		s.copy = (<-c.at).Sub(began)
	}
	s.cpu = processor(b) - cpu
	if s.table.Len() != n {
		b.Fatalf("%d records in the table, want %d", s.table.Len(), n)
	}
	return s
}

// BenchmarkRecords keeps many records in etcd, and in bolt beside it: what they take on
// the disk, how long a node takes to start from etcd without and with its copy and from
// its copy alone, what a record costs of its memory, and when it hears of writes.
func BenchmarkRecords(b *testing.B) {
	n := *records
	for range b.N {
		e := startEtcd(b, 1)
		writer := e.open(b)
		began := time.Now()
		fill(b, writer, n)
		change(b, writer, min(n, 20_000))
		b.ReportMetric(time.Since(began).Seconds(), "etcd-fill-s")
		b.ReportMetric(size(b, filepath.Join(e.data(0), "member", "snap", "db"))/float64(n), "etcd-B/record")
		b.ReportMetric(size(b, e.data(0))/(1<<20), "etcd-all-MiB")

		b.ReportMetric(e.memory(b)/(1<<20), "etcd-MiB-of-memory")

		path := filepath.Join(b.TempDir(), "copy.db")
		node := func() (store.Store, *copied, error) {
			c := &copied{Store: e.open(b), at: make(chan time.Time, 1)}
			st, err := mirror.Open(c, path, nil)
			return st, c, err
		}
		before := liveHeap()
		first := begin(b, n, node, nil)
		b.ReportMetric(first.took.Seconds(), "new-node-s")
		b.ReportMetric(first.copy.Seconds(), "new-copy-s")
		b.ReportMetric(first.cpu.Seconds(), "new-node-cpu-s")
		b.ReportMetric((liveHeap()-before)/float64(n), "heap-B/record")
		runtime.KeepAlive(first)
		first.stop()
		b.ReportMetric(size(b, path)/float64(n), "copy-B/record")

		lags := &lags{}
		again := begin(b, n, node, lags.heard)
		b.ReportMetric(again.took.Seconds(), "restart-s")
		b.ReportMetric(again.cpu.Seconds(), "restart-cpu-s")
		lags.measure(b, writer)
		again.stop()

		e.kill()
		alone := begin(b, n, func() (store.Store, *copied, error) {
			st, err := mirror.Open(e.open(b), path, nil)
			return st, nil, err
		}, nil)
		b.ReportMetric(alone.took.Seconds(), "from-copy-s")
		b.ReportMetric(alone.cpu.Seconds(), "from-copy-cpu-s")
		alone.stop()

		path = filepath.Join(b.TempDir(), "apoxy.db")
		bolt := func() (store.Store, *copied, error) {
			st, err := boltstore.Open(path, boltstore.Options{})
			return st, nil, err
		}
		beside, _, err := bolt()
		if err != nil {
			b.Fatal(err)
		}
		fill(b, beside, n)
		if err := beside.Close(); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(size(b, path)/float64(n), "bolt-B/record")
		from := begin(b, n, bolt, nil)
		b.ReportMetric(from.took.Seconds(), "bolt-start-s")
		b.ReportMetric(from.cpu.Seconds(), "bolt-start-cpu-s")
		from.stop()
	}
	b.ReportMetric(0, "ns/op")
}

// change writes n records once more, one at a time: a node begins with the history of
// etcd's last revisions, and those of fill have a hundred records each.
func change(b *testing.B, s store.Store, n int) {
	var next atomic.Int64
	var writing sync.WaitGroup
	for range 64 {
		writing.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if _, err := s.Write(b.Context(), bench.PutOp(i)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	writing.Wait()
}

// lags are the times from the call of a write on one node until another's table has it.
type lags struct {
	mu   sync.Mutex
	sent map[string]time.Time
	took []time.Duration
	done chan struct{}
}

func (l *lags) heard(c hosts.Change) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at, ok := l.sent[c.Name]; ok {
		delete(l.sent, c.Name)
		if l.took = append(l.took, time.Since(at)); len(l.sent) == 0 && l.done != nil {
			close(l.done)
			l.done = nil
		}
	}
}

// measure writes 200 records a second for ten seconds.
func (l *lags) measure(b *testing.B, writer store.Store) {
	const rate, count = 200, 2000
	l.sent = map[string]time.Time{}
	var writing sync.WaitGroup
	tick := time.NewTicker(time.Second / rate)
	defer tick.Stop()
	for i := range min(count, *records) {
		<-tick.C
		writing.Go(func() {
			op := bench.PutOp(i)
			l.mu.Lock()
			l.sent[bench.Hostname(i)] = time.Now()
			l.mu.Unlock()
			if _, err := writer.Write(context.Background(), op); err != nil {
				b.Error(err)
			}
		})
	}
	writing.Wait()
	l.mu.Lock()
	done := make(chan struct{})
	if len(l.sent) == 0 {
		close(done)
	} else {
		l.done = done
	}
	l.mu.Unlock()
	<-done
	report(b, "lag", l.took)
}

// size is that of a file, or of all files below a directory, in bytes.
func size(b *testing.B, path string) float64 {
	b.Helper()
	var sum int64
	err := filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, os.ErrNotExist) {
			return nil // etcd has removed it
		}
		sum += info.Size()
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return float64(sum)
}
