package caddyapoxy

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/internal/freeport"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/target"
)

// load runs a configuration in this process, as `caddy reload` does, and stops
// it with the test.
func load(t *testing.T, config string) error {
	t.Helper()
	adapted, err := adapted(config)
	if err != nil {
		t.Fatal(err)
	}
	return loadJSON(t, string(adapted))
}

func adapted(config string) ([]byte, error) {
	out, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(config), map[string]any{"filename": "Caddyfile"})
	return out, err
}

// loadJSON is load of an adapted configuration.
func loadJSON(t *testing.T, config string) error {
	t.Helper()
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
	return caddy.Load([]byte(config), true)
}

// storageDir is a directory for storage, until the test ends. Certificates that
// Caddy obtains in the background may be written for a moment after it has stopped,
// which fails the removal of a t.TempDir.
func storageDir(t testing.TB) string {
	dir, err := os.MkdirTemp("", "caddyapoxy")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		var err error
		for range 100 {
			if err = os.RemoveAll(dir); err == nil {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
		t.Error(err)
	})
	return dir
}

// world is a configuration with all its resources to itself.
type world struct{ dir, dns, web, upstream, zone string }

func newWorld(t *testing.T) world {
	return world{dir: storageDir(t), dns: freePort(t), web: freePort(t), upstream: "127.0.0.1:9", zone: "cname.example.net"}
}

func (w world) caddyfile() string {
	_, port, _ := net.SplitHostPort(w.web)
	return fmt.Sprintf(`{
	admin off
	persist_config off
	storage file_system %[1]s
	http_port %[5]s
	apoxy {
		zone %[6]s {
			nameserver ns1.example.net 192.0.2.1
			edge 192.0.2.1
		}
		dns %[2]s
		resolvers %[2]s
		store bolt %[3]s
	}
}
http:// {
	bind 127.0.0.1
	apoxy {
		proxy api {
			to %[4]s
			health_uri /
			health_interval 10ms
		}
	}
}
`, w.dir, w.dns, filepath.Join(w.dir, "apoxy.db"), w.upstream, port, w.zone)
}

// freePort is an address that nobody listens on, another one each time.
func freePort(t *testing.T) string { return freeport.Address(t) }

func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waiting for %s took more than 20 s", what)
		}
	}
}

func running(t *testing.T) *App {
	t.Helper()
	app, err := caddy.ActiveContext().AppIfConfigured("apoxy")
	if err != nil {
		t.Fatal(err)
	}
	return app.(*App)
}

// Caddy's own active health checks, against a backend that falls ill and
// recovers.
func TestProxyIsAsHealthyAsItsHealthChecksSay(t *testing.T) {
	var status atomic.Int64
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(int(status.Load()))
	}))
	defer backend.Close()
	w := newWorld(t)
	w.upstream = strings.TrimPrefix(backend.URL, "http://")
	status.Store(http.StatusOK)
	if err := load(t, w.caddyfile()); err != nil {
		t.Fatal(err)
	}
	api := target.Ref{Kind: "Proxy", Name: "api"}
	for _, want := range []int64{http.StatusOK, http.StatusInternalServerError, http.StatusOK} {
		status.Store(want)
		until(t, fmt.Sprintf("the health of a backend that answers %d", want), func() bool {
			h, found := running(t).targets.Health(api)
			return found && h.Healthy == (want == http.StatusOK) && (h.Healthy || strings.Contains(h.Message, w.upstream))
		})
	}
}

// A reload keeps the store, the table and the DNS sockets; one that fails leaves
// the configuration before in force, whatever it had already begun.
func TestReloads(t *testing.T) {
	w := newWorld(t)
	if err := load(t, w.caddyfile()); err != nil {
		t.Fatal(err)
	}
	first := running(t)
	rt := first.held
	before := rt.apps.Current()

	bad := w
	bad.zone = "other.example.net"
	bad.dns = "192.0.2.77:53" // no address of this machine
	if err := load(t, bad.caddyfile()); err == nil {
		t.Fatal("a configuration that answers DNS on a foreign address was loaded")
	}
	if rt.apps.Current() != before || rt.zoneName() != w.zone {
		t.Errorf("after a failed reload zone %s is in force, want %s", rt.zoneName(), w.zone)
	}

	w.zone = "second.example.net"
	if err := load(t, w.caddyfile()); err != nil {
		t.Fatal(err)
	}
	if now := running(t); now == first || now.held != rt {
		t.Error("the reload did not keep what the store holds")
	}
	if rt.zoneName() != w.zone {
		t.Errorf("after a reload zone %s is in force, want %s", rt.zoneName(), w.zone)
	}
	if n, there := listeners.References(w.dns); !there || n != 1 {
		t.Errorf("the DNS sockets have %d users, want this configuration alone", n)
	}
	if n, there := runtimes.References(rt.key); !there || n != 1 {
		t.Errorf("the store has %d users, want this configuration alone", n)
	}
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, there := runtimes.References(rt.key); there {
		t.Error("the store is open after the last configuration ended")
	}
	if _, there := listeners.References(w.dns); there {
		t.Error("DNS is answered after the last configuration ended")
	}
}

// Who changes `dns` from one address to all of them, or back, loses no query: the
// new sockets answer before the old ones close.
func TestReloadsBetweenOverlappingDNSAddresses(t *testing.T) {
	w := newWorld(t)
	if err := load(t, w.caddyfile()); err != nil {
		t.Fatal(err)
	}
	specific := w.dns
	_, port, _ := net.SplitHostPort(specific)
	stop, done := make(chan struct{}), make(chan struct{})
	var asked, lost atomic.Int64
	go func() {
		defer close(done)
		client := dns.Client{Timeout: 5 * time.Second}
		for {
			select {
			case <-stop:
				return
			default:
			}
			asked.Add(1)
			answer, _, err := client.Exchange(new(dns.Msg).SetQuestion(w.zone+".", dns.TypeSOA), specific)
			if err != nil || len(answer.Answer) != 1 {
				lost.Add(1)
			}
		}
	}()
	for _, w.dns = range []string{":" + port, specific, ":" + port} {
		if err := load(t, strings.Replace(w.caddyfile(), "resolvers :", "resolvers 127.0.0.1:", 1)); err != nil {
			t.Fatal(err)
		}
		goal := asked.Load() + 20
		until(t, "queries on "+w.dns, func() bool { return asked.Load() > goal })
		if held := heldAddresses(); len(held) != 1 || held[0] != w.dns {
			t.Errorf("DNS is answered on %v, want %s alone", held, w.dns)
		}
	}
	close(stop)
	<-done
	if lost.Load() > 0 {
		t.Errorf("%d of %d queries lost", lost.Load(), asked.Load())
	}
}
