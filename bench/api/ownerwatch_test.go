package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/bench"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// BenchmarkOwnerWatch is how late a watch of one owner's records has an event, from before
// it is written, among 2,000 writes a second to others' records; with so many such watches.
func BenchmarkOwnerWatch(b *testing.B) {
	w := newWorld(b)
	for _, watches := range []int{1, 50} {
		b.Run(fmt.Sprintf("watches=%d", watches), func(b *testing.B) {
			ctx, cancel := context.WithCancel(b.Context())
			var wg sync.WaitGroup
			defer wg.Wait()
			defer cancel()
			revision, err := w.present(ctx)
			if err != nil {
				b.Fatal(err)
			}
			query := "?watch=true&resourceVersion=" + revision + "&labelSelector=" + url.QueryEscape(v1alpha3.OwnerLabel+"=watched")
			seen := make(chan time.Time, 1)
			for i := range watches {
				res, err := w.client.Get(w.url + query)
				if err != nil || res.StatusCode != http.StatusOK {
					b.Fatal(err, res)
				}
				wg.Go(func() {
					defer res.Body.Close()
					events := bufio.NewReaderSize(res.Body, 64<<10)
					for {
						line, err := events.ReadBytes('\n')
						if err != nil {
							return
						}
						if i == 0 && bytes.Contains(line, []byte(`"watched"`)) {
							seen <- time.Now()
						}
					}
				})
				context.AfterFunc(ctx, func() { res.Body.Close() })
			}
			begun, written := time.Now(), 0
			wg.Go(func() { written = w.writingOthers(ctx, b) })
			r := bench.Record(0)
			r.Labels = map[string]string{v1alpha3.OwnerLabel: "watched"}
			before := cpu(b)
			var late []time.Duration
			for i := 0; b.Loop(); i++ {
				r.Annotations = map[string]string{"n": fmt.Sprint(serial.Add(1))}
				value, err := json.Marshal(r)
				if err != nil {
					b.Fatal(err)
				}
				at := time.Now()
				if _, err := w.store.Write(ctx, store.Op{Key: hosts.Prefix + r.Name, Value: value, If: store.Any}); err != nil {
					b.Fatal(err)
				}
				late = append(late, (<-seen).Sub(at))
			}
			used := cpu(b) - before
			took := time.Since(begun)
			cancel()
			wg.Wait()
			quantiles(b, late)
			b.ReportMetric(float64(late[len(late)-1].Microseconds())/1000, "ms-max")
			b.ReportMetric(float64(written)/took.Seconds(), "writes/s")
			b.ReportMetric(used.Seconds()/took.Seconds(), "cpu-s/s")
		})
	}
}

// writingOthers writes records of other owners, 2,000 a second, until the context ends.
func (w *world) writingOthers(ctx context.Context, b *testing.B) (written int) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return written
		case <-tick.C:
		}
		var ops []store.Op
		for range 10 {
			ops = append(ops, bench.PutOp(1+written*7919%(records-1)))
			written++
		}
		if _, err := w.store.Write(ctx, ops...); err != nil && ctx.Err() == nil {
			b.Error(err)
			return written
		}
	}
}
