package edgefunction

import (
	"context"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/apoxy-dev/caddy-apoxy/internal/wasmloops"
)

// BenchmarkWebAssemblyCounters is what counting loops costs a guest that computes: in
// calls, in a loop, and with sha256 and sort. Beside it are wazero without any check,
// and with its own (WithCloseOnContextDone).
func BenchmarkWebAssemblyCounters(b *testing.B) {
	plain := wasmGo(b, "bench/edgefunction/testdata/compute", "c-shared")
	counted, err := wasmloops.Instrument(plain)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(len(counted))/float64(len(plain)), "size-ratio")
	for _, way := range []struct {
		name   string
		source []byte
		own    bool
	}{{"without", plain, false}, {"counters", counted, false}, {"wazeros-own", plain, true}} {
		m := wasmStart(b, way.source, way.own)
		for _, name := range []string{"calls", "loops", "library"} {
			b.Run(name+"/"+way.name, func(b *testing.B) {
				ctx, cancel := context.WithCancel(b.Context()) // one that can end, or nothing is checked
				defer cancel()
				f := m.ExportedFunction(name)
				for b.Loop() {
					if _, err := f.Call(ctx); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func wasmStart(b *testing.B, source []byte, own bool) api.Module {
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithCloseOnContextDone(own))
	b.Cleanup(func() { _ = r.Close(ctx) })
	wasi_snapshot_preview1.MustInstantiate(ctx, r)
	if err := wasmloops.Provide(ctx, r, nil); err != nil {
		b.Fatal(err)
	}
	m, err := r.InstantiateWithConfig(ctx, source, wazero.NewModuleConfig().WithStartFunctions("_initialize"))
	if err != nil {
		b.Fatal(err)
	}
	return m
}
