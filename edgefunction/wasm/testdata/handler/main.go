// Command handler is a function of the http-wasm HTTP handler ABI that does, well or
// badly, what the path of a request says.
package main

import (
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
	"unsafe"
)

func main() {}

var (
	served int
	kept   [][]byte
)

//go:wasmexport handle_request
func handleRequest() uint64 {
	served++
	uri := got(getURI)
	u, err := url.ParseRequestURI(uri)
	if err != nil {
		panic(err)
	}
	do, ok := ways[u.Path]
	if !ok {
		return uint64(len(u.Path))<<32 | 1
	}
	return do(u.Query())
}

//go:wasmexport handle_response
func handleResponse(ctx, isError uint32) {
	p, n := ptr(fmt.Sprintf("response ctx=%d error=%d", ctx, isError))
	logText(0, p, n)
	if after := afters[ctx]; after != nil {
		after()
	}
}

const buffered = 100

var afters = map[uint32]func(){
	buffered: func() {
		body := read(1)
		setHeader(1, "X-Was", strconv.Itoa(int(getStatusCode())))
		setStatusCode(203)
		write(1, strings.ToUpper(body))
		write(1, " request: "+read(0))
	},
	101: func() { setHeader(1, "Late", "yes") },
	102: func() { setStatusCode(500) },
	103: func() { panic("after next") },
	104: func() { setHeader(0, "Late", "yes") },
	105: func() { setHeader(3, "X-Sum", "42") },
	106: func() {
		for {
		}
	},
}

func recurse(n int) int {
	if n == 0 {
		return served
	}
	return recurse(n-1) + recurse(n-1)
}

var ways = map[string]func(url.Values) uint64{
	"/hello": func(url.Values) uint64 { write(1, "hello"); return 0 },
	"/count": func(url.Values) uint64 { write(1, strconv.Itoa(served)); return 0 },
	"/next":  func(q url.Values) uint64 { ctx, _ := strconv.Atoi(q.Get("ctx")); return uint64(ctx)<<32 | 1 },
	"/loop": func(url.Values) uint64 {
		for {
		}
	},
	"/recursion": func(url.Values) uint64 { return uint64(recurse(60)) },
	"/memory": func(url.Values) uint64 {
		for {
			kept = append(kept, make([]byte, 1<<20))
		}
	},
	"/trap":  func(url.Values) uint64 { panic("on purpose") },
	"/exit":  func(url.Values) uint64 { os.Exit(3); return 0 },
	"/sleep": func(url.Values) uint64 { time.Sleep(time.Hour); return 0 },
	"/env":   func(q url.Values) uint64 { write(1, os.Getenv(q.Get("name"))); return 0 },
	"/file": func(q url.Values) uint64 {
		text, err := os.ReadFile(q.Get("name"))
		write(1, fmt.Sprint(string(text), err))
		return 0
	},
	"/create": func(q url.Values) uint64 {
		write(1, fmt.Sprint(os.WriteFile(q.Get("name"), []byte("x"), 0o600)))
		return 0
	},
	"/print": func(q url.Values) uint64 {
		n, _ := strconv.Atoi(q.Get("lines"))
		for i := range n {
			fmt.Println("line", i)
		}
		return 0
	},
	"/log": func(q url.Values) uint64 {
		for level := int32(-1); level < 4; level++ {
			p, n := ptr(fmt.Sprint("level ", level, " enabled ", logEnabled(level)))
			logText(level, p, n)
		}
		return 0
	},
	"/get-outside":   func(url.Values) uint64 { return uint64(getURIAt(0xffff_fff0, 1000)) },
	"/read-outside":  func(url.Values) uint64 { return readBodyAt(0, 0xffff_fff0, 1000) },
	"/write-outside": func(url.Values) uint64 { writeBodyAt(1, 0, 0xffff_ffff); return 0 },
	"/read-nothing":  func(url.Values) uint64 { return readBodyAt(0, 0, 0) },
	"/kind":          func(url.Values) uint64 { setHeader(9, "A", "b"); return 0 },
	"/no-name":       func(url.Values) uint64 { values(0, ""); return 0 },
	"/header": func(q url.Values) uint64 {
		kind, _ := strconv.Atoi(q.Get("kind"))
		if q.Get("trailers") != "" {
			enableFeatures(4)
		}
		if q.Get("next") != "" {
			enableFeatures(2)
		}
		addHeader(uint32(kind), q.Get("name"), q.Get("value"))
		write(1, "with a header")
		if kind == 0 || kind == 2 || q.Get("next") != "" {
			return 105<<32 | 1
		}
		return 0
	},
	"/headers": func(url.Values) uint64 {
		for i := 0; ; i++ {
			addHeader(1, "X-"+strconv.Itoa(i), strings.Repeat("v", 1000))
		}
	},
	"/one-header": func(url.Values) uint64 { setHeader(1, "X", strings.Repeat("v", 1<<20)); return 0 },
	"/body": func(url.Values) uint64 {
		for {
			write(1, strings.Repeat("b", 1<<16))
		}
	},
	"/status": func(q url.Values) uint64 {
		code, _ := strconv.Atoi(q.Get("code"))
		setStatusCode(uint32(code))
		write(1, "with a status")
		return 0
	},
	"/framing": func(url.Values) uint64 {
		for _, name := range []string{"Content-Length", "Transfer-Encoding", "Connection", "Upgrade", "Trailer"} {
			setHeader(1, name, "5")
		}
		write(1, "longer than five")
		return 0
	},
	"/echo":     func(url.Values) uint64 { write(1, read(0)); return 0 },
	"/some":     func(url.Values) uint64 { buf := make([]byte, 4); readBody(0, unsafe.Pointer(&buf[0]), 4); return 1 },
	"/replace":  func(url.Values) uint64 { write(0, "of the "); write(0, "guest"); return 1 },
	"/buffered": func(q url.Values) uint64 { enableFeatures(3); return buffered<<32 | 1 },
	"/buffered-after-reading": func(q url.Values) uint64 {
		enableFeatures(3)
		read(0)
		return buffered<<32 | 1
	},
	"/rewrite": func(q url.Values) uint64 {
		p, n := ptr(q.Get("method"))
		if n > 0 {
			setMethod(p, n)
		}
		p, n = ptr(q.Get("uri"))
		setURI(p, n)
		if host := q.Get("host"); host != "" {
			setHeader(0, "Host", host)
		}
		setHeader(0, "X-New", "by the guest")
		p, n = ptr("X-Secret")
		removeHeader(0, p, n)
		return 1
	},
	"/dump": func(url.Values) uint64 {
		features := enableFeatures(0)
		names := list(func(b unsafe.Pointer, l uint32) uint64 { return getHeaderNames(0, b, l) })
		write(1, fmt.Sprintln(features, got(getConfig), got(getMethod), got(getURI), got(getProtocolVersion), got(getSourceAddr), names,
			values(0, "x-two"), values(0, "host"), values(0, "x-none"), values(2, "x-none"), getStatusCode()))
		return 0
	},
}
