package target

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

func newBackends(t *testing.T, allow *AllowList, dials ...string) *Backends {
	t.Helper()
	transport := new(reverseproxy.HTTPTransport)
	rt, err := transport.NewTransport(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	transport.Transport = rt
	var pool reverseproxy.UpstreamPool
	for _, d := range dials {
		pool = append(pool, &reverseproxy.Upstream{Dial: d})
	}
	b, err := NewBackends(&reverseproxy.Handler{Transport: transport}, pool, allow)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// record gives the placeholders of a record.
type record map[string]string

func (r record) value(key string) (any, bool) {
	if v, ok := r[key]; ok {
		return v, true
	}
	return "", strings.HasPrefix(key, "apoxy.record.")
}

// Each record is judged by what it says itself, and told what it says.
func TestHealthIsThatOfTheRecord(t *testing.T) {
	allow := allowing(t, "10.0.0.0/8", "*.svc.internal")
	one := []string{"{apoxy.record.annotations.example.com/backend}"}
	two := []string{"{apoxy.record.annotations.a}", "{apoxy.record.labels.b}.svc.internal:8080"}
	for _, c := range []struct {
		is      string
		dials   []string
		record  record
		healthy bool
		message string
	}{
		{"an address", one, record{"apoxy.record.annotations.example.com/backend": "10.0.0.5:8080"}, true, "requests go to 10.0.0.5:8080"},
		{"nothing", one, record{}, false, `annotation "example.com/backend" is not there or empty`},
		{"an empty annotation", one, record{"apoxy.record.annotations.example.com/backend": ""}, false, "not there or empty"},
		{"the admin endpoint", one, record{"apoxy.record.annotations.example.com/backend": "127.0.0.1:2019"}, false,
			`annotation "example.com/backend" is "127.0.0.1:2019", which is not among the allowed upstreams (10.0.0.0/8 *.svc.internal)`},
		{"a placeholder in a value", one, record{"apoxy.record.annotations.example.com/backend": "{env.HOME}"}, false, `is "{env.HOME}"`},
		{"both of two", two, record{"apoxy.record.annotations.a": "10.0.0.5:1", "apoxy.record.labels.b": "app"}, true, "requests go to 10.0.0.5:1 and app.svc.internal:8080"},
		{"one of two", two, record{"apoxy.record.labels.b": "app"}, true, "requests go to app.svc.internal:8080"},
		{"none of two", two, record{}, false, `annotation "a" and label "b" is not there`},
		{"one that is wrong beside one that is right", two, record{"apoxy.record.annotations.a": "10.0.0.5:1", "apoxy.record.labels.b": "x:1@evil.example/"}, false,
			`label "b", which make the upstream, is "x:1@evil.example/.svc.internal:8080"`},
		{"one that depends on the request, too", []string{"{http.request.header.X}"}, record{}, true, ""},
	} {
		t.Run(c.is, func(t *testing.T) {
			h := newBackends(t, allow, c.dials...).HealthOf(c.record.value)
			if h.Healthy != c.healthy || !h.OfRecord || !strings.Contains(h.Message, c.message) {
				t.Errorf("HealthOf = %+v, want healthy %v with %q", h, c.healthy, c.message)
			}
		})
	}
}

// What decides is in the health that is compared, so that a reload is news.
func TestHealthOfNoRecordTellsWhatDecides(t *testing.T) {
	a, b := newBackends(t, allowing(t, "10.0.0.0/8"), "{apoxy.record.annotations.a}"), newBackends(t, allowing(t, "10.0.0.0/9"), "{apoxy.record.annotations.a}")
	if a.Health() == b.Health() || !a.Health().OfRecord || !a.Health().Healthy {
		t.Errorf("Health = %+v and %+v", a.Health(), b.Health())
	}
}

func TestRegistryAsksWithTheRecord(t *testing.T) {
	var g Registry
	ref := Ref{Kind: "Proxy", Name: "tenants"}
	g.Add(ref, newBackends(t, allowing(t, "10.0.0.0/8"), "{apoxy.record.annotations.a}"))
	g.Add(api, fixed{"static", well})
	good, bad := record{"apoxy.record.annotations.a": "10.0.0.1:1"}, record{"apoxy.record.annotations.a": "127.0.0.1:2019"}
	if h, ok := g.HealthOf(ref, good.value); !ok || !h.Healthy {
		t.Errorf("the good record's: %+v, %v", h, ok)
	}
	if h, ok := g.HealthOf(ref, bad.value); !ok || h.Healthy {
		t.Errorf("the bad record's: %+v, %v", h, ok)
	}
	if h, ok := g.Health(ref); !ok || !h.Healthy {
		t.Errorf("the target's: %+v, %v", h, ok)
	}
	if h, ok := g.HealthOf(api, bad.value); !ok || h != well {
		t.Errorf("another target's: %+v, %v", h, ok)
	}
}

// dialled notes what was dialled and gives a connection that leads there.
type dialled struct{ to []string }

type connTo struct {
	net.Conn
	remote net.Addr
}

func (c connTo) RemoteAddr() net.Addr { return c.remote }
func (connTo) Close() error           { return nil }

func (d *dialled) dial(_ context.Context, _, address string) (net.Conn, error) {
	d.to = append(d.to, address)
	if strings.HasPrefix(address, "10.9.") {
		return nil, errors.New("connection refused")
	}
	return connTo{remote: net.TCPAddrFromAddrPort(netip.MustParseAddrPort(address))}, nil
}

// The guard judges what is dialled: a name that leads into the operator's insides is
// met with nothing, not even a connection.
func TestTheDialGuardJudgesTheAddress(t *testing.T) {
	allow := allowing(t, "10.0.0.0/8", "*.svc.internal")
	for _, c := range []struct {
		is, address string
		addrs       string
		want        string
		err         error
	}{
		{"an address", "10.0.0.5:80", "", "10.0.0.5:80", nil},
		{"an address that is not listed", "127.0.0.1:2019", "", "", ErrNoBackend},
		{"a name", "a.svc.internal:80", "10.0.0.7", "10.0.0.7:80", nil},
		{"a name that is not listed", "a.example:80", "10.0.0.7", "", ErrNoBackend},
		{"a name that leads to loopback", "a.svc.internal:2019", "127.0.0.1 ::1 ::ffff:127.0.0.1", "", ErrNoBackend},
		{"a name that leads to metadata", "a.svc.internal:80", "169.254.169.254", "", ErrNoBackend},
		{"a name that leads to both", "a.svc.internal:80", "127.0.0.1 10.0.0.7", "10.0.0.7:80", nil},
		{"a name whose first address is down", "a.svc.internal:80", "10.9.0.1 10.0.0.7", "10.9.0.1:80 10.0.0.7:80", nil},
		{"a name with many addresses", "a.svc.internal:80", "10.9.0.1 10.9.0.2 10.9.0.3 10.9.0.4 10.9.0.5", "10.9.0.1:80 10.9.0.2:80 10.9.0.3:80 10.9.0.4:80", errAny},
		{"a name without addresses", "a.svc.internal:80", "", "", errAny},
	} {
		t.Run(c.is, func(t *testing.T) {
			d := new(dialled)
			lookup := func(context.Context, string) (addrs []netip.Addr, _ error) {
				for _, s := range strings.Fields(c.addrs) {
					addrs = append(addrs, netip.MustParseAddr(s))
				}
				return addrs, nil
			}
			conn, err := guarded(allow, lookup, 1e9, d.dial)(t.Context(), "tcp", c.address)
			if (err == nil) != (c.err == nil) || c.err != errAny && !errors.Is(err, c.err) || (conn == nil) != (err != nil) {
				t.Errorf("dialling gives %v, %v, want %v", conn, err, c.err)
			}
			if got := strings.Join(d.to, " "); got != c.want {
				t.Errorf("dialled %q, want %q", got, c.want)
			}
		})
	}
}

var errAny = errors.New("any")

// Whatever a transport dials in the end, no byte goes where the guard did not judge.
func TestTheDialGuardLooksAtWhereTheConnectionLeads(t *testing.T) {
	elsewhere := func(context.Context, string, string) (net.Conn, error) {
		return connTo{remote: net.TCPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:2019"))}, nil
	}
	conn, err := guarded(allowing(t, "10.0.0.0/8"), nil, 1e9, elsewhere)(t.Context(), "tcp", "10.0.0.5:80")
	if conn != nil || !errors.Is(err, ErrNoBackend) {
		t.Errorf("dialling gives %v, %v", conn, err)
	}
}

// Caddy's own dialer takes the address from the context: the one that was judged.
func TestTheDialGuardBindsTheTransportsDialer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	b := newBackends(t, allowing(t, "127.0.0.0/8:"+port, "localhost", "localhost.localdomain.invalid"), "{apoxy.record.annotations.a}")
	dial := b.proxy.Transport.(*reverseproxy.HTTPTransport).Transport.DialContext
	conn, err := dial(t.Context(), "tcp", "localhost:"+port)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if conn, err := dial(t.Context(), "tcp", "127.0.0.1:2019"); conn != nil || !errors.Is(err, ErrNoBackend) {
		t.Errorf("dialling the admin endpoint gives %v, %v", conn, err)
	}
	if b.proxy.Transport.(*reverseproxy.HTTPTransport).Transport.Proxy != nil {
		t.Error("a forward proxy would look names up past the guard")
	}
}

func testContext(t *testing.T) caddy.Context {
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	t.Cleanup(cancel)
	return ctx
}
