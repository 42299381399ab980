//go:build !race

// The detector does not see what wazero compiles, and makes the compiling many times
// slower: these run without it.

package wasmloops

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// command is one step of a script of WebAssembly's tests, as wast2json writes them.
type command struct {
	Type, Filename, Name, As string
	Line                     int
	ModuleType               string `json:"module_type"`
	Action                   struct {
		Type, Module, Field string
		Args                []value
	}
}

type value struct {
	Type     string
	LaneType string `json:"lane_type"`
	Value    any
}

// words are the value as wazero's stack has it; false for references.
func (v value) words() ([]uint64, bool) {
	width := map[string]int{"i8": 1, "i16": 2, "i32": 4, "f32": 4, "i64": 8, "f64": 8}
	if v.Type != "v128" {
		n, err := strconv.ParseUint(fmt.Sprint(v.Value), 10, 64)
		return []uint64{n}, err == nil
	}
	var lanes []byte
	for _, lane := range v.Value.([]any) {
		n, err := strconv.ParseUint(fmt.Sprint(lane), 10, 64)
		if err != nil {
			return nil, false
		}
		lanes = append(lanes, binary.LittleEndian.AppendUint64(nil, n)[:width[v.LaneType]]...)
	}
	return []uint64{binary.LittleEndian.Uint64(lanes), binary.LittleEndian.Uint64(lanes[8:])}, true
}

// side is a runtime in which a script is run, with or without counters.
type side struct {
	runtime wazero.Runtime
	last    api.Module
	named   map[string]api.Module
	counted bool
}

func newSide(t testing.TB, counted bool, spectest []byte) *side {
	s := &side{runtime: wazero.NewRuntime(t.Context()), named: map[string]api.Module{}, counted: counted}
	t.Cleanup(func() { s.runtime.Close(context.Background()) })
	if err := Provide(t.Context(), s.runtime, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.runtime.InstantiateWithConfig(t.Context(), spectest, wazero.NewModuleConfig().WithName("spectest")); err != nil {
		t.Fatal(err)
	}
	return s
}

// load instantiates a module.
func (s *side) load(ctx context.Context, wasm []byte, name, as string) error {
	if s.counted {
		var err error
		if wasm, err = Instrument(wasm); err != nil {
			return err
		}
	}
	m, err := s.runtime.InstantiateWithConfig(ctx, wasm, wazero.NewModuleConfig().WithName(as))
	if s.last = m; err == nil {
		s.named[name] = m
	}
	return err
}

// call does what an action says, and tells what came of it.
func (s *side) call(ctx context.Context, c command, args []uint64) string {
	m := s.last
	if c.Action.Module != "" {
		m = s.named[c.Action.Module]
	}
	if m == nil {
		return "no module"
	}
	if c.Action.Type == "get" {
		return fmt.Sprint(m.ExportedGlobal(c.Action.Field).Get())
	}
	f := m.ExportedFunction(c.Action.Field)
	if f == nil {
		return "no function"
	}
	stack := make([]uint64, max(len(args), 2*len(f.Definition().ResultTypes())+2))
	copy(stack, args)
	if err := f.CallWithStack(ctx, stack); err != nil {
		first, _, _ := strings.Cut(err.Error(), "\n")
		return first
	}
	for _, kind := range f.Definition().ResultTypes() {
		if kind == api.ValueTypeExternref || kind == 0x70 {
			return "a reference"
		}
	}
	return fmt.Sprint(stack[:2*len(f.Definition().ResultTypes())])
}

// What WebAssembly's own tests do with modules, they do with counters too.
func TestInstrumentedModulesBehaveAsTheSpecificationSays(t *testing.T) {
	dir := filepath.Join(wazeroDir(t), "internal/integration_test/spectest")
	spectest, err := os.ReadFile(filepath.Join(dir, "testdata/spectest.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	scripts, err := filepath.Glob(filepath.Join(dir, "v2/testdata/*.json"))
	if err != nil || len(scripts) < 100 {
		t.Fatalf("%d scripts (%v): expected more than 100", len(scripts), err)
	}
	modules, calls := 0, 0
	for _, script := range scripts {
		m, c := runScript(t, script, spectest)
		modules, calls = modules+m, calls+c
	}
	t.Logf("%d modules, %d calls", modules, calls)
	if modules < 1000 || calls < 20_000 {
		t.Errorf("%d modules were loaded and %d calls made: expected more", modules, calls)
	}
}

func runScript(t *testing.T, script string, spectest []byte) (modules, calls int) {
	var commands struct{ Commands []command }
	data, err := os.ReadFile(script)
	if err == nil {
		err = json.Unmarshal(data, &commands)
	}
	if err != nil {
		t.Fatal(err)
	}
	plain, counted := newSide(t, false, spectest), newSide(t, true, spectest)
	for i, c := range commands.Commands {
		where := fmt.Sprintf("%s:%d", filepath.Base(script), c.Line)
		switch {
		case c.Action.Type != "":
			args, ok := arguments(c)
			if !ok {
				continue
			}
			calls++
			want, got := plain.call(t.Context(), c, args), counted.call(t.Context(), c, args)
			if got != want {
				t.Errorf("%s: %s%v: %s, without counters %s", where, c.Action.Field, args, got, want)
			}
		case strings.HasSuffix(c.Filename, ".wasm"):
			modules++
			wasm, err := os.ReadFile(filepath.Join(filepath.Dir(script), c.Filename))
			if err != nil {
				t.Fatal(err)
			}
			as := ""
			if next := commands.Commands[min(i+1, len(commands.Commands)-1)]; next.Type == "register" {
				as = next.As
			}
			want, got := plain.load(t.Context(), wasm, c.Name, as), counted.load(t.Context(), wasm, c.Name, as)
			if (want == nil) != (got == nil) {
				t.Errorf("%s: %s: %v, without counters %v", where, c.Filename, got, want)
			}
		}
	}
	return modules, calls
}

func arguments(c command) (all []uint64, ok bool) {
	for _, arg := range c.Action.Args {
		words, ok := arg.words()
		if !ok {
			return nil, false
		}
		all = append(all, words...)
	}
	return all, true
}
