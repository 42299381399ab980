package wasmloops

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
)

// FuzzInstrument holds that Instrument returns whatever the bytes are, and that what it
// returns is valid where, and only where, what it was given is. Custom sections do not
// make a module invalid; wazero is stricter.
func FuzzInstrument(f *testing.F) {
	for _, body := range endless {
		f.Add(module(body))
	}
	dir := filepath.Join(wazeroDir(f), "internal/integration_test/spectest/v2/testdata")
	for _, name := range []string{"elem.10", "bulk.5", "table_grow.0", "simd_lane.0", "br_table.0", "global.0", "start.5", "data.3", "names.0"} {
		wasm, err := os.ReadFile(filepath.Join(dir, name+".wasm"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wasm)
	}
	r := wazero.NewRuntimeWithConfig(context.Background(), wazero.NewRuntimeConfigInterpreter().WithMemoryLimitPages(16))
	f.Cleanup(func() { r.Close(context.Background()) })
	valid := func(wasm []byte) error {
		m, err := r.CompileModule(context.Background(), wasm)
		if err == nil {
			err = m.Close(context.Background())
		}
		return err
	}
	f.Fuzz(func(t *testing.T, wasm []byte) {
		counted, err := Instrument(wasm)
		if err != nil {
			return
		}
		before, after := valid(wasm), valid(counted)
		if (before == nil) != (after == nil) && (before == nil || !strings.Contains(before.Error(), "custom")) {
			t.Errorf("valid before: %v; after: %v", before, after)
		}
	})
}

// wazeroDir is where wazero's source is, which has WebAssembly's own tests with it.
func wazeroDir(t testing.TB) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/tetratelabs/wazero").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
