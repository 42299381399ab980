package caddyapoxy

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/exp/zapslog"

	"github.com/apoxy-dev/caddy-apoxy/edgefunction"
)

// functionLingers is how long a function still serves after the last configuration
// that has it: connections that the old servers have taken bring requests yet, as
// after a handshake that waits for a certificate.
const functionLingers = time.Minute

// functions holds one function per meaning, across configurations: one that a reload
// does not change is neither compiled again nor forgets what its file held when it
// last compiled, and sites that import one snippet share it.
var functions = caddy.NewUsagePool()

// function is a function that is watched, and logs as the newest configuration says.
type function struct {
	*edgefunction.Function
	loggers generations[zap.Logger]
	stop    context.CancelFunc
}

// join takes the function that is meant. release undoes it.
func (e *EdgeFunction) join(ctx caddy.Context, m meant) error {
	key, err := m.key()
	if err != nil {
		return err
	}
	logger := ctx.Logger().Named("edgefunction")
	v, _, err := functions.LoadOrNew(key, func() (caddy.Destructor, error) { return newFunction(m, logger, functionLingers), nil })
	if err != nil {
		return err
	}
	e.held, e.joined, e.logger = v.(*function), key, logger
	e.held.loggers.Push(logger)
	return nil
}

// release leaves the function.
func (e *EdgeFunction) release() error {
	if e.joined == "" {
		return nil
	}
	key := e.joined
	e.joined = ""
	e.held.loggers.Remove(e.logger)
	_, err := functions.Delete(key)
	return err
}

// newFunction compiles a function and watches it until Destruct, after which it
// serves for lingers.
func newFunction(m meant, first *zap.Logger, lingers time.Duration) *function {
	f := new(function)
	live := liveLogger(first, func() *zap.Logger { return cmp.Or(f.loggers.Current(), first) }).With(zap.String("function", m.Settings.Name))
	m.Settings.Log = slog.New(zapslog.NewHandler(live.Core(), zapslog.WithName(first.Name()), zapslog.AddStacktraceAt(slog.LevelError+1)))
	f.Function = edgefunction.New(m.File, m.compile, m.Settings, m.Check)
	ctx, stop := context.WithCancel(context.Background())
	f.stop = stop
	if err := f.Load(ctx); err != nil {
		live.Error("the function's file does not compile: requests get 503 until it does", zap.String("file", m.File), zap.Error(err))
	}
	go func() {
		f.Run(ctx, nil)
		time.AfterFunc(lingers, func() { f.Close() }) // it logs what goes wrong
	}()
	return f
}

// Destruct implements caddy.Destructor.
func (f *function) Destruct() error {
	f.stop()
	return nil
}
