package js

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

const (
	// stackSize bounds QuickJS's own stack, in bytes, of the 1 MiB that the module
	// has for it.
	stackSize = 512 << 10
	// flags of qjs_compile: what the source is, and that its text is not kept.
	asScript, asModule = 0, 1
	stripSource        = 1 << 4
	// mailbox is the size of the guest's memory that is set aside for what requests
	// bring, in bytes. Longer ones are allocated.
	mailbox = 8 << 10
)

// snapshot is an instance's memory once the user's module was evaluated: further
// instances begin as copies of it. Addresses in it hold for all of them.
type snapshot struct {
	memory                        []byte
	serve, tick, settle, describe handle // functions of the prelude
	undefined, null               handle
	mailbox, argv                 uint32
}

// guest is an instance that is being set up.
type guest struct {
	*instance
	s *snapshot
}

// prepare returns the snapshot of a program. x takes what the module prints and bounds
// how long it runs.
func (e *engine) prepare(ctx context.Context, bundle string, x *exchange) (*snapshot, error) {
	first, err := e.prelude()
	if err != nil {
		return nil, err
	}
	code, err := e.compile(ctx, bundle, bundleName, asModule, x)
	if err != nil {
		return nil, err
	}
	g, err := e.start(ctx, x)
	if err != nil {
		return nil, err
	}
	defer g.close()
	if err := g.evaluatePrelude(first); err != nil {
		return nil, g.judge(err)
	}
	if err := g.evaluate(code); err != nil {
		return nil, err
	}
	return g.s, g.take()
}

// compile returns source as QuickJS's bytecode. That is done in an instance of its
// own, so that snapshots do not hold what it leaves in memory.
func (e *engine) compile(ctx context.Context, source, file string, as uint64, x *exchange) ([]byte, error) {
	g, err := e.start(ctx, x)
	if err != nil {
		return nil, err
	}
	defer g.close()
	code, err := g.compile(source, file, as)
	if err != nil {
		return nil, g.judge(err)
	}
	return code, nil
}

func (g guest) compile(source, file string, as uint64) ([]byte, error) {
	text, err := g.put([]byte(source))
	if err != nil {
		return nil, err
	}
	name, err := g.put([]byte(file))
	if err != nil {
		return nil, err
	}
	size, err := g.allocate(4)
	if err != nil {
		return nil, err
	}
	p, err := g.invoke(g.module.ExportedFunction("qjs_compile"), uint64(text), uint64(len(source)), uint64(name), as, stripSource, uint64(size))
	if err != nil {
		return nil, err
	}
	if p == 0 {
		return nil, g.exception()
	}
	code, _, err := g.read(uint32(p), size, g.x.settings.Memory)
	return slices.Clone(code), err
}

// start returns an instance with a JavaScript runtime in it, which the caller closes.
func (e *engine) start(ctx context.Context, x *exchange) (guest, error) {
	i, err := e.instantiate(ctx, reserve(0, uint64(x.settings.Memory)))
	if err != nil {
		return guest{}, err
	}
	i.run(ctx, x)
	i.s = &snapshot{}
	g := guest{instance: i, s: i.s}
	if err := g.begin(); err != nil {
		err = g.judge(err)
		g.close()
		return guest{}, err
	}
	return g, nil
}

