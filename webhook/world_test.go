package webhook_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
	"github.com/apoxy-dev/caddy-apoxy/webhook"
)

const secretKey = "0123456789abcdefghijklmn" // 24 bytes

func secret(t *testing.T, key string) webhook.Secret {
	t.Helper()
	s, err := webhook.ParseSecret("whsec_" + base64.StdEncoding.EncodeToString([]byte(key)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// got is a delivery as a receiver has it.
type got struct {
	ID, Stamp, Type, Name, Message string
	Record                         json.RawMessage
}

// receiver is an endpoint that verifies every delivery by itself, with code that shares
// nothing with the sender's.
type receiver struct {
	*httptest.Server
	t *testing.T

	mu     sync.Mutex
	answer func(w http.ResponseWriter, r *http.Request) // nil: 204
	key    string
	all    []got
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{t: t, key: secretKey}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Server.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // it was cut off
	}
	id, stamp := req.Header.Get("Webhook-Id"), req.Header.Get("Webhook-Timestamp")
	r.mu.Lock()
	mac := hmac.New(sha256.New, []byte(r.key))
	answer := r.answer
	r.mu.Unlock()
	fmt.Fprintf(mac, "%s.%s.%s", id, stamp, body)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	signed := false
	for _, s := range strings.Split(req.Header.Get("Webhook-Signature"), " ") {
		signed = signed || hmac.Equal([]byte(s), []byte(want))
	}
	if _, err := strconv.ParseInt(stamp, 10, 64); !signed || err != nil || id == "" || req.Method != http.MethodPost || req.Header.Get("Content-Type") != "application/json" {
		r.t.Errorf("a delivery is not signed as Standard Webhooks says: %s %v %q", req.Method, req.Header, body)
	}
	var b struct {
		Type      string
		Timestamp time.Time
		Data      map[string]json.RawMessage
	}
	if err := json.Unmarshal(body, &b); err != nil || b.Timestamp.IsZero() {
		r.t.Errorf("the body is %q: %v", body, err)
	}
	g := got{ID: id, Stamp: stamp, Type: b.Type, Record: b.Data["record"]}
	for field, to := range map[string]*string{"name": &g.Name, "message": &g.Message, "hostname": new(string), "type": new(string), "from": new(string), "to": new(string), "reason": new(string)} {
		if err := json.Unmarshal(b.Data[field], to); err != nil {
			r.t.Errorf("the body's data.%s is %q", field, b.Data[field])
		}
	}
	r.mu.Lock()
	r.all = append(r.all, g)
	r.mu.Unlock()
	if answer == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	answer(w, req)
}

// answers has the receiver answer so from now on; nil: 204.
func (r *receiver) answers(f http.HandlerFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = f
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// heard is what the receiver has heard, by the message.
func (r *receiver) heard() (all []string) {
	for _, g := range r.got() {
		all = append(all, g.Message)
	}
	return all
}

func (r *receiver) got() []got {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]got(nil), r.all...)
}

// world is a sender over a real store.
type world struct {
	*webhook.Sender
	t     *testing.T
	path  string
	store *boltstore.Store
	logs  *observer.ObservedLogs

	mu        sync.Mutex
	endpoints []webhook.Endpoint
	clock     time.Time // it stands, but for later

	stop func()
	// fault, if set, is the error of a write, which is done or not.
	fault func(ops []store.Op) (err error, done bool)
}

// faulty is a store whose writes fail as the world says.
type faulty struct {
	store.Store
	w *world
}

func (f faulty) Write(ctx context.Context, ops ...store.Op) (int64, error) {
	f.w.mu.Lock()
	fault := f.w.fault
	f.w.mu.Unlock()
	if fault != nil {
		if err, done := fault(ops); err != nil {
			if done {
				if _, err := f.Store.Write(ctx, ops...); err != nil {
					return 0, err
				}
			}
			return 0, err
		}
	}
	return f.Store.Write(ctx, ops...)
}

// newWorld starts a sender to endpoints.
func newWorld(t *testing.T, endpoints ...webhook.Endpoint) *world {
	w := &world{t: t, path: filepath.Join(t.TempDir(), "apoxy.db"), endpoints: endpoints, clock: time.Now()}
	w.start()
	t.Cleanup(func() { w.stop() })
	return w
}

func (w *world) open() {
	w.t.Helper()
	st, err := boltstore.Open(w.path, boltstore.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	core, logs := observer.New(zap.InfoLevel)
	w.store, w.logs = st, logs
	w.Sender = webhook.New(webhook.Config{
		Store: faulty{st, w}, Endpoints: w.configured, Now: w.now, Logger: zap.New(core),
		Record: func(_ context.Context, name string) (json.RawMessage, error) {
			return json.RawMessage(`{"metadata":{"name":"` + name + `"}}`), nil
		},
	})
}

// start opens the store and runs a sender; stop ends both, as a process does.
func (w *world) start() {
	w.t.Helper()
	w.open()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := w.Run(ctx); err != nil {
			w.t.Error(err)
		}
	}()
	w.stop = sync.OnceFunc(func() {
		cancel()
		<-done
		if err := w.store.Close(); err != nil {
			w.t.Error(err)
		}
	})
}

func (w *world) configured() []webhook.Endpoint {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.endpoints
}

func (w *world) configure(endpoints ...webhook.Endpoint) {
	w.mu.Lock()
	w.endpoints = endpoints
	w.mu.Unlock()
	w.EndpointsChanged()
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clock
}

// later lets time pass.
func (w *world) later(d time.Duration) {
	w.mu.Lock()
	w.clock = w.clock.Add(d)
	w.mu.Unlock()
	w.EndpointsChanged() // its timer knows nothing of this
}

func (w *world) offer(names ...string) {
	for _, name := range names {
		w.Offer(webhook.Event{Type: "apoxy.phase_changed", At: w.now(), Name: name, Message: name})
	}
}

// until waits for a condition.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waiting for %s took more than 20 s", what)
		}
	}
}

// passing is until while time passes.
func (w *world) passing(what string, cond func() bool) {
	w.t.Helper()
	until(w.t, what, func() bool {
		if cond() {
			return true
		}
		w.later(time.Second)
		return false
	})
}

func (w *world) waiting(n int) func() bool {
	return func() bool {
		sum := 0
		for _, s := range w.List() {
			sum += s.Waiting
		}
		return sum == n
	}
}
