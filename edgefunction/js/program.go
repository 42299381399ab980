package js

import (
	"context"
	"errors"
	"fmt"
	"net/http"
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
	b, err := build(file, source)
	if err != nil {
		return nil, err
	}
	e, err := theEngine()
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
	evaluationTime = 10 * time.Second
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

// Serve implements edgefunction.Program.
func (p *program) Serve(w http.ResponseWriter, r *http.Request, next edgefunction.Next) error {
	if !hasHost(r) {
		http.Error(w, "the Host field names no host", http.StatusBadRequest)
		return nil
	}
	i, err := p.take()
	if err != nil {
		return err
	}
	x := newExchange(r.Context(), &p.settings, p.bundle.places)
	x.w, x.r = w, r
	if err := i.serve(x); err != nil {
		err = i.judge(err)
		i.close()
		x.cancel()
		if broken := (*brokenBody)(nil); errors.As(err, &broken) && broken.slow() {
			w.Header().Set("Connection", "close")
			http.Error(w, "the request's body came too slowly", http.StatusRequestTimeout)
			return nil
		}
		return err
	}
	x.body.closed = true
	var rest func()
	if x.answer.waits && !x.settled {
		x.linger() // what waitUntil was given goes on without the client
		rest = func() { p.finish(i) }
		select {
		case p.background <- struct{}{}:
			go func() {
				defer func() { <-p.background }()
				p.finish(i)
			}()
			rest = nil
		default:
		}
	} else {
		x.cancel()
		p.put(i)
	}
	if rest != nil {
		defer rest() // after a panic of next, too
	}
	if x.answer.kind == answered {
		return x.answer.write(w, r)
	}
	return next.ServeHTTP(w, x.handOn())
}

// finish lets an instance whose request was answered go on until nothing is left that
// waitUntil was given. What goes wrong then is logged: the answer is out.
func (p *program) finish(i *instance) {
	x := i.x
	defer x.cancel()
	if err := i.work(func() bool { return x.settled }); err != nil {
		x.r = nil // whether the client is there no longer matters
		p.settings.Log.Error("waitUntil: what was left to do after the answer failed", "error", i.judge(err))
		i.close()
		return
	}
	p.put(i)
}

// serve has the function answer, or hand on, the exchange's request.
func (i *instance) serve(x *exchange) error {
	i.run(x.ctx, x)
	h, err := i.bring(x.head())
	if err != nil {
		return err
	}
	r, err := i.apply(i.s.serve, h)
	if err != nil {
		return err
	}
	for _, h := range []handle{h, r} {
		if _, err := i.invoke(i.freeValue, uint64(h)); err != nil {
			return err
		}
	}
	return i.work(func() bool { return x.answer.kind != pending })
}

// bring makes a string of the guest, by way of the mailbox where it fits.
func (i *instance) bring(text string) (handle, error) {
	if len(text) >= mailbox {
		return i.giveText(text)
	}
	if !i.module.Memory().WriteString(i.s.mailbox, text) {
		return 0, errBounds
	}
	h, err := i.invoke(i.newString, uint64(i.s.mailbox), uint64(len(text)))
	return handle(h), err
}

// work runs what the guest has to do until done.
func (i *instance) work(done func() bool) error {
	for {
		if err := i.drain(); err != nil {
			return err
		}
		if done() {
			return nil
		}
		if err := i.wait(); err != nil {
			return err
		}
	}
}

var errStuck = errors.New("the promise never settles: no timer and no fetch is left that it could wait for")

// wait waits for the next timer or the next fetch to end.
func (i *instance) wait() error {
	x := i.x
	h, err := i.apply(i.s.tick)
	if err != nil {
		return err
	}
	ms, err := i.takeFloat(h)
	if err != nil || ms == 0 {
		return err
	}
	var due <-chan time.Time
	if ms > 0 {
		timer := time.NewTimer(time.Duration(ms * float64(time.Millisecond)))
		defer timer.Stop()
		due = timer.C
	} else if len(x.running) == 0 {
		return &thrown{errStuck.Error()}
	}
	select {
	case <-due:
		return nil
	case f := <-x.results:
		return i.settle(f)
	case <-x.ctx.Done():
		return errInterrupted
	}
}

// settle tells the guest what became of a fetch.
func (i *instance) settle(f fetched) error {
	i.x.running[f.id]()
	delete(i.x.running, f.id)
	wrong := ""
	if f.err != nil {
		wrong = f.err.Error()
	}
	var args []handle
	for _, s := range []string{f.id, wrong, f.head} {
		h, err := i.giveText(s)
		if err != nil {
			return err
		}
		args = append(args, h)
	}
	h, err := i.giveBytes(f.body)
	if err != nil {
		return err
	}
	args = append(args, h)
	r, err := i.apply(i.s.settle, args...)
	if err != nil {
		return err
	}
	for _, h := range append(args, r) {
		if _, err := i.invoke(i.freeValue, uint64(h)); err != nil {
			return err
		}
	}
	return nil
}
