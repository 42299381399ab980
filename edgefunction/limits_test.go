package edgefunction

import (
	"strings"
	"testing"
	"time"
)

func TestLimitsAreFilledAndBounded(t *testing.T) {
	if got, err := (Limits{}).Filled(); got != Defaults || err != nil {
		t.Errorf("of nothing: %+v, %v", got, err)
	}
	given := Limits{Timeout: time.Second, Memory: 1 << 20, RequestBody: 1, ResponseBody: 2, Headers: 3, Log: 4, Concurrency: 5}
	if got, err := given.Filled(); got != given || err != nil {
		t.Errorf("%+v becomes %+v, %v", given, got, err)
	}
	for want, l := range map[string]Limits{
		"timeout is -1s: expected 1ms to 1h":                {Timeout: -time.Second},
		"timeout is 2h0m0s":                                 {Timeout: 2 * time.Hour},
		"memory is 1000 bytes: expected 64KiB to 4GiB":      {Memory: 1000},
		"memory is 4294967297 bytes":                        {Memory: 4<<30 + 1},
		"request_body is -1 bytes":                          {RequestBody: -1},
		"response_body is 4294967297 bytes: expected 1B to": {ResponseBody: 4<<30 + 1},
		"headers is 1048577 bytes: expected 1B to 1MiB":     {Headers: 1<<20 + 1},
		"log is -5 bytes: expected 1B to 16MiB":             {Log: -5},
		"concurrency is -1: expected 1 to 100000":           {Concurrency: -1},
		"concurrency is 100001: expected 1 to 100000":       {Concurrency: 100_001},
	} {
		if _, err := l.Filled(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", l, err, want)
		}
	}
}
