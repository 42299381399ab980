package js

import (
	"crypto/rand"
	"time"

	"github.com/tetratelabs/wazero/api"
)

var (
	ints = func(n int) []api.ValueType {
		all := make([]api.ValueType, n)
		for i := range all {
			all[i] = i32
		}
		return all
	}
	one = ints(1)
)

// errno of WASI.
const (
	ok    = 0
	badf  = 8
	nosys = 52
)

// hostModules are what QuickJS imports: a clock, random numbers, whether to go on, and
// the one way from JavaScript to operations. There is no file and no network in them.
var hostModules = []hostModule{
	{"env", map[string]hostFunction{
		"host_get_timezone_offset": {ints(2), one, give(0)}, // UTC
		"host_interrupt": {nil, one, func(i *instance, stack []uint64) {
			stack[0] = 0
			if i.x.over() && !i.x.describing {
				stack[0] = 1
			}
		}},
		"host_promise_rejection": {ints(3), nil, func(*instance, []uint64) {}}, // never asked for
		"host_module_normalize":  {ints(2), one, give(0)},                      // never asked for
		"host_module_load":       {ints(2), one, give(0)},                      // never asked for
		"host_call":              {ints(5), one, hostCall},
	}},
	{"wasi_snapshot_preview1", map[string]hostFunction{
		"clock_time_get": {[]api.ValueType{i32, i64, i32}, one, func(i *instance, stack []uint64) {
			now := time.Now()
			nanos := uint64(now.UnixNano())
			if stack[0] != 0 { // not the wall clock
				nanos = uint64(now.Sub(processStart))
			}
			i.module.Memory().WriteUint64Le(uint32(stack[2]), nanos)
			stack[0] = ok
		}},
		"fd_close":      {one, one, give(nosys)},
		"fd_fdstat_get": {ints(2), one, give(badf)},
		"fd_seek":       {[]api.ValueType{i32, i64, i32, i32}, one, give(nosys)},
		"fd_write":      {ints(4), one, discard},
		"random_get": {ints(2), one, func(i *instance, stack []uint64) {
			data, fits := i.module.Memory().Read(uint32(stack[0]), uint32(stack[1]))
			stack[0] = badf
			if fits {
				_, _ = rand.Read(data) // it never fails
				stack[0] = ok
			}
		}},
	}},
}

var processStart = time.Now()

func give(result uint64) func(*instance, []uint64) {
	return func(_ *instance, stack []uint64) { stack[0] = result }
}

// discard lets what QuickJS prints of its own go nowhere.
func discard(i *instance, stack []uint64) {
	var n uint32
	for k := range min(uint32(stack[2]), 16) {
		size, _ := i.module.Memory().ReadUint32Le(uint32(stack[1]) + 8*k + 4)
		n += size
	}
	i.module.Memory().WriteUint32Le(uint32(stack[3]), n)
	stack[0] = ok
}

// hostCall is a call of a function of the host from JavaScript.
func hostCall(i *instance, stack []uint64) {
	name, fits := i.module.Memory().Read(uint32(stack[0]), uint32(stack[1]))
	op := operations[string(name)]
	args, err := i.arguments(uint32(stack[3]), uint32(stack[4]))
	if !fits || op == nil || err != nil {
		i.end(errBounds)
	}
	result, err := op(i, args)
	if err != nil {
		i.end(err)
	}
	stack[0] = uint64(result)
}
