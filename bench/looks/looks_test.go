package looks

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/controller"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
	"github.com/apoxy-dev/caddy-apoxy/issuance"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
	"github.com/apoxy-dev/caddy-apoxy/resolver"
	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
)

const (
	zone     = "cname.example.net"
	interval = 30 * time.Second
	// perDomain is how many records a domain has.
	perDomain = 2
)

var records = flag.Int("records", 100_000, "how many records are pending")

func hostname(i int) string {
	return fmt.Sprintf("%s.c%06d.example", [...]string{"www", "shop"}[i%perDomain], i/perDomain)
}

// fifth says which domains are dead: share in a hundred of them, spread evenly.
func fifth(share int) func(domain int) bool {
	return func(domain int) bool { return domain%100 < share }
}

var settings = ownership.Settings{
	Zone:          ownership.Zone{Name: zone},
	CheckInterval: interval, DetachAfter: 10 * time.Minute,
}

// pending is a record that has had nothing in DNS since a moment in the past.
func pending(host string, tls bool, since time.Time) *v1alpha3.DomainRecord {
	r := &v1alpha3.DomainRecord{}
	r.APIVersion, r.Kind = v1alpha3.GroupVersion.String(), v1alpha3.Kind
	r.Name, r.UID, r.Generation = host, types.UID("uid-of-"+host), 1
	r.CreationTimestamp = metav1.NewTime(since)
	r.Spec.Name = host
	if tls {
		r.Spec.TLS = &v1alpha3.DomainRecordTLS{}
	}
	r.Spec.Target.Ref = &v1alpha3.TargetRef{Kind: v1alpha3.KindGateway, Name: "default"}
	r.Status = ownership.Initial(r, ownership.Contest{}, settings, since)
	nothing := ownership.DNSObservation{Outcome: ownership.Absent, NXDomain: true, At: since}
	r.Status = ownership.Evaluate(ownership.Input{Record: r, Settings: settings, Now: since, Observations: ownership.Observations{
		Traffic: nothing, ACMEChallenge: nothing, Ownership: nothing,
		Certificate: ownership.CertificateObservation{Outcome: ownership.Absent},
		Target:      ownership.TargetObservation{Found: true, Healthy: true},
	}}).Status
	return r
}

// noCA is an issuance that never issues.
type noCA struct{}

func (noCA) Want(issuance.Want) {}
func (noCA) Forget(string)      {}
func (noCA) Retry(string)       {}
func (noCA) Observe(string) ownership.CertificateObservation {
	return ownership.CertificateObservation{Outcome: ownership.Absent}
}

// watched is the resolver with a note of who has been looked at.
type watched struct {
	*resolver.Resolver
	onLook func(hostname string, took time.Duration)
}

func (w *watched) Observe(ctx context.Context, hostname string, kind resolver.Kind) ownership.DNSObservation {
	began := time.Now()
	o := w.Resolver.Observe(ctx, hostname, kind)
	if kind == resolver.KindTraffic {
		w.onLook(hostname, time.Since(began))
	}
	return o
}

// node is one node at work on its records.
type node struct {
	*controller.Controller
	net    *internet
	store  store.Store
	stop   func()
	onLook atomic.Pointer[func(hostname string, took time.Duration)]
	onFlip atomic.Pointer[func(hostname string)]
}

// start loads the records and runs the controller over them, or over those that mine says.
func start(b *testing.B, dead func(int) bool, all []*v1alpha3.DomainRecord, mine func(hostname string) bool) *node {
	b.Helper()
	st, err := boltstore.Open(filepath.Join(b.TempDir(), "apoxy.db"), boltstore.Options{})
	if err != nil {
		b.Fatal(err)
	}
	for page := range slices.Chunk(all, 1000) {
		var ops []store.Op
		for _, r := range page {
			value, err := json.Marshal(r)
			if err != nil {
				b.Fatal(err)
			}
			ops = append(ops, store.Op{Key: hosts.Prefix + r.Name, Value: value, If: store.Any})
		}
		if _, err := st.Write(b.Context(), ops...); err != nil {
			b.Fatal(err)
		}
	}
	n := &node{net: newInternet(b, dead), store: st}
	dns := &watched{
		Resolver: resolver.New(resolver.Config{
			Resolvers: []string{n.net.resolver.LocalAddr().String()}, Port: uint16(n.net.port),
			OwnZone: func() string { return zone }, PrivateNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		}),
		onLook: func(host string, took time.Duration) {
			if f := n.onLook.Load(); f != nil {
				(*f)(host, took)
			}
		},
	}
	table := hosts.New()
	n.Controller = controller.New(controller.Config{
		Store: st, Table: table, Resolver: dns, Issuance: noCA{},
		Target: func(v1alpha3.TargetKey) ownership.TargetObservation {
			return ownership.TargetObservation{Found: true, Healthy: true}
		},
		Settings: func() ownership.Settings { return settings },
		Mine:     mine,
	})
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	loaded := make(chan struct{})
	work.Go(func() {
		_ = hosts.Follow(ctx, st, hosts.Follower{Table: table, OnTold: func() { close(loaded) }, OnChange: func(c hosts.Change) { // it ends with ctx
			n.Changed(c)
			if f := n.onFlip.Load(); f != nil && c.Record != nil {
				if cond := c.Record.Status.Condition(v1alpha3.ConditionCNAMEConfigured); cond != nil && cond.Status == metav1.ConditionTrue {
					(*f)(c.Record.Spec.Name)
				}
			}
		}})
	})
	<-loaded
	work.Go(func() { _ = n.Run(ctx) }) // returns nil
	n.stop = sync.OnceFunc(func() {
		cancel()
		work.Wait()
		if err := st.Close(); err != nil {
			b.Error(err)
		}
	})
	b.Cleanup(n.stop)
	return n
}

