package edgefunction

import (
	"bufio"
	"bytes"
	"net"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

var jsQuestion = []byte("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")

// jsAsk sends b.N requests over some connections that are kept, and tells how many a
// second were answered, how long they took, and what processor time client and server
// used for each.
func jsAsk(b *testing.B, address string, connections int) {
	jsSend(b, address, connections, 20) // until there is an instance for each
	began, used := time.Now(), jsCPU()
	took := jsSend(b, address, connections, max(1, b.N/connections))
	n := float64(len(took))
	b.ReportMetric(n/time.Since(began).Seconds(), "req/s")
	b.ReportMetric(float64((jsCPU()-used).Microseconds())/n, "cpu-µs/req")
	jsQuantiles(b, took)
}

// jsSend sends each requests over each connection and returns how long they took.
func jsSend(b *testing.B, address string, connections, each int) []time.Duration {
	took := make([][]time.Duration, connections)
	var all sync.WaitGroup
	for c := range connections {
		all.Go(func() {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				b.Error(err)
				return
			}
			defer conn.Close()
			r := bufio.NewReader(conn)
			for range each {
				sent := time.Now()
				if _, err := conn.Write(jsQuestion); err != nil {
					b.Error(err)
					return
				}
				if err := jsReadAnswer(r); err != nil {
					b.Error(err)
					return
				}
				took[c] = append(took[c], time.Since(sent))
			}
		})
	}
	all.Wait()
	return slices.Concat(took...)
}

func jsQuantiles(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	at := func(q float64) float64 { return float64(took[int(q*float64(len(took)-1))].Microseconds()) / 1000 }
	b.ReportMetric(at(0.5), "p50-ms")
	b.ReportMetric(at(0.99), "p99-ms")
}

// jsReadAnswer reads one response with a Content-Length, without making a
// http.Response of it: the client is to take little of the machine.
func jsReadAnswer(r *bufio.Reader) error {
	length := 0
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) == 2 {
			break
		}
		if name, value, ok := bytes.Cut(line, []byte(": ")); ok && string(name) == "Content-Length" {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return err
			}
		}
	}
	_, err := r.Discard(length)
	return err
}

func jsCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
