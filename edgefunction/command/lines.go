package command

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"

	"github.com/apoxy-dev/caddy-apoxy/edgefunction"
)

// lines writes whole lines. It is safe for concurrent use.
type lines struct {
	mu sync.Mutex
	w  io.Writer
}

// printf writes a text and ends its line.
func (l *lines) printf(format string, args ...any) {
	text := strings.TrimRight(fmt.Sprintf(format, args...), "\n") + "\n"
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = io.WriteString(l.w, text) // there is nobody else to tell
}

// console is a slog.Handler for people who look on: the message, and what it has
// beside it. What a function printed stands alone.
type console struct {
	to     *lines
	prefix string // of the groups
	with   string // the attributes of WithAttrs
}

// Enabled implements slog.Handler.
func (*console) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (c *console) Handle(_ context.Context, r slog.Record) error {
	text, rest := r.Message, c.with
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == edgefunction.LogText {
			text = a.Value.String()
		} else {
			rest += c.text(a)
		}
		return true
	})
	if r.Level != slog.LevelInfo {
		text = strings.ToLower(r.Level.String()) + ": " + text
	}
	c.to.printf("%s", text+rest)
	return nil
}

// WithAttrs implements slog.Handler.
func (c *console) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *c
	for _, a := range attrs {
		with.with += c.text(a)
	}
	return &with
}

// WithGroup implements slog.Handler.
func (c *console) WithGroup(name string) slog.Handler {
	with := *c
	with.prefix += name + "."
	return &with
}

func (c *console) text(a slog.Attr) string {
	if a.Equal(slog.Attr{}) {
		return ""
	}
	return fmt.Sprintf(" %s%s=%v", c.prefix, a.Key, a.Value.Resolve())
}
