package api

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/bench"
)

// serial makes every write differ from those before it.
var serial atomic.Int64

// BenchmarkCalls are the calls that touch one record, in a store of 100,000.
// Writes are acknowledged from the disk.
func BenchmarkCalls(b *testing.B) {
	w := newWorld(b)
	for _, c := range []struct {
		name    string
		request func(ctx context.Context, buf *bytes.Buffer, i int) error
	}{
		{"get", func(ctx context.Context, buf *bytes.Buffer, i int) error {
			return w.call(ctx, buf, http.MethodGet, "/"+hostname(i), "", nil)
		}},
		{"create", func(ctx context.Context, buf *bytes.Buffer, _ int) error {
			return w.call(ctx, buf, http.MethodPost, "", "application/json", fmt.Appendf(nil,
				`{"apiVersion":"core.apoxy.dev/v1alpha3","kind":"DomainRecord","spec":{"name":"n%d.created.example","tls":{},"target":{"ref":{"kind":"Gateway","name":"default"}}}}`, serial.Add(1)))
		}},
		{"merge-patch", func(ctx context.Context, buf *bytes.Buffer, i int) error {
			return w.call(ctx, buf, http.MethodPatch, "/"+hostname(i), "application/merge-patch+json",
				fmt.Appendf(nil, `{"metadata":{"annotations":{"n":"%d"}}}`, serial.Add(1)))
		}},
		{"apply", func(ctx context.Context, buf *bytes.Buffer, i int) error {
			return w.call(ctx, buf, http.MethodPatch, "/"+hostname(i)+"?fieldManager=bench", "application/apply-patch+yaml",
				fmt.Appendf(nil, `{"apiVersion":"core.apoxy.dev/v1alpha3","kind":"DomainRecord","metadata":{"annotations":{"applied":"%d"}}}`, serial.Add(1)))
		}},
	} {
		for _, clients := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/clients=%d", c.name, clients), func(b *testing.B) { each(b, clients, c.request) })
		}
	}
}

// hostname is a record's, far from the one before.
func hostname(i int) string { return bench.Hostname(i * 7919 % records) }
