package bench

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// The tests here catch what got several times slower or larger. Time is processor time,
// as a ratio to a yardstick that runs in turns with it in the same process, and the
// bounds are two to three times what was measured, so that nothing but the code decides.

const (
	guardRecords = 20_000
	guardTurns   = 5
)

// ratio is the least processor time of ours in some turns, over that of the yardstick.
func ratio(t *testing.T, ours, yardstick func()) float64 {
	t.Helper()
	least := [2]time.Duration{time.Hour, time.Hour}
	for range guardTurns {
		for i, work := range []func(){ours, yardstick} {
			runtime.GC()
			before := cpuTime(t)
			work()
			least[i] = min(least[i], cpuTime(t)-before)
		}
	}
	r := float64(least[0]) / float64(least[1])
	t.Logf("%.2f: %v of processor time, the yardstick %v", r, least[0], least[1])
	return r
}

// atMost fails the test over a figure that is above its bound.
func atMost(t *testing.T, what string, got, most float64) {
	t.Helper()
	if t.Logf("%s: %.2f, at most %.2f", what, got, most); got > most {
		t.Errorf("%s is %.2f, want at most %.2f", what, got, most)
	}
}

func TestGuardPermission(t *testing.T) {
	table, names := tableOf(guardRecords)
	plain := make(map[string]bool, len(names))
	for _, name := range names {
		plain[name] = true
	}
	const rounds = 50
	allowed := 0
	atMost(t, "the permission decision, of a look-up in a Go map", ratio(t, func() {
		for range rounds {
			for i := range names {
				if h, ok := table.Match(names[i*7919%len(names)]); ok && h.Verified {
					allowed++
				}
			}
		}
	}, func() {
		for range rounds {
			for i := range names {
				if plain[names[i*7919%len(names)]] {
					allowed++
				}
			}
		}
	}), 12)
}

func TestGuardSizes(t *testing.T) {
	before := liveHeap()
	table := hosts.New()
	for i := range 10 * guardRecords {
		table.Set(hosts.FromRecord(Record(i), int64(i+1)))
	}
	atMost(t, "bytes of live heap a record in the table", float64(liveHeap()-before)/(10*guardRecords), 330)
	runtime.KeepAlive(table)

	path := filepath.Join(t.TempDir(), "apoxy.db")
	s := openBolt(t, path)
	fill(t, s, guardRecords)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	atMost(t, "bytes of file a record, with the history of all of them", float64(info.Size())/guardRecords, 2600)
}

// The start: everything read and decoded, beside encoding/json alone.
func TestGuardLoad(t *testing.T) {
	s := openBolt(t, filepath.Join(t.TempDir(), "apoxy.db"))
	fill(t, s, guardRecords)
	values := make([][]byte, guardRecords)
	for i := range values {
		values[i] = Value(i)
	}
	atMost(t, "loading the table, of encoding/json", ratio(t, func() {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		table, loaded := hosts.New(), make(chan struct{})
		var following sync.WaitGroup
		following.Go(func() {
			_ = hosts.Follow(ctx, s, hosts.Follower{Table: table, OnLoaded: func() { close(loaded) }}) // ends with the context
		})
		<-loaded
		cancel()
		following.Wait()
	}, func() {
		for _, value := range values {
			if err := json.Unmarshal(value, new(v1alpha3.DomainRecord)); err != nil {
				t.Fatal(err)
			}
		}
	}), 1)
}

// Writes of one record each by 64 writers, beside bbolt's own batches of the same bytes.
func TestGuardWrites(t *testing.T) {
	const writers, each = 64, 40
	s := openBolt(t, filepath.Join(t.TempDir(), "apoxy.db"))
	fill(t, s, guardRecords)
	bare, err := bbolt.Open(filepath.Join(t.TempDir(), "bare.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = bare.Close() })
	ops := make([]store.Op, writers*each)
	for i := range ops {
		ops[i] = PutOp(i * 7 % guardRecords)
	}
	all := func(write func(op store.Op) error) {
		var writing sync.WaitGroup
		for w := range writers {
			writing.Go(func() {
				for i := w; i < len(ops); i += writers {
					if err := write(ops[i]); err != nil {
						t.Error(err)
					}
				}
			})
		}
		writing.Wait()
	}
	atMost(t, "writes with revision, checksum, history and watch, of bbolt's batches", ratio(t, func() {
		all(func(op store.Op) error {
			_, err := s.Write(t.Context(), op)
			return err
		})
	}, func() {
		all(func(op store.Op) error {
			return bare.Batch(func(tx *bbolt.Tx) error {
				b, err := tx.CreateBucketIfNotExists([]byte("entries"))
				if err != nil {
					return err
				}
				return b.Put([]byte(op.Key), op.Value)
			})
		})
	}), 8)
}

// The first page of what few records match, beside a look at all of them.
func TestGuardFind(t *testing.T) {
	table, _ := tableOf(10 * guardRecords)
	owner, err := labels.Parse(v1alpha3.OwnerLabel + "=" + Record(guardRecords).Owner())
	if err != nil {
		t.Fatal(err)
	}
	found := func(l labels.Selector) int {
		names, _, _, err := table.Find(t.Context(), l, fields.Everything(), "", 500)
		if err != nil {
			t.Fatal(err)
		}
		return len(names)
	}
	if n := found(owner); n == 0 {
		t.Fatal("the owner has no records")
	}
	atMost(t, "finding one owner's records a thousand times, of one walk over all", ratio(t, func() {
		for range 1000 {
			found(owner)
		}
	}, func() {
		for h := range table.All() {
			if h.Owner() == "nobody" {
				t.Error("nobody has a record")
			}
		}
	}), 0.1)
}
