package edgefunction

import (
	"bufio"
	"net"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

// wasmAsk sends b.N requests over connections that are kept, and tells how many a second
// were answered, how long they took, and what processor time all of the process took
// for each.
func wasmAsk(b *testing.B, address string, connections int) {
	wasmSend(b, address, connections, 20) // until there is an instance for each
	b.ResetTimer()
	began, used := time.Now(), wasmCPU()
	took := wasmSend(b, address, connections, max(1, b.N/connections))
	n := float64(len(took))
	b.ReportMetric(n/time.Since(began).Seconds(), "req/s")
	b.ReportMetric(float64((wasmCPU()-used).Microseconds())/n, "cpu-µs/req")
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

func wasmSend(b *testing.B, address string, connections, each int) (took []time.Duration) {
	var all sync.WaitGroup
	var mu sync.Mutex
	for range connections {
		all.Go(func() {
			own, err := wasmSendOne(address, each)
			if err != nil {
				b.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, own...)
		})
	}
	all.Wait()
	return took
}

func wasmSendOne(address string, each int) (took []time.Duration, err error) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	in := bufio.NewReader(c)
	question := []byte("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
	for range each {
		began := time.Now()
		if _, err := c.Write(question); err != nil {
			return took, err
		}
		response, err := http.ReadResponse(in, nil)
		if err != nil {
			return took, err
		}
		if _, err := in.Discard(int(response.ContentLength)); err != nil {
			return took, err
		}
		took = append(took, time.Since(began))
	}
	return took, nil
}

func wasmCPU() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		panic(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
