package edgefunction

import (
	"cmp"
	"fmt"
	"time"
)

// The widest Limits that can be meant.
const (
	leastTimeout, mostTimeout = time.Millisecond, time.Hour
	leastMemory, mostMemory   = 64 << 10, 4 << 30 // one page of WebAssembly, and all that it can address
	mostBody                  = 4 << 30
	mostHeaders               = 1 << 20
	mostLog                   = 16 << 20
	mostConcurrency           = 100_000
)

// Filled returns the limits with Defaults in place of what is zero. What is out of
// bounds is an error that names the option, its value and the bounds.
func (l Limits) Filled() (Limits, error) {
	l.Timeout = cmp.Or(l.Timeout, Defaults.Timeout)
	l.Memory = cmp.Or(l.Memory, Defaults.Memory)
	l.RequestBody = cmp.Or(l.RequestBody, Defaults.RequestBody)
	l.ResponseBody = cmp.Or(l.ResponseBody, Defaults.ResponseBody)
	l.Headers = cmp.Or(l.Headers, Defaults.Headers)
	l.Log = cmp.Or(l.Log, Defaults.Log)
	l.Concurrency = cmp.Or(l.Concurrency, Defaults.Concurrency)
	if l.Timeout < leastTimeout || l.Timeout > mostTimeout {
		return l, fmt.Errorf("timeout is %s: expected 1ms to 1h", l.Timeout)
	}
	for _, size := range []struct {
		option      string
		is          int64
		least, most int64
		expected    string
	}{
		{"memory", l.Memory, leastMemory, mostMemory, "64KiB to 4GiB"},
		{"request_body", l.RequestBody, 1, mostBody, "1B to 4GiB"},
		{"response_body", l.ResponseBody, 1, mostBody, "1B to 4GiB"},
		{"headers", l.Headers, 1, mostHeaders, "1B to 1MiB"},
		{"log", l.Log, 1, mostLog, "1B to 16MiB"},
	} {
		if size.is < size.least || size.is > size.most {
			return l, fmt.Errorf("%s is %d bytes: expected %s", size.option, size.is, size.expected)
		}
	}
	if l.Concurrency < 1 || l.Concurrency > mostConcurrency {
		return l, fmt.Errorf("concurrency is %d: expected 1 to %d", l.Concurrency, mostConcurrency)
	}
	return l, nil
}
