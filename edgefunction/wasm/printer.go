package wasm

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"

	"github.com/apoxy-dev/caddy-apoxy/edgefunction"
	"github.com/apoxy-dev/caddy-apoxy/internal/words"
)

// maxLine bounds what one entry of the log holds of what a function prints, in bytes.
const maxLine = 4 << 10

// printer logs what a function prints while it serves one request, line by line. It
// implements io.Writer, and never fails.
type printer struct {
	log     *slog.Logger
	limit   int64
	used    int64
	line    []byte
	dropped bool
}

// Write implements io.Writer.
func (p *printer) Write(text []byte) (int, error) {
	n := len(text)
	for len(text) > 0 && p.take(slog.LevelInfo) {
		line, rest, ended := bytes.Cut(text, []byte("\n"))
		room := maxLine - len(p.line)
		if len(line) > room {
			line, rest, ended = line[:room], text[room:], true
		}
		p.line = append(p.line, line...)
		if ended {
			p.flush()
		}
		text = rest
	}
	return n, nil
}

// take reports whether more may be printed, and says once that it may not.
func (p *printer) take(level slog.Level) bool {
	if p.used+int64(len(p.line)) < p.limit {
		return p.log.Enabled(context.Background(), level)
	}
	if !p.dropped {
		p.dropped = true
		p.log.Warn("the function prints more than it may with one request; the rest is dropped", slog.Int64("limit", p.limit))
	}
	return false
}

// flush logs the line that has begun.
func (p *printer) flush() {
	line := p.line
	p.line = p.line[:0]
	p.entry(slog.LevelInfo, line)
}

// entry logs one text.
func (p *printer) entry(level slog.Level, text []byte) {
	if len(text) == 0 || !p.take(level) {
		return
	}
	text = text[:min(int64(len(text)), p.limit-p.used)]
	p.used += int64(len(text))
	p.log.Log(context.Background(), level, "the function says", slog.String(edgefunction.LogText, words.Cut(string(text), maxLine)))
}

// crashed is an error of wazero in one bounded text: what happened, and where.
func crashed(err error) error { return fmt.Errorf("%s", words.Cut(err.Error(), 1000)) }
