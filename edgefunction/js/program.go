package js

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/edgefunction"
)

// Compile is an edgefunction.Compiler for JavaScript and TypeScript.
func Compile(ctx context.Context, file string, source []byte, settings edgefunction.Settings) (edgefunction.Program, error) {
	if len(settings.Mounts) > 0 {
		return nil, fmt.Errorf("%s: mount %s: functions in JavaScript have no files: leave mounts out", file, settings.Mounts[0].At)
	}
	if settings.Memory < minMemory {
		return nil, fmt.Errorf("%s: memory: %d bytes: functions in JavaScript need at least %d MiB", file, settings.Memory, minMemory>>20)
	}
	// The engine is started before the file is read: one with a mistake is served soon
	// once it is mended.
	e, err := theEngine()
	if err != nil {
		return nil, err
	}
	if _, err := e.prelude(); err != nil { // the first time takes its own
		return nil, err
	}
	b, err := build(file, source)
	if err != nil {
		return nil, err
	}
	p := &program{engine: e, settings: settings, bundle: b, background: make(chan struct{}, settings.Concurrency)}
	evaluation := settings
	evaluation.Timeout = evaluationTime
	x := newExchange(ctx, &evaluation, b.places)
	defer x.cancel()
	p.snapshot, err = e.prepare(ctx, b.code, x)
	if err != nil {
		return nil, p.evaluationError(ctx, file, err)
	}
	return p, nil
}

// evaluationError is the error of a module that could not be evaluated.
func (p *program) evaluationError(ctx context.Context, file string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	text := p.bundle.places.name(err.Error())
	if f, ok := edgefunction.AsFault(err); ok && f.Kind == edgefunction.FaultCrash {
		text = f.Err.Error()
	}
	at := &edgefunction.SourceError{File: file, Message: "while the module is evaluated: " + text}
	if f, line, column := p.bundle.places.first(text); f != "" {
		at.File, at.Line, at.Column = f, line, column
	}
	return at
}

// program is a compiled function: the state in which its instances begin, and those
// that are idle.
type program struct {
	engine   *engine
	settings edgefunction.Settings
	bundle   *bundle
	snapshot *snapshot

	background chan struct{} // taken by requests that were answered and go on

	mu     sync.Mutex
	idle   []idle // the one that was used last stands last
	closed bool
	trim   *time.Timer
}

type idle struct {
	*instance
	since time.Time
}

const (
	// minMemory is the least memory that the engine starts with, in bytes.
	minMemory = 4 << 20
	// evaluationTime bounds how long a module may take to be evaluated.
	evaluationTime = 30 * time.Second
	// idleFor is how long an instance may be idle.
	idleFor = time.Minute
	// spare is by how much the memory of an instance may have grown for it to be
	// used again: memory never shrinks.
	spare = 4 << 20
)

// Files are the files that the function imports. It implements edgefunction.Sources.
func (p *program) Files() []string { return p.bundle.files }

// Close ends the instances that are idle; others end when they have served.
func (p *program) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, i := range p.idle {
		i.close()
	}
	p.idle = nil
	if p.trim != nil {
		p.trim.Stop()
	}
	return nil
}

// take returns an instance for one request.
func (p *program) take() (*instance, error) {
	p.mu.Lock()
	if n := len(p.idle); n > 0 {
		i := p.idle[n-1].instance
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		return i, nil
	}
	p.mu.Unlock()
	return p.engine.restore(p.snapshot, p.settings.Memory)
}

// put takes an instance back that served well.
func (p *program) put(i *instance) {
	i.x, i.ctx = nil, nil
	if i.memory.refused || len(i.memory.bytes) > len(p.snapshot.memory)+spare {
		i.close()
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		i.close()
		return
	}
	p.idle = append(p.idle, idle{i, time.Now()})
	if p.trim == nil {
		p.trim = time.AfterFunc(idleFor, p.trimIdle)
	}
}

// trimIdle ends instances that were idle for long.
func (p *program) trimIdle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for n < len(p.idle) && time.Since(p.idle[n].since) >= idleFor {
		p.idle[n].close()
		n++
	}
	p.idle = append([]idle(nil), p.idle[n:]...)
	if p.trim = nil; len(p.idle) > 0 && !p.closed {
		p.trim = time.AfterFunc(idleFor, p.trimIdle)
	}
}

// restore returns an instance that begins as the snapshot.
func (e *engine) restore(s *snapshot, limit int64) (*instance, error) {
	size := uint64(len(s.memory))
	i, err := e.instantiate(context.Background(), reserve(size, max(uint64(limit), size)))
	if err != nil {
		return nil, err
	}
	m := i.module.Memory()
	if now := m.Size(); uint64(now) < size {
		m.Grow(uint32((size - uint64(now)) / page))
	}
	if !m.Write(0, s.memory) {
		i.close()
		return nil, errBounds
	}
	i.s = s
	return i, nil
}
