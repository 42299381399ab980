package certfiles

import (
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// lazily returns a logger whose fields are encoded once something is logged with them.
// For every handshake certmagic makes two loggers with fields, and mostly logs nothing
// with either.
func lazily(log *zap.Logger) *zap.Logger {
	if log == nil {
		return nil
	}
	return log.WithOptions(zap.WrapCore(func(c zapcore.Core) zapcore.Core {
		if _, already := c.(lazyCore); already {
			return c
		}
		return lazyCore{c}
	}))
}

type lazyCore struct{ zapcore.Core }

// With implements zapcore.Core.
func (c lazyCore) With(fields []zapcore.Field) zapcore.Core {
	return lazyCore{zapcore.NewLazyWith(c.Core, fields)}
}