func aged(count int) []*v1alpha3.DomainRecord {
	since := time.Now().Add(-48 * time.Hour).Truncate(time.Second)
	all := make([]*v1alpha3.DomainRecord, count)
	for i := range all {
		all[i] = pending(hostname(i), true, since)
	}
	return all
}

// pass has every record looked at now and waits until those are done that live
// says. It returns when each was, and how long the look at its main name took,
// both sorted. The dead ones may still be at it.
func (n *node) pass(count int, live func(i int) bool) (done, looks []time.Duration) {
	left := make(map[string]bool, count)
	for i := range count {
		if live(i) {
			left[hostname(i)] = true
		}
	}
	var mu sync.Mutex
	finished := make(chan struct{})
	began := time.Now()
	onLook := func(host string, took time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		if !left[host] {
			return
		}
		delete(left, host)
		done, looks = append(done, time.Since(began)), append(looks, took)
		if len(left) == 0 {
			close(finished)
		}
	}
	n.onLook.Store(&onLook)
	for i := range count {
		n.Wake(hostname(i))
	}
	<-finished
	n.onLook.Store(nil)
	mu.Lock()
	defer mu.Unlock()
	slices.Sort(done)
	slices.Sort(looks)
	return done, looks
}

func liveHeap() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// processor is the time that this process has had of the processors, the name
// servers of the measurement included.
func processor(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func at(sorted []time.Duration, percent int) time.Duration {
	return sorted[min(len(sorted)*percent/100, len(sorted)-1)]
}

// BenchmarkPass looks at all records twice: when nothing is known of their
// domains yet, and when it is. What the dead ones add to the others
// is the difference between the two runs' seconds for the same live records.
func BenchmarkPass(b *testing.B) {
	for _, share := range []int{0, 5} {
		b.Run(fmt.Sprintf("dead=%d%%", share), func(b *testing.B) {
			dead := fifth(share)
			count := *records
			before := liveHeap()
			n := start(b, dead, aged(count), nil)
			live := func(i int) bool { return share == 5 && !dead(i/perDomain) || share == 0 && !fifth(5)(i/perDomain) }
			for range b.N {
				for _, pass := range []string{"first", "second"} {
					asked, cpu := n.net.queries.Load(), processor(b)
					done, looks := n.pass(count, live)
					most := at(done, 99)
					b.ReportMetric(most.Seconds(), pass+"-s/99%")
					b.ReportMetric(done[len(done)-1].Seconds(), pass+"-s/all")
					b.ReportMetric(float64(len(looks))*0.99/most.Seconds(), pass+"-looks/s")
					b.ReportMetric(ms(processor(b)-cpu)/float64(count), pass+"-cpu-ms/look")
					b.ReportMetric(ms(at(looks, 50)), pass+"-p50-ms")
					b.ReportMetric(ms(at(looks, 99)), pass+"-p99-ms")
					b.ReportMetric(float64(n.net.queries.Load()-asked)/float64(len(looks)), pass+"-queries/look")
				}
			}
			b.ReportMetric((liveHeap()-before)/(1<<20), "MiB")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkPublication measures from a CNAME's publication to the flipped
// condition in the store's watch, beside everything else pending.
func BenchmarkPublication(b *testing.B) {
	const samples = 500
	for _, by := range []string{"hint", "unproven", "timer"} {
		b.Run(by, func(b *testing.B) {
			all := aged(*records)
			fresh := time.Now().Truncate(time.Second)
			for i := range samples {
				all = append(all, pending(fmt.Sprintf("new%d.c%06d.example", i, 7+100*(i%(max(*records/perDomain/100, 1)))), false, fresh))
			}
			published := make(map[string]time.Time, samples)
			var mu sync.Mutex
			var took []time.Duration
			done := make(chan struct{})
			n := start(b, fifth(5), all, nil)
			onFlip := func(host string) {
				mu.Lock()
				defer mu.Unlock()
				since, ok := published[host]
				if !ok {
					return
				}
				delete(published, host)
				if took = append(took, time.Since(since)); len(took) == samples {
					close(done)
				}
			}
			n.onFlip.Store(&onFlip)
			for range b.N {
				for _, i := range rand.Perm(samples) {
					host := all[*records+i].Spec.Name
					mu.Lock()
					n.net.publish(host+".", v1alpha3.TrafficName(host, zone))
					published[host] = time.Now()
					mu.Unlock()
					switch by {
					case "hint":
						n.Hint(host)
					case "unproven":
						n.HintUnproven(host)
					}
					pause(10 * time.Millisecond)
				}
				<-done
			}
			mu.Lock()
			defer mu.Unlock()
			slices.Sort(took)
			b.ReportMetric(at(took, 50).Seconds(), "p50-s")
			b.ReportMetric(at(took, 99).Seconds(), "p99-s")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// pause spreads publications as customers do.
func pause(d time.Duration) { <-time.After(d) }