func (g guest) begin() error {
	for _, step := range []struct {
		name string
		arg  []uint64
	}{
		{"_initialize", nil}, {"qjs_init", nil},
		{"qjs_set_max_stack_size", []uint64{stackSize}}, {"qjs_set_interrupt_handler", []uint64{1}},
	} {
		if _, err := g.invoke(g.module.ExportedFunction(step.name), step.arg...); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	var err error
	for name, h := range map[string]*handle{"qjs_get_undefined": &g.s.undefined, "qjs_get_null": &g.s.null} {
		if *h, err = g.invokeHandle(name); err != nil {
			return err
		}
	}
	if g.s.mailbox, err = g.allocate(mailbox); err != nil {
		return err
	}
	g.s.argv, err = g.allocate(4 * maxArguments)
	return err
}

// evaluatePrelude makes the Web APIs, and keeps what the host calls of them.
func (g guest) evaluatePrelude(code []byte) error {
	settings := g.x.settings
	wrap, err := g.evalBytecode(code)
	if err != nil {
		return err
	}
	host, err := g.hostObject()
	if err != nil {
		return err
	}
	most, err := g.giveText(strconv.FormatInt(max(settings.RequestBody, settings.ResponseBody), 10))
	if err != nil {
		return err
	}
	if g.calls, err = g.apply(wrap, host, most); err != nil {
		return err
	}
	for name, h := range map[string]*handle{"serve": &g.s.serve, "tick": &g.s.tick, "settle": &g.s.settle, "describe": &g.s.describe} {
		if *h, err = g.property(g.calls, name); err != nil {
			return err
		}
	}
	pairs := [][2]string{}
	for _, name := range slices.Sorted(maps.Keys(settings.Env)) {
		pairs = append(pairs, [2]string{name, settings.Env[name]})
	}
	text, err := json.Marshal(pairs)
	if err != nil {
		return err
	}
	_, err = g.tell("setEnv", text)
	return err
}

// hostObject returns the object whose functions are the host's.
func (g guest) hostObject() (handle, error) {
	object, err := g.invokeHandle("qjs_new_object")
	if err != nil {
		return 0, err
	}
	for name := range operations {
		p, err := g.put([]byte(name))
		if err != nil {
			return 0, err
		}
		f, err := g.invokeHandle("qjs_new_host_function", uint64(p), uint64(len(name)), 0)
		if err != nil {
			return 0, err
		}
		if _, err := g.invokeHandle("qjs_set_prop_string", uint64(object), uint64(p), uint64(f)); err != nil {
			return 0, err
		}
	}
	return object, nil
}

// evaluate evaluates the user's module and gives its exports to the prelude.
func (g guest) evaluate(code []byte) error {
	promise, err := g.evalBytecode(code)
	if err == nil {
		err = g.drain()
	}
	if err != nil {
		return g.judge(err)
	}
	state, err := g.invokeHandle("qjs_promise_state", uint64(promise))
	if err != nil {
		return err
	}
	if state == 0 {
		return errors.New("its top-level await waits for what never happens")
	}
	result, err := g.invokeHandle("qjs_promise_result", uint64(promise))
	if err != nil {
		return err
	}
	if state != 1 {
		return g.judge(&thrown{g.say(result)})
	}
	load, err := g.property(g.calls, "load")
	if err != nil {
		return err
	}
	wrong, err := g.apply(load, result)
	if err != nil {
		return g.judge(err)
	}
	text, _, err := g.text(wrong, maxSaid)
	if err == nil && text != "" {
		err = fmt.Errorf("%s: expected export default { async fetch(request, env, ctx) { … } }", text)
	}
	return err
}

// take copies the memory.
func (g guest) take() error {
	if _, err := g.tell("forgetRandom", nil); err != nil {
		return err
	}
	if _, err := g.invoke(g.module.ExportedFunction("qjs_run_gc")); err != nil {
		return err
	}
	g.s.memory = slices.Clone(g.memory.bytes)
	return nil
}

func (g guest) evalBytecode(code []byte) (handle, error) {
	p, err := g.put(code)
	if err != nil {
		return 0, err
	}
	h, err := g.invokeHandle("qjs_eval_bytecode", uint64(p), uint64(len(code)))
	if err != nil {
		return 0, err
	}
	if _, err := g.invoke(g.free, uint64(p)); err != nil {
		return 0, err
	}
	return h, g.check(h)
}

func (g guest) property(object handle, name string) (handle, error) {
	p, err := g.put([]byte(name))
	if err != nil {
		return 0, err
	}
	return g.invokeHandle("qjs_get_prop_string", uint64(object), uint64(p))
}

// tell calls a function of the prelude with a text.
func (g guest) tell(name string, text []byte) (handle, error) {
	f, err := g.property(g.calls, name)
	if err != nil {
		return 0, err
	}
	arg, err := g.value(g.newString, text)
	if err != nil {
		return 0, err
	}
	return g.apply(f, arg)
}

func (g guest) invokeHandle(name string, args ...uint64) (handle, error) {
	r, err := g.invoke(g.module.ExportedFunction(name), args...)
	return handle(r), err
}
