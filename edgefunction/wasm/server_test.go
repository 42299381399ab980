package wasm

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"testing"
	"time"
	"weak"

	"github.com/apoxy-dev/caddy-apoxy/edgefunction"
)

// server serves the function on loopback, and sends what Serve returned.
func server(t *testing.T, f *function) (*httptest.Server, <-chan error) {
	ended := make(chan error, 5000)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := f.Serve(w, r, refuse)
		if fault, ok := edgefunction.AsFault(err); ok {
			w.WriteHeader(fault.Kind.Status())
		}
		ended <- err
	}))
	t.Cleanup(s.Close)
	return s, ended
}

func TestAGuestEndsWithItsClient(t *testing.T) {
	for _, f := range []*function{handler(t, nil), command(t, nil)} {
		for _, path := range []string{"/loop", "/sleep"} {
			began := make(chan struct{})
			ended := make(chan error, 1)
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				close(began)
				ended <- f.Serve(w, r, refuse)
			}))
			ctx, cancel := context.WithCancel(t.Context())
			go func() { <-began; cancel() }()
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := http.DefaultClient.Do(r); err == nil {
				t.Error("it answered")
			}
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", path, err)
			}
			s.Close()
		}
	}
}

func TestAClientThatDoesNotSendItsBodyIsToldSo(t *testing.T) {
	for _, f := range []*function{handler(t, nil), command(t, nil)} {
		if _, err := f.get("/count", nil); err != nil { // an instance waits
			t.Fatal(err)
		}
		f.program.settings.Timeout = time.Second
		s, ended := server(t, f)
		for _, sent := range []string{"", "some"} {
			c, err := net.Dial("tcp", s.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
			if _, err := fmt.Fprintf(c, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n%s", sent); err != nil {
				t.Fatal(err)
			}
			response, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			if response.StatusCode != http.StatusRequestTimeout || !response.Close {
				t.Error(response)
			}
			if err := <-ended; err != nil {
				t.Errorf("the client's slowness is said to be the function's: %v", err)
			}
		}
	}
}

// Others are served while a few loop, with one processor's worth of guests that never
// call into Go.
func TestOthersAreServedWhileSomeLoop(t *testing.T) {
	f := handler(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	var loops sync.WaitGroup
	for range 8 {
		loops.Go(func() {
			r := httptest.NewRequest(http.MethodGet, "/loop", nil).WithContext(ctx)
			if _, err := f.ask(r, nil); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
	for range 50 {
		w, err := f.get("/hello", nil)
		wantBody(t, w, err, "hello")
	}
	cancel()
	loops.Wait()
}

func TestAThousandAtOnce(t *testing.T) {
	f := handler(t, nil)
	s, ended := server(t, f)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 50, MaxConnsPerHost: 50}}
	defer client.CloseIdleConnections()
	bad := []string{"/trap", "/get-outside", "/exit", "/status?code=1"}
	var all sync.WaitGroup
	for i := range 1000 {
		all.Go(func() {
			path, want := "/env?name=ME", "granted"
			if i%10 == 0 {
				path, want = bad[i/10%len(bad)], ""
			}
			response, err := client.Get(s.URL + path)
			if err != nil {
				t.Error(err)
				return
			}
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			if err != nil || want == "" && response.StatusCode < 500 || want != "" && (response.StatusCode != 200) {
				t.Errorf("%s: %s %q %v", path, response.Status, body, err)
			}
		})
	}
	all.Wait()
	faults := 0
	for range 1000 {
		if err := <-ended; err != nil {
			if _, ok := edgefunction.AsFault(err); !ok {
				t.Error(err)
			}
			faults++
		}
	}
	if faults != 100 {
		t.Errorf("%d faults: want 100", faults)
	}
	f.pool.mu.Lock()
	defer f.pool.mu.Unlock()
	for _, in := range f.pool.waiting {
		if in.x != nil || in.module.IsClosed() {
			t.Error("an instance that waits is in use or closed")
		}
	}
	if n := len(f.pool.waiting); n == 0 || n > 50 {
		t.Errorf("%d instances wait after 1,000 requests of 50 at once", n)
	}
}

// What is closed leaves nothing in the runtime.
func TestInstancesDoNotLeak(t *testing.T) {
	f := compile(t, tiny(1, "\x42\x00"), nil)
	const n = 100
	var closed []weak.Pointer[instance]
	for range n {
		ctx, x := f.newExchange(t.Context(), time.Minute, nil, nil)
		in, err := f.newInstance(ctx, x)
		if err != nil {
			t.Fatal(err)
		}
		closed = append(closed, weak.Make(in))
		f.give(in, false)
		x.close()
	}
	for deadline := time.Now().Add(time.Minute); ; {
		runtime.GC()
		alive := 0
		for _, in := range closed {
			if in.Value() != nil {
				alive++
			}
		}
		if alive <= 1 { // the last may still lie on a stack
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d instances are still held", alive, n)
		}
	}
}

func TestInstancesThatWaitLongAreClosed(t *testing.T) {
	f := compile(t, tiny(1, "\x42\x00"), nil)
	if _, err := f.get("/", nil); err != nil {
		t.Fatal(err)
	}
	wantInstances(t, f, 1)
	f.pool.trim(time.Now().Add(-idle))
	wantInstances(t, f, 1)
	f.pool.trim(time.Now())
	wantInstances(t, f, 0)
}
