package hostile

import (
	"encoding/json"
	"net/http/httptest"
	"os"
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
	// size is that of the bodies in bytes: Limits.Body and a little more room
	// for what stands around.
	size = 3<<20 - 4096
	// most is what one request may cost of a core.
	most = 200 * time.Millisecond
)

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
					cost, answer := w.measure(b, r)
					longest = max(longest, answer)
					if cost > worst {
						worst = cost
					}
					if cost > most {
						b.Logf("%s %.100s (%s): %v", r.Method, r.Path, r.Type, cost)
					}
				}
			}
			b.ReportMetric(float64(worst.Microseconds())/1000, "ms-cpu")
			b.ReportMetric(float64(longest), "B-answer")
			b.ReportMetric(0, "ns/op")
		})
	}
}

type world struct{ api *apiserver.Server }

func newWorld(b *testing.B) *world {
	b.Helper()
	st, err := boltstore.Open(filepath.Join(b.TempDir(), "apoxy.db"), boltstore.Options{})
	if err != nil {
		b.Fatal(err)
	}
	api, err := apiserver.New(apiserver.Config{
		Store: st,
		Zone:  func() string { return zone },
		Prepare: func(r *v1alpha3.DomainRecord) {
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
	return &world{api}
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
func (w *world) measure(b *testing.B, r hostiletest.Request) (time.Duration, int) {
	for _, name := range []string{hostiletest.Live, hostiletest.Fresh} {
		w.send("PATCH", base+"/"+name, hostiletest.Merge, `{"metadata":{"finalizers":null}}`, nil)
		w.send("DELETE", base+"/"+name, "", "", nil)
	}
	const plain = `{"spec":{"name":"` + hostiletest.Live + `","target":{"ref":{"kind":"Gateway","name":"default"}}}}`
	created := w.send("POST", base, hostiletest.JSON, plain, nil)
	if created.Code != 201 {
		b.Fatalf("creating a record: %d %s", created.Code, created.Body)
	}
	var live v1alpha3.DomainRecord
	if err := json.Unmarshal(created.Body.Bytes(), &live); err != nil {
		b.Fatal(err)
	}
	body := ""
	if r.Body != nil {
		body = r.Body(size, live.ResourceVersion)
	}
	var answer *httptest.ResponseRecorder
	worst := cpu(b, func() { answer = w.send(r.Method, r.Path, r.Type, body, r.Header) })
	if answer.Code >= 500 {
		b.Errorf("%s %.100s: %d %.500s", r.Method, r.Path, answer.Code, answer.Body)
	}
	if f := os.Getenv("HOSTILE_V"); f != "" {
		b.Logf("%s %.90s %s %d bytes: %v: %d %d bytes %.200s", r.Method, r.Path, r.Type, len(body), worst, answer.Code, answer.Body.Len(), answer.Body)
	}
	if answer.Code < 300 {
		name := hostiletest.Live
		if strings.Contains(body, hostiletest.Fresh) {
			name = hostiletest.Fresh
		}
		for _, after := range []func(){
			func() { w.send("GET", base+"/"+name, "", "", map[string]string{"Accept": "application/yaml"}) },
			func() { w.send("PATCH", base+"/"+name, hostiletest.Merge, `{"spec":{"ttl":7}}`, nil) },
			func() {
				w.send("PATCH", base+"/"+name+"?fieldManager=g", hostiletest.Apply, `{"metadata":{"annotations":{"g":"1"}}}`, nil)
			},
		} {
			worst = max(worst, cpu(b, after))
		}
	}
	return worst, answer.Body.Len()
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
