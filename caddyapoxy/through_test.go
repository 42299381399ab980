package caddyapoxy

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/apiserver"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
	"github.com/apoxy-dev/caddy-apoxy/resolver"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// large is a store whose records take long to read all.
type large struct {
	store.Store
	read <-chan struct{} // closed when they are
}

func (s large) List(ctx context.Context, prefix string, o store.ListOptions) (store.ListResult, error) {
	if prefix == hosts.Prefix {
		select {
		case <-s.read:
		case <-ctx.Done():
			return store.ListResult{}, ctx.Err()
		}
	}
	return s.Store.List(ctx, prefix, o)
}

// What a start with very many records serves before it has read them all.
func TestRecordsAreServedBeforeAllAreRead(t *testing.T) {
	rt := openTestRuntime(t, zap.NewNop())
	a := &App{logger: zap.NewNop(), settings: ownership.Settings{Zone: ownership.Zone{Name: "cname.example.net"}}}
	a.zone.Name = "cname.example.net"
	a.resolver = resolver.New(resolver.Config{ // asks nobody
		Resolvers: []string{freePort(t)}, Logger: zap.NewNop(),
		OwnZone: func() string { return a.zone.Name }, EdgeAddresses: func() []netip.Addr { return nil },
	})
	for _, hostname := range []string{"api.example.com", "*.shop.example.com"} {
		if _, err := rt.store.Write(t.Context(),
			store.Op{Key: hosts.Prefix + "r-" + strings.TrimPrefix(hostname, "*."), Value: []byte(recordValue(t, "r-"+strings.TrimPrefix(hostname, "*."), hostname))},
			store.Op{Key: apiserver.HostnamePrefix + hostname, Value: []byte("r-" + strings.TrimPrefix(hostname, "*."))}); err != nil {
			t.Fatal(err)
		}
	}
	read := make(chan struct{})
	rt.store.Store = large{rt.store.Store, read}
	rt.apps.Push(a)
	if err := rt.start(); err != nil {
		t.Fatal(err)
	}
	if rt.table.Whole() || rt.table.Len() != 0 {
		t.Fatal("all were read")
	}
	ask := func(method, path, body string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(method, "/apis/core.apoxy.dev/v1alpha3/domainrecords"+path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/yaml")
		rt.api.ServeHTTP(w, r)
		return w
	}
	names := zoneNames{rt.table}
	served := func(when string) {
		t.Helper()
		for _, name := range []string{"api.example.com", "*.shop.example.com"} {
			if n, ok := names.Lookup([]byte(name)); !ok || n.TTL == 0 {
				t.Errorf("%s the zone has %+v, %v for %s", when, n, ok, name)
			}
		}
		if h, ok := rt.table.Match("www.shop.example.com"); !ok || h.Hostname != "*.shop.example.com" {
			t.Errorf("%s a name below a wildcard is answered by %+v", when, h)
		}
		if h, ok := rt.table.Match("other.example.com"); ok {
			t.Errorf("%s there is %+v", when, h)
		}
		if w := ask(http.MethodGet, "/r-api.example.com", ""); w.Code != http.StatusOK {
			t.Errorf("%s the API answers %d %s", when, w.Code, w.Body)
		}
	}
	served("before")
	if names.Whole() {
		t.Error("the zone says that names do not exist")
	}
	created := make(chan *httptest.ResponseRecorder, 1)
	go func() { created <- ask(http.MethodPost, "", manifestOf("new.example.com")) }()
	if w := ask(http.MethodGet, "/new.example.com", ""); w.Code != http.StatusNotFound {
		t.Errorf("a record that is to be created is answered with %d", w.Code)
	}
	close(read)
	if w := <-created; w.Code != http.StatusCreated {
		t.Errorf("the create is answered with %d %s", w.Code, w.Body)
	}
	if !rt.table.Whole() || rt.table.Len() < 2 {
		t.Error("a write went ahead of the reading of all")
	}
	served("afterwards")
	if h, ok := rt.table.Get("new.example.com"); !ok || h.Verified {
		t.Errorf("the new record is %+v", h)
	}
}

// A table that is never read whole keeps no client waiting for ever.
func TestAWriteBeforeAllAreReadIsAnsweredInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		_, err := inForce{table: hosts.New()}.Write(t.Context())
		if !errors.Is(err, store.ErrUnavailable) || time.Since(began) != loadedWait {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}

// Nothing is served of a record that cannot be read, or that another hostname's key names.
func TestWhatIsReadThroughIsTheHostnamesOwn(t *testing.T) {
	rt := openTestRuntime(t, zap.NewNop())
	for key, value := range map[string]string{
		hosts.Prefix + "one":                         recordValue(t, "one", "one.example.com"),
		hosts.Prefix + "broken":                      "{",
		apiserver.HostnamePrefix + "one.example.com": "one",
		apiserver.HostnamePrefix + "two.example.com": "one",
		apiserver.HostnamePrefix + "not.example.com": "gone",
		apiserver.HostnamePrefix + "bad.example.com": "broken",
	} {
		if _, err := rt.store.Write(t.Context(), store.Op{Key: key, Value: []byte(value)}); err != nil {
			t.Fatal(err)
		}
	}
	for hostname, found := range map[string]bool{"one.example.com": true, "two.example.com": false, "not.example.com": false, "bad.example.com": false, "": false} {
		if h := rt.readHost(hostname); (h != nil) != found {
			t.Errorf("%q is answered by %+v", hostname, h)
		}
	}
}
