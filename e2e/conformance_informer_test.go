package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

var recordsResource = schema.GroupVersionResource{Group: "core.apoxy.dev", Version: "v1alpha3", Resource: "domainrecords"}

// Neither a client-go informer nor a plain watch misses or repeats an event, or
// begins anew, while 200 writers write, connections break, the configuration is
// reloaded and the product killed and started again.
func TestConformanceInformerMissesNothing(t *testing.T) {
	const (
		records = 1000
		last    = 99 // with step 0, a hundred writes each: 100,000 in all
		writing = 200
	)
	n := network(t)
	// Looks are not what is tested here.
	p := start(t, n, settings{checkInterval: time.Hour, program: unwatched})
	names := make([]string, records)
	for i := range names {
		names[i] = fmt.Sprintf("r%d.informer.com", i)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()

	informed, followed := newLedger("informer"), newLedger("watch")
	connections := &connections{open: map[net.Conn]bool{}}
	startInformer(t, ctx, informed, connections)
	follow(t, ctx, followed, connections)

	begun := time.Now()
	w := startWriters(ctx, names, writing, last, nil)
	const all = int64(records * (last + 1))
	const disturbances, cuts = 12, 8
	for i := range int64(disturbances) {
		w.reach(t, 5*time.Minute, all*(i+1)/(disturbances+1))
		switch {
		case i < cuts:
			connections.cut()
		case i%2 == 0:
			if i == cuts {
				informed.unbroken(t)
				followed.unbroken(t)
			}
			if err := p.reload(ctx); err != nil {
				t.Fatal(err)
			}
		default:
			p.kill()
			p.run(t)
		}
	}
	w.reach(t, 5*time.Minute, all)
	took := time.Since(begun)
	t.Logf("%d writes by %d writers in %v: %.0f a second; %d requests were sent again",
		all, writing, took.Round(time.Millisecond), float64(all)/took.Seconds(), w.again.Load())
	for _, l := range []*ledger{informed, followed} {
		if err := testnet.Until(time.Minute, "the last writes to be heard of", func() error { return l.behind(names, last) }); err != nil {
			t.Error(err)
		}
	}
	// The history outlives the process: a follower resumes from the last revision
	// that it has seen.
	informed.close(t, 0)
	followed.close(t, 0)
}

// connections are those of the followers, to be cut.
type connections struct {
	// lead leads requests elsewhere than to adminURL. Nil: none.
	lead func(http.RoundTripper) http.RoundTripper

	mu   sync.Mutex
	open map[net.Conn]bool
}

// transport is what sends the followers' requests by inner.
func (c *connections) transport(inner http.RoundTripper) http.RoundTripper {
	if c.lead == nil {
		return inner
	}
	return c.lead(inner)
}

func (c *connections) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open[conn] = true
	return conn, nil
}

// cut breaks every connection, as a network does: the server's end is reset.
func (c *connections) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.open {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // the connection may be closed already
		}
		conn.Close()
	}
	clear(c.open)
}

// relists counts, in the transport, how often an informer begins anew.
type relists struct {
	inner  http.RoundTripper
	ledger *ledger
	begun  bool
}

func (r *relists) RoundTrip(req *http.Request) (*http.Response, error) {
	answer, err := r.inner.RoundTrip(req)
	query := req.URL.Query()
	if err == nil && answer.StatusCode == http.StatusOK && (query.Get("watch") == "" || query.Get("sendInitialEvents") == "true") {
		// An informer lists one request at a time.
		if r.begun {
			r.ledger.begunAnew()
		} else if query.Get("watch") == "" {
			r.ledger.note(sighting{name: "the informer listed where it should have used WatchList"}, false)
		}
		r.begun = true
	}
	return answer, err
}

// startInformer runs client-go's informer, with its defaults, until ctx ends.
func startInformer(t *testing.T, ctx context.Context, l *ledger, c *connections) {
	t.Helper()
	client, err := dynamic.NewForConfig(&rest.Config{
		Host: adminURL, Dial: c.dial, UserAgent: "informer", QPS: -1,
		WrapTransport: func(inner http.RoundTripper) http.RoundTripper { return &relists{inner: c.transport(inner), ledger: l} },
	})
	if err != nil {
		t.Fatal(err)
	}
	factory := dynamicinformer.NewDynamicSharedInformerFactory(client, 0)
	informer := factory.ForResource(recordsResource).Informer()
	see := func(object any, deleted bool) {
		if unknown, ok := object.(cache.DeletedFinalStateUnknown); ok {
			_, name, _ := strings.Cut("/"+unknown.Key, "/")
			l.missing(name)
			return
		}
		record, err := meta.Accessor(object)
		if err != nil {
			t.Error(err)
			return
		}
		l.see(sighting{record.GetName(), record.GetAnnotations()[stepAnnotation], record.GetResourceVersion(), deleted})
	}
	if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { see(object, false) },
		UpdateFunc: func(_, object any) { see(object, false) },
		DeleteFunc: func(object any) { see(object, true) },
	}); err != nil {
		t.Fatal(err)
	}
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		t.Fatal("the informer does not become synchronous")
	}
	t.Cleanup(factory.Shutdown)
}
