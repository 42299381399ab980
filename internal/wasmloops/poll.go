package wasmloops

import (
	"context"
	"errors"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/sys"
)

// What instrumented modules import: a function without parameters and results.
const (
	Module = "apoxy:wasmloops"
	Poll   = "poll"
)

// Provide gives a runtime the host function that instrumented modules import. With
// each poll over is asked whether the guest's time is over, with the context that the
// guest was called with; nil: it is when the context is done. It is asked about every
// hundredth of a millisecond and has to answer fast. Where it returns an error the
// guest's module is closed and its call returns a *sys.ExitError, whose code is
// sys.ExitCodeDeadlineExceeded or sys.ExitCodeContextCanceled, as with wazero's own
// WithCloseOnContextDone.
func Provide(ctx context.Context, runtime wazero.Runtime, over func(context.Context) error) error {
	if over == nil {
		over = context.Context.Err
	}
	poll := func(ctx context.Context, guest api.Module, _ []uint64) {
		if err := over(ctx); err != nil {
			End(ctx, guest, err)
		}
	}
	_, err := runtime.NewHostModuleBuilder(Module).
		NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(poll), nil, nil).Export(Poll).
		Instantiate(ctx)
	return err
}

// End closes the guest that called a host function, and does not return to it. The
// guest's call returns the *sys.ExitError that Provide tells of. Only host functions
// may call it.
func End(ctx context.Context, guest api.Module, why error) {
	code := sys.ExitCodeContextCanceled
	if errors.Is(why, context.DeadlineExceeded) {
		code = sys.ExitCodeDeadlineExceeded
	}
	_ = guest.CloseWithExitCode(ctx, code) // the guest ends by the panic, whatever closing says
	panic(sys.NewExitError(code))
}
