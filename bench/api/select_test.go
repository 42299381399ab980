package api

import (
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

// selectRecords is how many records BenchmarkSelect looks among: 40 to an owner, one in
// ten pending, one in a thousand held up by its CA.
const selectRecords = 1_000_000

// selectOp writes the i-th record, with n in an annotation.
func selectOp(i, n int) store.Op {
	r := bench.Record(i)
	r.Annotations = map[string]string{"n": fmt.Sprint(n)}
	if i%1000 == 500 {
		r.Status.Phase = v1alpha3.PhaseIssuing
		for j := range r.Status.Conditions {
			if c := &r.Status.Conditions[j]; c.Type == v1alpha3.ConditionTLSReady {
				c.Status, c.Reason = "False", v1alpha3.ReasonRateLimited
			}
		}
	}
	data, err := json.Marshal(r)
	if err != nil {
		panic(err) // a record of ours always encodes
	}
	return store.Op{Key: hosts.Prefix + r.Name, Value: data, If: store.Any}
}

// writing rewrites records, 2,000 a second, until the context ends. It returns how many.
func (w *world) writing(ctx context.Context, b *testing.B) (written int) {
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
			ops = append(ops, selectOp(written*7919%selectRecords, written))
			written++
		}
		if _, err := w.store.Write(ctx, ops...); err != nil && ctx.Err() == nil {
			b.Error(err)
			return written
		}
	}
}

// BenchmarkSelect is the first page of a list by a selector, and all pages of it, among
// 1,000,000 records while 2,000 a second are written.
func BenchmarkSelect(b *testing.B) {
	w := newWorldOf(b, selectRecords, func(i int) store.Op { return selectOp(i, 0) })
	for _, c := range []struct {
		name, labels, fields string
		all                  int // records that match
	}{
		{"owner", v1alpha3.OwnerLabel + "=tenant-12345", "", 40},
		{"hostname", "", "spec.name=" + bench.Hostname(777_777), 1},
		{"phase-rare", "", "status.phase=Issuing", 1000},
		{"phase-common", "", "status.phase=Pending", 100_000},
		{"reason", "", "status.conditions.TLSReady.reason=RateLimited", 1000},
		{"reason-none", "", "status.conditions.TLSReady.reason=CAAForbidden", 0},
		{"owner-and-status", v1alpha3.OwnerLabel + "=tenant-12345", "status.conditions.Ready.status=False", 4},
		{"label-common", "plan=business", "", selectRecords},
		{"label-none", "plan=none", "", 0},
	} {
		b.Run(c.name, func(b *testing.B) {
			ctx, cancel := context.WithCancel(b.Context())
			var wg sync.WaitGroup
			begun, written := time.Now(), 0
			wg.Go(func() { written = w.writing(ctx, b) })
			query := fmt.Sprintf("?limit=500&labelSelector=%s&fieldSelector=%s", url.QueryEscape(c.labels), url.QueryEscape(c.fields))
			var buf bytes.Buffer
			var first []time.Duration
			for b.Loop() {
				at := time.Now()
				if err := w.call(ctx, &buf, http.MethodGet, query, "", nil); err != nil {
					b.Fatal(err)
				}
				first = append(first, time.Since(at))
				if n := bytes.Count(buf.Bytes(), []byte(`"uid":`)); n != min(c.all, 500) {
					b.Fatalf("%d records on the first page of %d", n, c.all)
				}
			}
			cancel()
			wg.Wait()
			quantiles(b, first)
			b.ReportMetric(float64(written)/time.Since(begun).Seconds(), "writes/s")
		})
	}
}

// BenchmarkSelectAll reads all pages of a selector that 100,000 of 1,000,000 records
// match, while 2,000 a second are written.
func BenchmarkSelectAll(b *testing.B) {
	w := newWorldOf(b, selectRecords, func(i int) store.Op { return selectOp(i, 0) })
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(b.Context())
	wg.Go(func() { w.writing(ctx, b) })
	defer wg.Wait()
	defer cancel()
	var buf bytes.Buffer
	var pages []time.Duration
	for b.Loop() {
		items := 0
		for next := "?limit=500&fieldSelector=status.phase%3DPending"; next != ""; {
			at := time.Now()
			if err := w.call(ctx, &buf, http.MethodGet, next, "", nil); err != nil {
				b.Fatal(err)
			}
			pages = append(pages, time.Since(at))
			items += bytes.Count(buf.Bytes(), []byte(`"uid":`))
			token := continuation(buf.Bytes())
			if next = ""; token != "" {
				next = "?limit=500&fieldSelector=status.phase%3DPending&continue=" + token
			}
		}
		if items != selectRecords/10 {
			b.Fatalf("%d records listed", items)
		}
	}
	quantiles(b, pages)
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/list")
}
