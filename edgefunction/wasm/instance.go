package wasm

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/sys"
)

// instance is a module's instance with a memory of its own. It serves one request at a
// time.
type instance struct {
	module            api.Module
	request, response api.Function
	memory            *memory
	features          uint64    // what it enabled when it started
	x                 *exchange // for which it runs
	since             time.Time // when it came into the pool
}

// newInstance starts an instance of a handler; of a command it only makes one.
func (p *program) newInstance(ctx context.Context, x *exchange) (*instance, error) {
	in := &instance{memory: p.newMemory(), x: x}
	config := p.config.WithStdout(in).WithStderr(in).
		WithNanosleep(func(ns int64) { in.x.sleep(time.Duration(ns)) })
	switch exports := p.compiled.ExportedFunctions(); {
	case p.command:
	case exports[initialize] != nil:
		config = config.WithStartFunctions(initialize)
	default:
		config = config.WithStartFunctions(start)
	}
	ctx = experimental.WithMemoryAllocator(ctx, in.memory)
	module, err := p.runtime.InstantiateModule(ctx, p.compiled, config)
	var exit *sys.ExitError
	switch {
	case err == nil && module.IsClosed(), errors.As(err, &exit) && exit.ExitCode() == 0 && x.over() == nil:
		return nil, x.judge(errors.New("it exits when it starts: expected it to stay for handle_request"), in.memory)
	case err != nil:
		return nil, x.judge(err, in.memory)
	}
	in.module, in.features = module, x.features
	in.request, in.response = module.ExportedFunction(handleRequest), module.ExportedFunction(handleResponse)
	return in, nil
}

// Write takes what the guest prints.
func (in *instance) Write(text []byte) (int, error) { return in.x.Write(text) }

// take returns an instance for a request, which the caller gives back.
func (p *program) take(ctx context.Context, x *exchange) (*instance, error) {
	in := p.pool.take()
	if in == nil {
		var err error
		if in, err = p.newInstance(ctx, x); err != nil {
			return nil, err
		}
	}
	in.x, in.memory.refused = x, false
	x.features = in.features
	return in, nil
}

// give takes an instance back. One that did not return from its last call is closed,
// and so is one that holds much memory: it would for ever.
func (p *program) give(in *instance, well bool) {
	in.x = nil
	if !well || in.module.IsClosed() || int64(len(in.memory.bytes)) > p.settings.Memory/2 {
		_ = in.module.Close(context.Background()) // nobody uses it any more
		return
	}
	p.pool.put(in)
}

// pool keeps instances that wait for a request. The latest is taken first, so that the
// others can go when there are more than are needed.
type pool struct {
	mu      sync.Mutex
	waiting []*instance // the first has waited longest
	timer   *time.Timer // nil while none waits
	closed  bool
}

func (p *pool) take() *instance {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := len(p.waiting) - 1
	if last < 0 {
		return nil
	}
	in := p.waiting[last]
	p.waiting[last] = nil
	p.waiting = p.waiting[:last]
	return in
}

func (p *pool) put(in *instance) {
	p.mu.Lock()
	defer p.mu.Unlock()
	in.since = time.Now()
	p.waiting = append(p.waiting, in)
	if p.timer == nil && !p.closed {
		p.timer = time.AfterFunc(idle, func() { p.trim(time.Now().Add(-idle)) })
	}
}

// trim closes what has waited since a time.
func (p *pool) trim(since time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := 0
	for old < len(p.waiting) && !p.waiting[old].since.After(since) {
		_ = p.waiting[old].module.Close(context.Background()) // nobody uses it any more
		old++
	}
	p.waiting = append([]*instance(nil), p.waiting[old:]...)
	p.timer = nil
	if len(p.waiting) > 0 && !p.closed {
		p.timer = time.AfterFunc(idle, func() { p.trim(time.Now().Add(-idle)) })
	}
}

// close ends the timer; the instances end with their runtime.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.timer != nil {
		p.timer.Stop()
	}
	p.waiting = nil
}
