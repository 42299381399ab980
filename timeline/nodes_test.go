package timeline

import (
	"fmt"
	"sync"
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/internal/etcdtest"
	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/etcdstore"
)

func TestMain(m *testing.M) { etcdtest.Main(m) }

// Records change hands: what two nodes of a cluster tell of the same ones at the same time
// is all kept, and each sweeps its own.
func TestNodesOfAClusterShareTheLines(t *testing.T) {
	const records = 3 * batchRecords
	endpoint := etcdtest.Start(t)
	uid := func(i int) string { return fmt.Sprintf("uid-%04d", i) }
	var mu sync.Mutex
	ended := false
	var nodes []*Recorder
	for n := range 2 {
		st, err := etcdstore.Open(etcdstore.Options{Endpoints: []string{endpoint}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { st.Close() })
		r := New(Config{
			Store: st, Mine: func(hostname string) bool { return hostname[0]%2 == byte(n) },
			Lives: func(hostname, uid string) bool {
				mu.Lock()
				defer mu.Unlock()
				return !ended || uid[len(uid)-1] != '7'
			},
		})
		r.settle, r.between = 0, 0
		nodes = append(nodes, r)
	}
	var work sync.WaitGroup
	for n, r := range nodes {
		work.Go(func() {
			for i := range records {
				r.Offer(uid(i), string(rune('a'+i%2))+".example.com", t0, Event{At: t0, Type: fmt.Sprint("T", n)})
			}
			for r.pending.len() > 0 {
				r.write(t.Context(), r.pending.take(r.cfg.Now(), batchRecords))
			}
		})
	}
	work.Wait()
	for i := range records {
		l, err := nodes[0].Line(t.Context(), uid(i))
		if err != nil || len(l.Events) != 2 {
			t.Fatalf("of %s %+v is kept, %v", uid(i), l, err)
		}
	}
	mu.Lock()
	ended = true
	mu.Unlock()
	for _, sweep := range []struct {
		by   int
		left int
	}{{1, records}, {0, records - records/10}} { // those that ended are all of hostnames of node 0
		if err := nodes[sweep.by].Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		res, err := nodes[0].cfg.Store.List(t.Context(), Prefix, store.ListOptions{})
		if err != nil || len(res.KeyValues) != sweep.left {
			t.Errorf("after the sweep of node %d %d are left, want %d, %v", sweep.by, len(res.KeyValues), sweep.left, err)
		}
	}
}
