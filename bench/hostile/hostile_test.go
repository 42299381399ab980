package hostile

import (
	"encoding/json"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/apiserver"
	"github.com/apoxy-dev/caddy-apoxy/apiserver/hostiletest"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
)

const (
	zone = "cname.example.net"
	base = "/apis/core.apoxy.dev/v1alpha3/domainrecords"
	// most is what one request may cost of a core.
	most = 200 * time.Millisecond
)

// sizes are those of the bodies in bytes: Limits.Body, less some room for what
// stands around, and smaller ones, of which some lie just below what is refused.
var sizes = []int{3<<20 - 4096, 1000 << 10, 400 << 10, 150 << 10, 60 << 10, 20 << 10}

// BenchmarkHostile sends every request of every recipe to the handler, beside
// what a client would ask for afterwards, and reports the processor time of the
// dearest, garbage collection included: ms-cpu. The bytes are those of its
// answer.
func BenchmarkHostile(b *testing.B) {
	for _, recipe := range hostiletest.Recipes() {
		b.Run(strings.ReplaceAll(recipe.Name, " ", "_"), func(b *testing.B) {
			w := newWorld(b)
			var worst time.Duration
			longest := 0
			for range b.N {
				for _, r := range recipe.Requests {
					for _, size := range sizes {
						cost, answer := w.measure(b, r, size)
						worst, longest = max(worst, cost), max(longest, answer)
						if cost > most {
							b.Logf("%s %.100s (%s), %d bytes: %v", r.Method, r.Path, r.Type, size, cost)
						}
					}
				}
			}
			b.ReportMetric(float64(worst.Microseconds())/1000, "ms-cpu")
			b.ReportMetric(float64(longest), "B-answer")
			b.ReportMetric(0, "ns/op")
		})
	}
}

type world struct {
	api *apiserver.Server
	// revision is that of the plain record that requests are for; empty: it is
	// to be made anew, because a request was granted.
	revision string
}

func newWorld(b *testing.B) *world {
	b.Helper()
	st, err := boltstore.Open(filepath.Join(b.TempDir(), "apoxy.db"), boltstore.Options{})
	if err != nil {
		b.Fatal(err)
	}
	api, err := apiserver.New(apiserver.Config{
		Store: st,
		Zone:  func() string { return zone },
		Prepare: func(r, _ *v1alpha3.DomainRecord) {
			r.Status.Type, r.Status.Phase = v1alpha3.StatusTypeRef, v1alpha3.PhasePending
			r.Status.DNSRecords = v1alpha3.ExpectedDNSRecords(r, zone, "")
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = api.Close()
		_ = st.Close()
	})
	return &world{api: api}
}

// send has one request answered.
func (w *world) send(method, path, typ, body string, header map[string]string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(method, path, strings.NewReader(body))
	req.Header.Set("Content-Type", typ)
	for k, v := range header {
		req.Header.Set(k, v)
	}
	rec := httptest.NewRecorder()
	w.api.ServeHTTP(rec, req)
	return rec
}

// measure returns what a request costs, or what a client does afterwards with
// what it left, whichever is dearer, and how long its answer is.
func (w *world) measure(b *testing.B, r hostiletest.Request, size int) (time.Duration, int) {
	if w.revision == "" {
		w.revision = w.plain(b)
	}
	body := ""
	if r.Body != nil {
		body = r.Body(size, w.revision)
	}
	var answer *httptest.ResponseRecorder
	worst := cpu(b, func() { answer = w.send(r.Method, r.Path, r.Type, body, r.Header) })
	if answer.Code >= 500 {
		b.Errorf("%s %.100s: %d %.500s", r.Method, r.Path, answer.Code, answer.Body)
	}
	if answer.Code < 300 {
		w.revision = ""
		worst = max(worst, w.after(b, body))
	}
	return worst, answer.Body.Len()
}

// plain makes the record that requests are for, without another beside it, and
// returns its revision.
func (w *world) plain(b *testing.B) string {
	for _, name := range []string{hostiletest.Live, hostiletest.Fresh} {
		w.send("PATCH", base+"/"+name, hostiletest.Merge, `{"metadata":{"finalizers":null}}`, nil)
		w.send("DELETE", base+"/"+name, "", "", nil)
	}
	created := w.send("POST", base, hostiletest.JSON,
		`{"spec":{"name":"`+hostiletest.Live+`","target":{"ref":{"kind":"Gateway","name":"default"}}}}`, nil)
	if created.Code != 201 {
		b.Fatalf("creating a record: %d %s", created.Code, created.Body)
	}
	var live v1alpha3.DomainRecord
	if err := json.Unmarshal(created.Body.Bytes(), &live); err != nil {
		b.Fatal(err)
	}
	return live.ResourceVersion
}

// after is the dearest of what clients do with a record that was granted.
func (w *world) after(b *testing.B, body string) (worst time.Duration) {
	name := base + "/" + hostiletest.Live
	if strings.Contains(body, hostiletest.Fresh) {
		name = base + "/" + hostiletest.Fresh
	}
	for _, next := range []func(){
		func() { w.send("GET", name, "", "", map[string]string{"Accept": "application/yaml"}) },
		func() { w.send("PATCH", name, hostiletest.Merge, `{"spec":{"ttl":7}}`, nil) },
		func() {
			w.send("PATCH", name+"?fieldManager=g", hostiletest.Apply, `{"metadata":{"annotations":{"g":"1"}}}`, nil)
		},
	} {
		worst = max(worst, cpu(b, next))
	}
	return worst
}

// cpu is the processor time that a call costs the process.
func cpu(b *testing.B, call func()) time.Duration {
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	runtime.GC() // what went before is not this call's
	before := used()
	call()
	return used() - before
}
