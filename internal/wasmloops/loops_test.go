package wasmloops

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"
)

func section(id byte, entries ...[]byte) []byte {
	content := appendU32(nil, uint32(len(entries)))
	for _, e := range entries {
		content = append(content, e...)
	}
	return append(appendU32([]byte{id}, uint32(len(content))), content...)
}

// module is one of function number 0, i32 → i32, which it exports as "f".
func module(body []byte, others ...[]byte) []byte {
	code := append(append([]byte{0}, body...), opEnd)
	sections := map[byte][]byte{
		sectionType:     section(sectionType, []byte{typeFunction, 1, typeI32, 1, typeI32}),
		sectionFunction: section(sectionFunction, []byte{0}),
		sectionMemory:   section(sectionMemory, []byte{0, 0x80, 2}), // 16 MiB
		sectionExport:   section(sectionExport, []byte{1, 'f', kindFunction, 0}),
		sectionCode:     section(sectionCode, append(appendU32(nil, uint32(len(code))), code...)),
	}
	for _, s := range others {
		sections[s[0]] = s
	}
	out := bytes.Clone(header)
	for _, id := range order {
		out = append(out, sections[id]...)
	}
	return out
}

func load(t *testing.T, wasm []byte, over func(context.Context) error) api.Module {
	t.Helper()
	counted, err := Instrument(wasm)
	if err != nil {
		t.Fatal(err)
	}
	r := wazero.NewRuntime(t.Context())
	t.Cleanup(func() { r.Close(context.Background()) })
	if err := Provide(t.Context(), r, over); err != nil {
		t.Fatal(err)
	}
	m, err := r.Instantiate(t.Context(), counted)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

var endless = map[string][]byte{
	"loop":     {opLoop, blockVoid, opBr, 0, opEnd, opLocalGet, 0},
	"br_table": {opLoop, blockVoid, opI32Const, 1, opBrTable, 2, 0, 0, 0, opEnd, opLocalGet, 0},
	"loop of loops that end": {
		opLoop, blockVoid, opLoop, blockVoid, opEnd, opLoop, blockVoid, opI32Const, 0, opBrIf, 0, opEnd, opBr, 0, opEnd, opLocalGet, 0,
	},
	"loop with an operand": {opLocalGet, 0, opLoop, 0, opBr, 0, opEnd},
	// f(n) = n == 0 ? 0 : f(n-1) + f(n-1), which takes until long after us
	"recursion": {
		opLocalGet, 0, opI32Eqz, opIf, typeI32, opI32Const, 0, opElse,
		opLocalGet, 0, opI32Const, 1, opI32Sub, opCall, 0, opLocalGet, 0, opI32Const, 1, opI32Sub, opCall, 0, 0x6a, opEnd,
	},
	"a loop of recursion that ends": {
		opLocalGet, 0, opI32Const, 50, opI32LeS, opIf, blockVoid, opI32Const, 0, opReturn, opEnd,
		opLoop, blockVoid, opLocalGet, 0, opI32Const, 1, opI32Sub, opCall, 0, opDrop, opBr, 0, opEnd, opLocalGet, 0,
	},
}

func TestEndlessGuestsEndWithTheirContext(t *testing.T) {
	for name, body := range endless {
		t.Run(name, func(t *testing.T) {
			m := load(t, module(body), nil)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			_, err := m.ExportedFunction("f").Call(ctx, 60)
			var exit *sys.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != sys.ExitCodeDeadlineExceeded {
				t.Errorf("the call returned %v", err)
			}
			if !m.IsClosed() {
				t.Error("its module is still open")
			}
		})
	}
}

func TestAGuestThatLoopsWhenItStartsEnds(t *testing.T) {
	start := bytes.Clone(header)
	for _, s := range [][]byte{
		section(sectionType, []byte{typeFunction, 0, 0}), section(sectionFunction, []byte{0}),
		{sectionStart, 1, 0}, section(sectionCode, []byte{7, 0, opLoop, blockVoid, opBr, 0, opEnd, opEnd}),
	} {
		start = append(start, s...)
	}
	counted, err := Instrument(start)
	if err != nil {
		t.Fatal(err)
	}
	r := wazero.NewRuntime(t.Context())
	defer r.Close(context.Background())
	if err := Provide(t.Context(), r, nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := r.Instantiate(ctx, counted); err == nil || ctx.Err() == nil {
		t.Errorf("it started: %v", err)
	}
}

// Without the counter the collection would wait for the guest, and the guest for it.
func TestALoopDoesNotHoldUpTheProcess(t *testing.T) {
	turns := make(chan struct{}, 1)
	m := load(t, module(endless["loop"]), func(ctx context.Context) error {
		select {
		case turns <- struct{}{}:
		default:
		}
		return ctx.Err()
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { _, err := m.ExportedFunction("f").Call(ctx, 0); ended <- err }()
	<-turns // it runs
	runtime.GC()
	cancel()
	var exit *sys.ExitError
	if err := <-ended; !errors.As(err, &exit) || exit.ExitCode() != sys.ExitCodeContextCanceled {
		t.Errorf("the call returned %v", err)
	}
}

func TestMemoryMovedInBulkIsWeighed(t *testing.T) {
	const fills = 100
	fill := []byte{opI32Const, 0, opI32Const, 1, opI32Const, 0x80, 0x80, 0x80, 8, opMisc, miscMemoryFill, 0} // 16 MiB
	polls := 0
	m := load(t, module(append(bytes.Repeat(fill, fills), opLocalGet, 0)), func(context.Context) error { polls++; return nil })
	got, err := m.ExportedFunction("f").Call(t.Context(), 7)
	if err != nil || got[0] != 7 {
		t.Fatal(got, err)
	}
	if polls < fills {
		t.Errorf("%d polls in %d fills of 16 MiB", polls, fills)
	}
}

func TestTablesDoNotGrowWithoutBound(t *testing.T) {
	grow := []byte{opRefNull, typeFuncref, opLocalGet, 0, opMisc, miscTableGrow, 0}
	f := load(t, module(grow, section(sectionTable, []byte{typeFuncref, 0, 1})), nil).ExportedFunction("f")
	for _, step := range []struct{ by, want uint64 }{{10, 1}, {maxEntries, 0xffff_ffff}, {maxEntries - 11, 11}, {1, 0xffff_ffff}} {
		if got, err := f.Call(t.Context(), step.by); err != nil || got[0] != step.want {
			t.Errorf("growing by %d: %d, %v; want %d", step.by, got[0], err, step.want)
		}
	}
}

func TestWhatIsNotOurWebAssemblyIsRefused(t *testing.T) {
	get := []byte{opLocalGet, 0}
	for want, wasm := range map[string][]byte{
		"does not begin with":                  []byte("#!/bin/sh"),
		"5 entries are announced with 2 bytes": module(get)[:30],
		"global 0 is named: there are 0":       module([]byte{opGlobalGet, 0}),
		"function 1 is named: there are 1":     module([]byte{opLocalGet, 0, opCall, 1}),
		"opcode 0x12 is not":                   module([]byte{opLocalGet, 0, 0x12, 0}),
		"opcode 0xfe is not":                   module([]byte{0xfe, 3, 0}),
		"section 13 is not":                    append(module(get), 13, 1, 0),
		"section 1 is out of order":            append(module(get), section(sectionType)...),
		"4000000 entries are announced":        module(get, []byte{sectionElement, 4, 0x80, 0x92, 0xf4, 1}),
		"tables begin with 268435455 entries":  module(get, section(sectionTable, []byte{typeFuncref, 0, 0xff, 0xff, 0xff, 0x7f})),
		"a function has 268435455 local varia": module(get, section(sectionCode, []byte{7, 1, 0xff, 0xff, 0xff, 0x7f, typeI32, opEnd})),
	} {
		if _, err := Instrument(wasm); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want %q", err, want)
		}
	}
}

// buildGuest compiles a directory of testdata to WebAssembly.
func buildGuest(t testing.TB, dir string) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "guest.wasm")
	cmd := exec.Command("go", "build", "-o", file, "./"+dir)
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	wasm, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}

func TestAGoProgramDoesTheSameWithCounters(t *testing.T) {
	wasm := buildGuest(t, "testdata/guest")
	counted, err := Instrument(wasm)
	if err != nil {
		t.Fatal(err)
	}
	r := wazero.NewRuntime(t.Context())
	defer r.Close(context.Background())
	polls := 0
	if err := Provide(t.Context(), r, func(context.Context) error { polls++; return nil }); err != nil {
		t.Fatal(err)
	}
	wasi_snapshot_preview1.MustInstantiate(t.Context(), r)
	said := func(wasm []byte) string {
		var out bytes.Buffer
		config := wazero.NewModuleConfig().WithName("").WithStdout(&out).WithStderr(&out)
		if _, err := r.InstantiateWithConfig(t.Context(), wasm, config); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	want, got := said(wasm), said(counted)
	if got != want || !strings.Contains(want, "75025\n") || !strings.Contains(want, "33 runtime error: index out of range [33]") {
		t.Errorf("it says\n%s\nand without counters\n%s", got, want)
	}
	if polls < 100 {
		t.Errorf("%d polls", polls)
	}
}
