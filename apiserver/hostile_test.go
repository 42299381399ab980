package apiserver

import (
	"fmt"
	"net/http/httptest"
	"runtime/metrics"
	"strings"
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/apiserver/hostiletest"
)

// allocated is how many bytes a call allocates, freed ones included. Work that
// grows faster than a body allocates; what it takes of a core is measured in
// bench/hostile.
func allocated(call func()) uint64 {
	read := func() uint64 {
		s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
		metrics.Read(s)
		return s[0].Value.Uint64()
	}
	before := read()
	call()
	return read() - before
}

// Whatever a stranger sends, the work is bounded by the size of the body and
// the answer by less: no crash, no echo.
func TestHostileRequestsCostLittle(t *testing.T) {
	const (
		size = hostileBody - 4096
		// mostWork is fifteen bodies: reading one as it grows takes five of them.
		mostWork   = 15 * hostileBody
		mostAnswer = 48 << 10
	)
	w := newWorld(t)
	revision := ""
	for _, recipe := range hostiletest.Recipes() {
		t.Run(recipe.Name, func(t *testing.T) {
			for _, r := range recipe.Requests {
				if revision == "" {
					revision = w.live()
				}
				body := ""
				if r.Body != nil {
					body = r.Body(size, revision)
				}
				req := httptest.NewRequest(r.Method, r.Path, strings.NewReader(body))
				req.Header.Set("Content-Type", r.Type)
				for k, v := range r.Header {
					req.Header.Set(k, v)
				}
				rec := httptest.NewRecorder()
				work := allocated(func() { w.s.ServeHTTP(rec, req) })
				if rec.Code < 300 {
					revision = "" // it may have changed the record
				}
				what := fmt.Sprintf("%s %.100s (%s): %d %.300s", r.Method, r.Path, r.Type, rec.Code, rec.Body)
				if rec.Code >= 500 {
					t.Errorf("%s", what)
				}
				if work > mostWork && !raceDetector {
					t.Errorf("%d bytes allocated, want at most %d: %s", work, mostWork, what)
				}
				if rec.Code >= 300 && rec.Body.Len() > mostAnswer {
					t.Errorf("%d bytes answered: %s", rec.Body.Len(), what)
				}
				header := 0
				for _, h := range rec.Header() {
					header += len(strings.Join(h, ""))
				}
				if header > 8<<10 {
					t.Errorf("%d bytes of headers: %s", header, what)
				}
			}
		})
	}
}

// live makes the record that hostile requests are for, as it was, and returns
// its revision.
func (w *world) live() string {
	if a := w.call("GET", base+"/"+hostiletest.Fresh, ""); a.code == 200 {
		w.merge(hostiletest.Fresh, `{"metadata":{"finalizers":null}}`)
		w.call("DELETE", base+"/"+hostiletest.Fresh, "")
	}
	if a := w.call("GET", base+"/"+hostiletest.Live, ""); a.code == 200 {
		if r := a.record(); r.Generation == 1 && len(a.body) < 2000 {
			return r.ResourceVersion
		}
		w.merge(hostiletest.Live, `{"metadata":{"finalizers":null}}`)
		w.call("DELETE", base+"/"+hostiletest.Live, "")
	}
	return w.create(hostiletest.Live).ResourceVersion
}
