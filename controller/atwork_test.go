package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
	"github.com/apoxy-dev/caddy-apoxy/issuance"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
)

// clock can be moved forward; it runs on by itself too.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	c.ahead += d
	c.mu.Unlock()
}

// authority is an issuance.Observer driven by hand.
type authority struct {
	mu    sync.Mutex
	wants map[string]issuance.Want
	certs map[string]ownership.CertificateObservation
	// retried are the hostnames that were to be tried again at once.
	retried []string
}

func (a *authority) Want(w issuance.Want) {
	a.mu.Lock()
	a.wants[w.Hostname] = w
	a.mu.Unlock()
}

func (a *authority) Forget(hostname string) {
	a.mu.Lock()
	delete(a.wants, hostname)
	a.mu.Unlock()
}

func (a *authority) Retry(hostname string) {
	a.mu.Lock()
	a.retried = append(a.retried, hostname)
	a.mu.Unlock()
}

func (a *authority) Observe(hostname string) ownership.CertificateObservation {
	a.mu.Lock()
	defer a.mu.Unlock()
	o, ok := a.certs[hostname]
	if !ok {
		o.Outcome = ownership.Absent
	}
	return o
}

func (a *authority) set(hostname string, o ownership.CertificateObservation) {
	a.mu.Lock()
	a.certs[hostname] = o
	a.mu.Unlock()
}

func (a *authority) wanted(hostname string) (issuance.Want, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w, ok := a.wants[hostname]
	return w, ok
}

// bench is a controller at work: a store on disk, the table that follows it, a
// DNS world, and an authority and a clock moved by hand.
type bench struct {
	*Controller
	t     testing.TB
	store store.Store
	table *hosts.Table
	ca    *authority
	clock *clock

	mu          sync.Mutex
	settings    ownership.Settings
	healthy     bool
	transitions []Transition
}

func newBench(t testing.TB, dns DNS, change ...func(*Config)) *bench {
	t.Helper()
	st, err := boltstore.Open(filepath.Join(t.TempDir(), "apoxy.db"), boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{
		t: t, store: st, table: hosts.New(), clock: &clock{}, healthy: true,
		ca: &authority{wants: make(map[string]issuance.Want), certs: make(map[string]ownership.CertificateObservation)},
		settings: ownership.Settings{
			Zone:          ownership.Zone{Name: ownZone, EdgeAddresses: addrs("203.0.113.10")},
			CheckInterval: time.Minute, DetachAfter: 10 * time.Minute,
		},
	}
	cfg := Config{
		Store: st, Table: b.table, Resolver: dns, Issuance: b.ca,
		Target: func(v1alpha3.TargetKey) ownership.TargetObservation {
			b.mu.Lock()
			defer b.mu.Unlock()
			return ownership.TargetObservation{Found: true, Healthy: b.healthy}
		},
		Settings: func() ownership.Settings {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.settings
		},
		OnTransition: func(tr Transition) {
			b.mu.Lock()
			b.transitions = append(b.transitions, tr)
			b.mu.Unlock()
		},
		Logger: zaptest.NewLogger(t),
		Now:    b.clock.now,
	}
	for _, f := range change {
		f(&cfg)
	}
	b.Controller = New(cfg)
	return b
}

// start runs the controller and the table until the test ends.
func (b *bench) start() *bench {
	b.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	loaded := make(chan struct{})
	work.Go(func() {
		hosts.Follow(ctx, b.store, hosts.Follower{Table: b.table, OnChange: b.Changed, OnTold: func() { close(loaded) }})
	})
	<-loaded
	work.Go(func() {
		if err := b.Run(ctx); err != nil {
			b.t.Errorf("Run: %v", err)
		}
	})
	b.t.Cleanup(func() {
		cancel()
		work.Wait()
		if err := b.store.Close(); err != nil {
			b.t.Errorf("closing the store: %v", err)
		}
	})
	b.until("the controller runs", func() bool {
		b.Controller.mu.Lock()
		defer b.Controller.mu.Unlock()
		return b.running
	})
	return b
}

func tlsRecord(hostname string) *v1alpha3.DomainRecord {
	r := &v1alpha3.DomainRecord{}
	r.APIVersion, r.Kind = v1alpha3.GroupVersion.String(), v1alpha3.Kind
	r.Name, r.UID, r.Generation = v1alpha3.RecordName(hostname), types.UID("uid-of-"+hostname), 1
	r.CreationTimestamp = metav1.Now()
	r.Spec.Name = hostname
	r.Spec.TLS = &v1alpha3.DomainRecordTLS{}
	r.Spec.Target.Ref = &v1alpha3.TargetRef{Kind: v1alpha3.KindGateway, Name: "default"}
	return r
}

func plainRecord(hostname string) *v1alpha3.DomainRecord {
	r := tlsRecord(hostname)
	r.Spec.TLS = nil
	return r
}

func (b *bench) put(r *v1alpha3.DomainRecord) {
	b.t.Helper()
	raw, err := json.Marshal(r)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.store.Write(context.Background(), store.Op{Key: recordKey(r.Name), Value: raw, If: store.Any},
		store.Op{Key: "hostnames/" + r.Spec.Name, Value: []byte(r.Name), If: store.Any}); err != nil {
		b.t.Fatal(err)
	}
}

// end deletes a record as the API does.
func (b *bench) end(name string) {
	b.t.Helper()
	r := b.get(name)
	ops := []store.Op{{Key: recordKey(name), If: store.Any}, {Key: "hostnames/" + r.Spec.Name, If: store.Any}}
	if h := ownership.HolderOf(r, b.clock.now()); h != nil {
		raw, err := h.Encode()
		if err != nil {
			b.t.Fatal(err)
		}
		ops = append(ops, store.Op{Key: ownership.ReleasedKey(r.Spec.Name), Value: raw, If: store.Any})
	}
	if _, err := b.store.Write(context.Background(), ops...); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) get(name string) *v1alpha3.DomainRecord {
	b.t.Helper()
	v, err := b.read(context.Background(), name)
	if err != nil {
		b.t.Fatal(err)
	}
	return v.record
}

func (b *bench) check(name string) *v1alpha3.DomainRecord {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := b.Check(ctx, name); err != nil {
		b.t.Fatalf("checking %s: %v", name, err)
	}
	return b.get(name)
}

// until waits for a condition.
func (b *bench) until(what string, ok func() bool) {
	b.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			b.t.Fatalf("in vain waited until %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func status(r *v1alpha3.DomainRecord, kind string) string {
	c := r.Status.Condition(kind)
	if c == nil {
		return "none"
	}
	return fmt.Sprintf("%s %s", c.Status, c.Reason)
}

func (b *bench) expect(r *v1alpha3.DomainRecord, phase v1alpha3.Phase, conditions ...string) {
	b.t.Helper()
	if r.Status.Phase != phase {
		b.t.Errorf("phase is %s, want %s", r.Status.Phase, phase)
	}
	for i := 0; i < len(conditions); i += 2 {
		if got := status(r, conditions[i]); got != conditions[i+1] {
			b.t.Errorf("%s is %s, want %s: %s", conditions[i], got, conditions[i+1], r.Status.Condition(conditions[i]).Message)
		}
	}
}
