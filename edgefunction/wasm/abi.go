package wasm

import (
	"context"
	"log/slog"
	"math"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/apoxy-dev/caddy-apoxy/edgefunction"
)

// Names of the http-wasm HTTP handler ABI, https://http-wasm.io/http-handler-abi/.
const (
	hostModule     = "http_handler"
	handleRequest  = "handle_request"
	handleResponse = "handle_response"
)

// Features that a guest may enable; all are there.
const (
	bufferRequest  = 1
	bufferResponse = 2
	trailers       = 4
	allFeatures    = bufferRequest | bufferResponse | trailers
)

const (
	i32 = api.ValueTypeI32
	i64 = api.ValueTypeI64
)

// call is one call of a host function: parameters, then results, lie on the stack.
type call struct {
	*exchange
	memory api.Memory
	stack  []uint64
}

// hostFunctions are the functions of the ABI.
var hostFunctions = []struct {
	name    string
	params  int // all i32
	results []api.ValueType
	do      func(*call)
}{
	{"enable_features", 1, []api.ValueType{i32}, (*call).enableFeatures},
	{"get_config", 2, []api.ValueType{i32}, func(c *call) { c.give("") }},
	{"log", 3, nil, (*call).logText},
	{"log_enabled", 1, []api.ValueType{i32}, (*call).logEnabled},
	{"get_method", 2, []api.ValueType{i32}, func(c *call) { c.give(c.served().Method) }},
	{"set_method", 2, nil, (*call).setMethod},
	{"get_uri", 2, []api.ValueType{i32}, (*call).getURI},
	{"set_uri", 2, nil, (*call).setURI},
	{"get_protocol_version", 2, []api.ValueType{i32}, func(c *call) { c.give(c.served().Proto) }},
	{"get_source_addr", 2, []api.ValueType{i32}, func(c *call) { c.give(c.served().RemoteAddr) }},
	{"get_header_names", 3, []api.ValueType{i64}, (*call).getHeaderNames},
	{"get_header_values", 5, []api.ValueType{i64}, (*call).getHeaderValues},
	{"set_header_value", 5, nil, func(c *call) { c.setHeader(false) }},
	{"add_header_value", 5, nil, func(c *call) { c.setHeader(true) }},
	{"remove_header", 3, nil, (*call).removeHeader},
	{"read_body", 3, []api.ValueType{i64}, (*call).readBody},
	{"write_body", 3, nil, (*call).writeBody},
	{"get_status_code", 0, []api.ValueType{i32}, (*call).getStatusCode},
	{"set_status_code", 1, nil, (*call).setStatusCode},
}

// provideABI gives a runtime the host's side of the ABI.
func provideABI(ctx context.Context, runtime wazero.Runtime) error {
	builder := runtime.NewHostModuleBuilder(hostModule)
	for _, f := range hostFunctions {
		params := []api.ValueType{i32, i32, i32, i32, i32}[:f.params]
		do := func(ctx context.Context, guest api.Module, stack []uint64) {
			f.do(&call{exchange: exchangeOf(ctx), memory: guest.Memory(), stack: stack})
		}
		builder = builder.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(do), params, f.results).Export(f.name)
	}
	_, err := builder.Instantiate(ctx)
	return err
}

// crash ends the guest for what it did wrong with the ABI. The panic is caught by
// wazero, and judge finds the fault in its error.
func crash(format string, args ...any) {
	panic(edgefunction.Faultf(edgefunction.FaultCrash, format, args...))
}

// check ends the guest where there is a fault.
func check(fault *edgefunction.Fault) {
	if fault != nil {
		panic(fault)
	}
}

func (c *call) param(i int) uint32 { return uint32(c.stack[i]) }

// bytes is the guest's memory from one parameter on, as long as the next says.
func (c *call) bytes(i int, what string) []byte {
	at, n := c.param(i), c.param(i+1)
	b, ok := c.memory.Read(at, n)
	if !ok {
		crash("%s: %d bytes at %d are not in its memory of %d bytes", what, n, at, c.memory.Size())
	}
	return b
}

// text is the same as a string of bounded length.
func (c *call) text(i int, what string, limit int64) string {
	b := c.bytes(i, what)
	if int64(len(b)) > limit {
		check(edgefunction.Faultf(edgefunction.FaultAnswer, "%s has %d bytes: at most %d", what, len(b), limit))
	}
	return string(b)
}

// put writes a value to where one parameter says, if it is not longer than the next
// says.
func (c *call) put(i int, value string) {
	at, limit := c.param(i), c.param(i+1)
	if uint64(len(value)) > uint64(limit) || value == "" {
		return
	}
	if !c.memory.WriteString(at, value) {
		crash("a buffer of %d bytes at %d is not in its memory of %d bytes", limit, at, c.memory.Size())
	}
}

// give puts a value, and returns its length.
func (c *call) give(value string) {
	c.put(0, value)
	c.stack[0] = uint64(uint32(len(value)))
}

func (c *call) enableFeatures() {
	if wanted := uint64(c.param(0)) & allFeatures; c.phase != responding {
		c.features |= wanted
		if c.tape != nil {
			c.tape.record = c.features&bufferRequest != 0 // what it has read is gone
		}
	}
	c.stack[0] = allFeatures
}

// level is a level of the ABI as one of slog; false: nothing is logged.
func level(n int32) (slog.Level, bool) {
	switch {
	case n < 0:
		return slog.LevelDebug, true
	case n == 0:
		return slog.LevelInfo, true
	case n == 1:
		return slog.LevelWarn, true
	default:
		return slog.LevelError, n == 2
	}
}

func (c *call) logEnabled() {
	level, ok := level(int32(c.param(0)))
	enabled := ok && c.log.Enabled(context.Background(), level)
	c.stack[0] = 0
	if enabled {
		c.stack[0] = 1
	}
}

// logText logs a message. One that cannot be read is passed over, as the ABI wants it.
func (c *call) logText() {
	level, ok := level(int32(c.param(0)))
	text, readable := c.memory.Read(c.param(1), c.param(2))
	if ok && readable {
		c.entry(level, text)
	}
}

func (c *call) getStatusCode() {
	c.mayRespond("get_status_code")
	status := c.exchange.status
	if status == 0 && c.caught != nil {
		status = c.caught.status
	}
	if status == 0 {
		status = 200
	}
	c.stack[0] = uint64(status)
}

func (c *call) setStatusCode() {
	c.mayRespond("set_status_code")
	status := c.param(0)
	if status < 200 || status > 999 {
		check(edgefunction.Faultf(edgefunction.FaultAnswer, "status %d: expected 200 to 999", status))
	}
	c.exchange.status = int(status)
}

// packed is two numbers as the ABI returns them.
func packed(high int, low int) uint64 {
	if high > math.MaxInt32 || low > math.MaxInt32 {
		crash("%d values of %d bytes are more than a guest can be told of", high, low)
	}
	return uint64(high)<<32 | uint64(low)
}
