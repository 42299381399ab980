package js

import (
	"context"
	"errors"
	"fmt"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
)

// handle is the address of a JavaScript value that is held for us in the guest's
// memory until it is freed.
type handle uint32

// instance is one running QuickJS with the function in it. It serves one request at
// a time, and is thrown away once anything went wrong in it.
type instance struct {
	module api.Module
	memory *memory
	ctx    context.Context // of what runs now; it knows the instance
	x      *exchange       // what runs now
	ended  error           // why a host function ended the guest, or nil
	s      *snapshot
	calls  handle // the prelude's functions; while it is set up

	exports
}

// exports are the functions of QuickJS that are called per request. Those that hosts
// functions call are never under way when one is: each has one stack.
type exports struct {
	call, executeJob                            api.Function
	malloc, free, freeValue, dup                api.Function
	getString, freeString, getBuffer            api.Function
	newString, newBuffer, getFloat, isException api.Function
}

func (e *exports) find(m api.Module) {
	for name, f := range map[string]*api.Function{
		"qjs_call": &e.call, "qjs_execute_pending_job": &e.executeJob,
		"wasm_malloc": &e.malloc, "wasm_free": &e.free, "qjs_free_value": &e.freeValue, "qjs_dup_value": &e.dup,
		"qjs_get_string_len": &e.getString, "qjs_free_cstring": &e.freeString, "qjs_get_array_buffer": &e.getBuffer,
		"qjs_new_string": &e.newString, "qjs_new_array_buffer": &e.newBuffer, "qjs_get_float64": &e.getFloat,
		"qjs_is_exception": &e.isException,
	} {
		*f = m.ExportedFunction(name)
	}
}

// instantiate returns an instance with no JavaScript runtime in it.
func (e *engine) instantiate(ctx context.Context, mem *memory) (*instance, error) {
	i := &instance{memory: mem}
	ctx = experimental.WithMemoryAllocator(ctx, experimental.MemoryAllocatorFunc(func(uint64, uint64) experimental.LinearMemory { return mem }))
	m, err := e.runtime.InstantiateModule(ctx, e.module, wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if err != nil {
		return nil, fmt.Errorf("starting an instance: %w", err)
	}
	i.module = m
	i.find(m)
	return i, nil
}

// run notes what runs now. Host functions find the instance by the context.
func (i *instance) run(ctx context.Context, x *exchange) {
	i.ctx, i.x = context.WithValue(ctx, instanceKey{}, i), x
}

func (i *instance) close() { _ = i.module.Close(context.Background()) }

// errEnded is what a host function panics with to end the guest; why is in ended.
var errEnded = errors.New("ended by the host")

// end ends the guest. It is called in host functions, and does not return.
func (i *instance) end(why error) {
	i.ended = why
	panic(errEnded)
}

// invoke calls a function of the guest.
func (i *instance) invoke(f api.Function, args ...uint64) (uint64, error) {
	if len(args) == 0 {
		args = make([]uint64, 1)
	}
	if err := f.CallWithStack(i.ctx, args); err != nil {
		if i.ended != nil {
			return 0, i.ended
		}
		return 0, err
	}
	return args[0], nil
}

// errMemory says that the guest had no memory left for what was brought to it.
var errMemory = errors.New("no memory is left")

// allocate returns n bytes of the guest's memory, which the caller frees.
func (i *instance) allocate(n int) (uint32, error) {
	p, err := i.invoke(i.malloc, uint64(n))
	if err == nil && p == 0 {
		i.memory.refused = true
		err = errMemory
	}
	return uint32(p), err
}

// put copies bytes into the guest, with a zero after them.
func (i *instance) put(data []byte) (uint32, error) {
	p, err := i.allocate(len(data) + 1)
	if err != nil {
		return 0, err
	}
	m := i.module.Memory()
	if !m.Write(p, data) || !m.WriteByte(p+uint32(len(data)), 0) {
		return 0, errBounds
	}
	return p, nil
}

var errBounds = errors.New("the engine named an address that it does not have")

// value makes a value of data by f, qjs_new_string or qjs_new_array_buffer.
func (i *instance) value(f api.Function, data []byte) (handle, error) {
	p, err := i.put(data)
	if err != nil {
		return 0, err
	}
	h, err := i.invoke(f, uint64(p), uint64(len(data)))
	if err != nil {
		return 0, err
	}
	_, err = i.invoke(i.free, uint64(p))
	return handle(h), err
}

// text returns a string of the guest, cut to at most limit bytes, and its length.
func (i *instance) text(h handle, limit int64) (string, int64, error) {
	size, err := i.allocate(4)
	if err != nil {
		return "", 0, err
	}
	p, err := i.invoke(i.getString, uint64(h), uint64(size))
	if err != nil {
		return "", 0, err
	}
	if p == 0 {
		return "", 0, errMemory
	}
	data, n, err := i.read(uint32(p), size, limit)
	if err != nil {
		return "", 0, err
	}
	s := string(data)
	if _, err = i.invoke(i.freeString, p); err == nil {
		_, err = i.invoke(i.free, uint64(size))
	}
	return s, n, err
}

// bytes returns a copy of an ArrayBuffer of the guest, cut to at most limit bytes, and
// its length.
func (i *instance) bytes(h handle, limit int64) ([]byte, int64, error) {
	size, err := i.allocate(4)
	if err != nil {
		return nil, 0, err
	}
	p, err := i.invoke(i.getBuffer, uint64(h), uint64(size))
	if err != nil {
		return nil, 0, err
	}
	data, n, err := i.read(uint32(p), size, limit)
	if err != nil {
		return nil, 0, err
	}
	data = append([]byte(nil), data...)
	_, err = i.invoke(i.free, uint64(size))
	return data, n, err
}

// read returns the bytes at p whose number stands at size, at most limit of them,
// valid until the guest runs again.
func (i *instance) read(p, size uint32, limit int64) ([]byte, int64, error) {
	n, ok := i.module.Memory().ReadUint32Le(size)
	if p == 0 {
		n = 0
	}
	data, ok2 := i.module.Memory().Read(p, uint32(min(int64(n), limit)))
	if !ok || !ok2 {
		return nil, 0, errBounds
	}
	return data, int64(n), nil
}

// arguments returns the handles of a host function's arguments.
func (i *instance) arguments(argc, argv uint32) ([]handle, error) {
	if argc > maxArguments {
		return nil, errBounds
	}
	var hs []handle
	for n := range argc {
		h, ok := i.module.Memory().ReadUint32Le(argv + 4*n)
		if !ok {
			return nil, errBounds
		}
		hs = append(hs, handle(h))
	}
	return hs, nil
}

// maxArguments is the most that a function of the host takes.
const maxArguments = 8

// takeFloat returns a number of the guest and frees it.
func (i *instance) takeFloat(h handle) (float64, error) {
	bits, err := i.invoke(i.getFloat, uint64(h))
	if err != nil {
		return 0, err
	}
	_, err = i.invoke(i.freeValue, uint64(h))
	return api.DecodeF64(bits), err
}
