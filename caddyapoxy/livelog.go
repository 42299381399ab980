package caddyapoxy

import (
	"slices"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// liveLogger is a logger for what outlives configurations. It writes as the
// present one says, to that one's outputs: those of an earlier one may be closed.
func liveLogger(first *zap.Logger, current func() *zap.Logger) *zap.Logger {
	return first.WithOptions(zap.WrapCore(func(zapcore.Core) zapcore.Core {
		return &liveCore{current: current}
	}))
}

// liveCore hands every entry on to the core of the present logger.
type liveCore struct {
	current func() *zap.Logger
	with    []zapcore.Field
}

func (c *liveCore) core() zapcore.Core { return c.current().Core() }

// Enabled implements zapcore.Core.
func (c *liveCore) Enabled(l zapcore.Level) bool { return c.core().Enabled(l) }

// With implements zapcore.Core.
func (c *liveCore) With(fields []zapcore.Field) zapcore.Core {
	return &liveCore{current: c.current, with: slices.Concat(c.with, fields)}
}

// Check implements zapcore.Core.
func (c *liveCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	core := c.core()
	if !core.Enabled(e.Level) {
		return ce
	}
	if len(c.with) > 0 {
		core = core.With(c.with)
	}
	return core.Check(e, ce)
}

// Write implements zapcore.Core; entries that Check passed on do not come here.
func (c *liveCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	return c.core().Write(e, slices.Concat(c.with, fields))
}

// Sync implements zapcore.Core.
func (c *liveCore) Sync() error { return c.core().Sync() }
