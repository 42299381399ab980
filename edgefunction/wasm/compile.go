package wasm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/apoxy-dev/caddy-apoxy/edgefunction"
	"github.com/apoxy-dev/caddy-apoxy/internal/wasmloops"
	"github.com/apoxy-dev/caddy-apoxy/internal/words"
)

// startTime is how long a module may take to start when it is compiled: a short timeout
// for requests is no reason to refuse it.
const startTime = 10 * time.Second

// start is what commands export, and initialize what libraries do.
const (
	start      = "_start"
	initialize = "_initialize"
)

// Compile makes a program of a WebAssembly module. It is an edgefunction.Compiler: its
// error is an *edgefunction.SourceError where the module is at fault.
func Compile(ctx context.Context, file string, source []byte, settings edgefunction.Settings) (edgefunction.Program, error) {
	if len(settings.Fetch) > 0 {
		return nil, fmt.Errorf("%s: fetch %s: functions in WebAssembly have no network: leave fetch out", file, settings.Fetch[0])
	}
	p := &program{settings: settings}
	err := p.compile(ctx, source)
	if err == nil {
		return p, nil
	}
	err = errors.Join(err, p.Close())
	var bad *badModule
	if errors.As(err, &bad) {
		return nil, &edgefunction.SourceError{File: file, Message: words.Cut(bad.Error(), 2000)}
	}
	return nil, err
}

// badModule is an error that is the module's fault.
type badModule struct{ error }

func bad(format string, args ...any) error { return &badModule{fmt.Errorf(format, args...)} }

func (p *program) compile(ctx context.Context, source []byte) error {
	counted, err := wasmloops.Instrument(source)
	if err != nil {
		return bad("%w", err)
	}
	if first := wasmloops.FirstMemory(source); first > p.settings.Memory {
		return bad("it begins with %d bytes of memory, and may have %d: raise the function's memory", first, p.settings.Memory)
	}
	if err := p.begin(ctx); err != nil {
		return err
	}
	if p.compiled, err = compileModule(ctx, p.runtime, counted); err != nil {
		return bad("%w", err)
	}
	if err := p.checkImports(); err != nil {
		return err
	}
	if p.command, err = checkExports(p.compiled); err != nil {
		return err
	}
	return p.try(ctx)
}

// begin makes the runtime, with what it grants.
func (p *program) begin(ctx context.Context) error {
	p.runtime = wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithDebugInfoEnabled(false))
	if err := wasmloops.Provide(ctx, p.runtime, overOf); err != nil {
		return err
	}
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, p.runtime); err != nil {
		return err
	}
	if err := provideABI(ctx, p.runtime); err != nil {
		return err
	}
	return p.configure()
}

// compileModule compiles; a module that the compiler falls over is refused as well.
func compileModule(ctx context.Context, runtime wazero.Runtime, wasm []byte) (m wazero.CompiledModule, err error) {
	defer func() {
		if fell := recover(); fell != nil {
			err = fmt.Errorf("the compiler fell over it: %v", fell)
		}
	}()
	return runtime.CompileModule(ctx, wasm)
}

// checkImports names what the module wants and is not granted.
func (p *program) checkImports() error {
	var missing []string
	for _, f := range p.compiled.ImportedFunctions() {
		module, name, _ := f.Import()
		var granted api.FunctionDefinition
		if m := p.runtime.Module(module); m != nil {
			granted = m.ExportedFunctionDefinitions()[name]
		}
		switch {
		case granted == nil:
			missing = append(missing, module+"."+name)
		case !slices.Equal(granted.ParamTypes(), f.ParamTypes()) || !slices.Equal(granted.ResultTypes(), f.ResultTypes()):
			missing = append(missing, fmt.Sprintf("%s.%s as (%s) -> (%s) in place of (%s) -> (%s)", module, name,
				types(f.ParamTypes()), types(f.ResultTypes()), types(granted.ParamTypes()), types(granted.ResultTypes())))
		}
	}
	for _, m := range p.compiled.ImportedMemories() {
		module, name, _ := m.Import()
		missing = append(missing, "the memory "+module+"."+name)
	}
	if missing == nil {
		return nil
	}
	return bad("it imports what is not granted: %s: there are %s and wasi_snapshot_preview1", strings.Join(missing, ", "), hostModule)
}

func types(list []api.ValueType) string {
	var names []string
	for _, t := range list {
		names = append(names, api.ValueTypeName(t))
	}
	return strings.Join(names, ", ")
}

// checkExports tells which shape a module has.
func checkExports(m wazero.CompiledModule) (command bool, err error) {
	exports := m.ExportedFunctions()
	if exports[handleRequest] == nil && exports[start] == nil {
		return false, bad("it exports neither %s, as functions of the http-wasm HTTP handler ABI do, nor %s, as WASI commands do that speak CGI", handleRequest, start)
	}
	command = exports[handleRequest] == nil
	wanted := map[string][2][]api.ValueType{handleRequest: {nil, {i64}}, handleResponse: {{i32, i32}, nil}}
	if command {
		wanted = map[string][2][]api.ValueType{start: {}}
	}
	for _, name := range []string{handleRequest, handleResponse, start} {
		want, ok := wanted[name]
		if !ok {
			continue
		}
		f := exports[name]
		if f == nil {
			return false, bad("it exports %s, but no %s", handleRequest, name)
		}
		if !slices.Equal(f.ParamTypes(), want[0]) || !slices.Equal(f.ResultTypes(), want[1]) {
			return false, bad("its %s is (%s) -> (%s): expected (%s) -> (%s)", name, types(f.ParamTypes()), types(f.ResultTypes()), types(want[0]), types(want[1]))
		}
	}
	if m.ExportedMemories()["memory"] == nil {
		return false, bad(`it exports no memory under the name "memory"`)
	}
	return command, nil
}

// try starts the module once, so that what fails then is said now.
func (p *program) try(ctx context.Context) error {
	inner, x := p.newExchange(ctx, max(p.settings.Timeout, startTime), nil, nil)
	defer x.close()
	in, err := p.newInstance(inner, x)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return bad("it does not start: %w", err)
	}
	if p.command {
		return in.module.Close(ctx)
	}
	p.pool.put(in)
	return nil
}
