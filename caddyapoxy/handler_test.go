package caddyapoxy

import (
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
	"github.com/apoxy-dev/caddy-apoxy/target"
)

// does is a target that does one thing.
type does func(http.ResponseWriter, *http.Request) error

func (f does) Serve(w http.ResponseWriter, r *http.Request, _ target.Next) error { return f(w, r) }
func (does) Health() target.Health                                               { return target.Health{Healthy: true} }

// newTestHandler serves the verified HTTP-only hostnames host0.example.com and
// so on from the gateway "default", if one is given.
func newTestHandler(hostnames int, definitions ...target.Target) *Handler {
	h := &Handler{app: &App{joined: make(chan struct{})}}
	for _, d := range definitions {
		if err := h.add(v1alpha3.KindGateway, "default", d); err != nil {
			panic(err)
		}
	}
	rt := &runtime{table: hosts.New()}
	for i := range hostnames {
		host := fmt.Sprintf("host%d.example.com", i)
		rt.table.Set(hosts.Make(hosts.Values{Hostname: host, Name: host, Phase: v1alpha3.PhaseActive, Verified: true,
			Target: v1alpha3.TargetKey{Kind: v1alpha3.KindGateway, Name: "default"}}))
	}
	h.app.rt.Store(rt)
	return h
}

func getHost0() *http.Request {
	return httptest.NewRequest(http.MethodGet, "http://host0.example.com/", nil)
}

func valueOf(t *testing.T, c prometheus.Counter) float64 {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

// A panic is counted and goes on, to whoever recovers from it.
func TestPanicsAreCounted(t *testing.T) {
	for _, c := range []struct {
		name  string
		value any
		want  decision
	}{
		{"a bug", "index out of range", panicked},
		{"a client or backend that left in mid-answer", http.ErrAbortHandler, aborted},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newTestHandler(1, does(func(http.ResponseWriter, *http.Request) error { panic(c.value) }))
			counter := requests[requestLabels{v1alpha3.KindGateway, c.want}]
			before := valueOf(t, counter)
			defer func() {
				if v := recover(); v != c.value {
					t.Errorf("recovered %v, want %v", v, c.value)
				}
				if n := valueOf(t, counter) - before; n != 1 {
					t.Errorf("counted %v as %s, want 1", n, c.want)
				}
			}()
			t.Errorf("ServeHTTP returns %v", h.ServeHTTP(httptest.NewRecorder(), getHost0(), nil))
		})
	}
}

// allocations is the least of several testing.AllocsPerRun, which counts what goroutines
// that an earlier test has left allocate, too.
func allocations(runs int, f func()) float64 {
	least := math.Inf(1)
	for range 20 {
		if least = min(least, testing.AllocsPerRun(runs, f)); least == 0 {
			break
		}
	}
	return least
}

// Every outcome of a request of every kind has its counter in advance.
func TestCountingARequestDoesNotAllocate(t *testing.T) {
	for _, kind := range append(v1alpha3.TargetKinds(), v1alpha3.KindRedirect) {
		host := hosts.Make(hosts.Values{Target: v1alpha3.TargetKey{Kind: kind}})
		for _, d := range knownHostDecisions {
			if n := allocations(10, func() { requests.count(host, d) }); n != 0 {
				t.Errorf("counting %s of a %s allocates %v times", d, kind, n)
			}
		}
	}
	if n := allocations(10, func() { requests.count(nil, unknownHost) }); n != 0 {
		t.Errorf("counting an unknown host allocates %v times", n)
	}
}

func TestAdmittingARequestDoesNotAllocate(t *testing.T) {
	nothing := does(func(http.ResponseWriter, *http.Request) error { return nil })
	h, r, w := newTestHandler(1, nothing), getHost0(), httptest.NewRecorder()
	if n := allocations(100, func() { _ = h.ServeHTTP(w, r, nil) }); n != 0 {
		t.Errorf("ServeHTTP allocates %v times before its target", n)
	}
}

func TestRequestHost(t *testing.T) {
	for host, want := range map[string]string{
		"Shop.Example.COM": "shop.example.com", "shop.example.com.": "shop.example.com",
		"shop.example.com:8443": "shop.example.com", "shop.example.com.:8443": "shop.example.com",
		"[2001:db8::1]:80": "2001:db8::1", "[2001:db8::1]": "[2001:db8::1]", "a:b:c": "a:b:c", "": "",
	} {
		if got := requestHost(&http.Request{Host: host}); got != want {
			t.Errorf("requestHost(%q) = %q, want %q", host, got, want)
		}
	}
}

// BenchmarkServeHTTP is a request for one of 1,000 verified hostnames, up to a
// target that does nothing.
func BenchmarkServeHTTP(b *testing.B) {
	nothing := does(func(http.ResponseWriter, *http.Request) error { return nil })
	b.Run("known host", func(b *testing.B) {
		h, r, w := newTestHandler(1000, nothing), getHost0(), httptest.NewRecorder()
		b.ReportAllocs()
		for b.Loop() {
			if err := h.ServeHTTP(w, r, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("unknown host", func(b *testing.B) {
		h, r, w := newTestHandler(0), getHost0(), httptest.NewRecorder()
		b.ReportAllocs()
		for b.Loop() {
			if err := h.ServeHTTP(w, r, nil); err == nil {
				b.Fatal("served")
			}
		}
	})
}
