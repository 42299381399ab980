package js

import (
	"context"
	_ "embed"
	"fmt"
	"sync"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
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
	var err error
	if e.module, err = e.runtime.CompileModule(ctx, quickjs); err != nil {
		return nil, fmt.Errorf("compiling the JavaScript engine: %w", err)
	}
	return e, nil
})

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
