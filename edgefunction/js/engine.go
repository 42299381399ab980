package js

import (
	"context"
	_ "embed"
	"fmt"
	"sync"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/apoxy-dev/caddy-apoxy/internal/wasmloops"
)

// quickjs is QuickJS-NG as a WebAssembly module: quickjs.wasm of the npm package
// quickjs-wasi 3.7.0.
//
//go:embed quickjs/quickjs.wasm
var quickjs []byte

// engine is what all functions of the process share: the compiled module. It holds
// no state of a function.
type engine struct {
	runtime wazero.Runtime
	module  wazero.CompiledModule
	prelude func() ([]byte, error) // its bytecode
}

// theEngine compiles the module once a process, when the first function needs it.
var theEngine = sync.OnceValues(func() (*engine, error) {
	ctx := context.Background()
	e := &engine{runtime: wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig())}
	for _, host := range hostModules {
		if err := host.instantiate(ctx, e.runtime); err != nil {
			return nil, fmt.Errorf("starting the JavaScript engine: %w", err)
		}
	}
	if err := wasmloops.Provide(ctx, e.runtime, poll); err != nil {
		return nil, fmt.Errorf("starting the JavaScript engine: %w", err)
	}
	counted, err := wasmloops.Instrument(quickjs)
	if err != nil {
		return nil, fmt.Errorf("reading the JavaScript engine: %w", err)
	}
	if e.module, err = e.runtime.CompileModule(ctx, counted); err != nil {
		return nil, fmt.Errorf("compiling the JavaScript engine: %w", err)
	}
	e.prelude = sync.OnceValues(e.compilePrelude)
	return e, nil
})

// poll says whether a guest's time is over beyond grace. It is asked about every
// hundredth of a millisecond, wherever the guest is: in a regular expression, too.
func poll(ctx context.Context) error {
	x := ctx.Value(instanceKey{}).(*instance).x
	if !x.over() {
		return nil
	}
	if x.overSince.IsZero() {
		x.overSince = time.Now()
	}
	if time.Since(x.overSince) < grace {
		return nil
	}
	return x.ctx.Err()
}

// grace is how long a guest whose time is over may take to say where it is: QuickJS
// looks by itself whether it is interrupted, but not within its built-in functions.
const grace = 100 * time.Millisecond

// hostModule is what QuickJS imports under one name.
type hostModule struct {
	name      string
	functions map[string]hostFunction
}

// hostFunction is one import, which finds its arguments on the stack and leaves its
// result there.
type hostFunction struct {
	params, results []api.ValueType
	call            func(i *instance, stack []uint64)
}

const (
	i32 = api.ValueTypeI32
	i64 = api.ValueTypeI64
)

func (h hostModule) instantiate(ctx context.Context, r wazero.Runtime) error {
	builder := r.NewHostModuleBuilder(h.name)
	for name, f := range h.functions {
		call := f.call
		builder.NewFunctionBuilder().WithGoFunction(api.GoFunc(func(ctx context.Context, stack []uint64) {
			call(ctx.Value(instanceKey{}).(*instance), stack)
		}), f.params, f.results).Export(name)
	}
	_, err := builder.Instantiate(ctx)
	return err
}

type instanceKey struct{}
