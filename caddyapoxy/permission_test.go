package caddyapoxy

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
)

func TestPermissionDecides(t *testing.T) {
	for _, c := range []struct {
		name string
		host *hosts.Host
		want error
	}{
		{"a name without a record is denied", nil, errUnknownName},
		{"an HTTP-only record gets no certificate", &hosts.Host{Verified: true}, errHTTPOnly},
		{"an unverified record is denied", hosts.Make(hosts.Values{TLS: true, Phase: v1alpha3.PhaseIssuing}), errUnverified},
		{"a verified record is allowed", &hosts.Host{TLS: true, Verified: true}, nil},
		{"a verified record is allowed whatever else is amiss", hosts.Make(hosts.Values{TLS: true, Verified: true, Phase: v1alpha3.PhaseIssuing}), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := decide(c.host)
			if got != c.want {
				t.Errorf("decide = %v, want %v", got, c.want)
			}
			if got != nil && !errors.Is(got, caddytls.ErrPermissionDenied) {
				t.Errorf("%v does not wrap ErrPermissionDenied: Caddy would log it as a failure", got)
			}
		})
	}
}

func TestPermissionWaits(t *testing.T) {
	const name, wildcard = "api.example.com", "*.example.com"
	host := func(hostname string, change func(*hosts.Values)) *hosts.Host {
		v := hosts.Values{Hostname: hostname, TLS: true, Phase: v1alpha3.PhaseIssuing}
		change(&v)
		return hosts.Make(v)
	}
	verified := func(h *hosts.Values) { h.Verified = true }
	issued := func(h *hosts.Values) { h.Verified, h.TLSReady, h.Phase = true, true, v1alpha3.PhaseActive }
	for _, c := range []struct {
		what   string
		before *hosts.Host
		then   func(*hosts.Table) // what happens while the handshake waits
		want   error
	}{
		{"for the certificate of a record in phase Issuing", host(name, func(*hosts.Values) {}),
			func(t *hosts.Table) { t.Set(host(name, verified)); t.Set(host(name, issued)) }, nil},
		{"for that of a wildcard", host(wildcard, func(*hosts.Values) {}),
			func(t *hosts.Table) { t.Set(host(wildcard, issued)) }, nil},
		{"for the first of a record that was HTTP-only a moment ago",
			host(name, func(h *hosts.Values) { h.Verified, h.Phase = true, v1alpha3.PhaseActive }),
			func(t *hosts.Table) { t.Set(host(name, verified)); t.Set(host(name, issued)) }, nil},
		{"until the record is deleted", host(name, func(*hosts.Values) {}),
			func(t *hosts.Table) { t.Delete(name) }, errUnknownName},
		{"until the record wants no certificate any more", host(name, verified),
			func(t *hosts.Table) { t.Set(host(name, func(h *hosts.Values) { h.Verified, h.TLS = true, false })) }, errHTTPOnly},
		{"until its proof is gone", host(name, func(*hosts.Values) {}),
			func(t *hosts.Table) { t.Set(host(name, func(h *hosts.Values) { h.Phase = v1alpha3.PhasePending })) }, errUnverified},
	} {
		t.Run(c.what, func(t *testing.T) {
			rt := openTestRuntime(t, zap.NewNop())
			rt.table.Set(c.before)
			p := &Permission{Wait: caddy.Duration(20 * time.Second), app: new(App)}
			p.app.rt.Store(rt)
			got := make(chan error, 1)
			go func() { got <- p.CertificateAllowed(context.Background(), name) }()
			select {
			case err := <-got:
				t.Fatalf("it did not wait: %v", err)
			case <-time.After(50 * time.Millisecond):
			}
			c.then(rt.table)
			if err := <-got; err != c.want {
				t.Errorf("decided %v, want %v", err, c.want)
			}
		})
	}
	t.Run("no longer than it is to, and then allows nothing that is not verified", func(t *testing.T) {
		rt := openTestRuntime(t, zap.NewNop())
		rt.table.Set(host(name, func(*hosts.Values) {}))
		p := &Permission{Wait: caddy.Duration(20 * time.Millisecond), app: new(App)}
		p.app.rt.Store(rt)
		if err := p.CertificateAllowed(t.Context(), name); err != errStillIssuing {
			t.Errorf("decided %v, want %v", err, errStillIssuing)
		}
	})
	t.Run("on when its visitor has left, for certmagic gives its answer to all who came after", func(t *testing.T) {
		rt := openTestRuntime(t, zap.NewNop())
		rt.table.Set(host(name, func(*hosts.Values) {}))
		p := &Permission{Wait: caddy.Duration(20 * time.Second), app: new(App)}
		p.app.rt.Store(rt)
		ctx, leave := context.WithCancel(t.Context())
		leave()
		got := make(chan error, 1)
		go func() { got <- p.CertificateAllowed(ctx, name) }()
		select {
		case err := <-got:
			t.Fatalf("it did not wait: %v", err)
		case <-time.After(50 * time.Millisecond):
		}
		rt.table.Set(host(name, issued))
		if err := <-got; err != nil {
			t.Errorf("decided %v", err)
		}
	})
}

// Anybody can send handshakes for a record that nobody has proven. certmagic asks
// the permission for one of those that come for the same name at a time and gives
// its answer to the others (handshake.go, certLoadWaitChans). So what is bounded
// for each record are handshakes for different names of one wildcard, and what is
// bounded in all are those for many records; handshakes for one exact name wait
// with the one of them that asks, at most for pendingWait.
func TestAFloodOfHandshakesForUnprovenRecords(t *testing.T) {
	const perRecord, inAll = 16, 1024 // as hosts.Table.WaitFirst lets in
	newPermission := func(t *testing.T) (*Permission, *runtime) {
		rt := openTestRuntime(t, zap.NewNop())
		p := &Permission{Wait: caddy.Duration(time.Hour), app: new(App), first: time.Hour}
		p.app.rt.Store(rt)
		return p, rt
	}
	pending := func(hostname string) *hosts.Host {
		return hosts.Make(hosts.Values{Hostname: hostname, TLS: true, Phase: v1alpha3.PhasePending})
	}
	// flood asks for all names at once and returns how many are refused at once,
	// and what the others are told when the records are gone.
	flood := func(t *testing.T, p *Permission, names []string) (refused func() int64, others chan error) {
		var n atomic.Int64
		others = make(chan error, len(names))
		for _, name := range names {
			go func() {
				switch err := p.CertificateAllowed(context.Background(), name); err {
				case errUnverified:
					n.Add(1)
				default:
					others <- err
				}
			}()
		}
		return n.Load, others
	}
	t.Run("of one wildcard", func(t *testing.T) {
		p, rt := newPermission(t)
		rt.table.Set(pending("*.example.com"))
		var names []string
		for i := range 500 {
			names = append(names, fmt.Sprintf("h%d.example.com", i))
		}
		refused, others := flood(t, p, names)
		until(t, "the refusals", func() bool { return refused() == int64(len(names)-perRecord) })
		if err := p.CertificateAllowed(t.Context(), "one-more.example.com"); err != errUnverified {
			t.Errorf("one more is answered %v", err)
		}
		if allocs := allocations(1000, func() { _ = p.CertificateAllowed(context.Background(), "one-more.example.com") }); allocs != 0 {
			t.Errorf("a refusal costs %v allocations", allocs)
		}
		rt.table.Delete("*.example.com")
		for range perRecord {
			if err := <-others; err != errUnknownName {
				t.Errorf("one that waited is answered %v", err)
			}
		}
	})
	t.Run("of many records, beside one whose certificate is on its way", func(t *testing.T) {
		p, rt := newPermission(t)
		const issuing = "issuing.example.com"
		rt.table.Set(hosts.Make(hosts.Values{Hostname: issuing, TLS: true, Verified: true, Phase: v1alpha3.PhaseActive}))
		var names []string
		for i := range 2 * inAll {
			names = append(names, fmt.Sprintf("www.h%d.com", i))
			rt.table.Set(pending(names[i]))
		}
		refused, others := flood(t, p, names)
		until(t, "the refusals", func() bool { return refused() == inAll })
		waiting := make(chan error, 1)
		go func() { waiting <- p.CertificateAllowed(context.Background(), issuing) }()
		select {
		case err := <-waiting:
			t.Fatalf("it did not wait for its certificate: %v", err)
		case <-time.After(50 * time.Millisecond):
		}
		rt.table.Set(hosts.Make(hosts.Values{Hostname: issuing, TLS: true, Verified: true, TLSReady: true, Phase: v1alpha3.PhaseActive}))
		if err := <-waiting; err != nil {
			t.Errorf("it is answered %v", err)
		}
		for _, name := range names {
			rt.table.Delete(name)
		}
		for range inAll {
			if err := <-others; err != errUnknownName {
				t.Errorf("one that waited is answered %v", err)
			}
		}
	})
}

// BenchmarkPermissionRefusesAFlood is a handshake too many for a record that
// nobody has proven.
func BenchmarkPermissionRefusesAFlood(b *testing.B) {
	rt := openTestRuntime(b, zap.NewNop())
	p := &Permission{Wait: caddy.Duration(20 * time.Second), app: new(App)}
	p.app.rt.Store(rt)
	rt.table.Set(hosts.Make(hosts.Values{Hostname: "*.example.com", TLS: true, Phase: v1alpha3.PhasePending}))
	gone := make(chan struct{}, 16)
	var in sync.WaitGroup
	for range cap(gone) {
		in.Add(2) // asked before it waits, and once it does
		go func() {
			_, _ = rt.table.WaitFirst("*.example.com", time.Hour, func(h *hosts.Host) bool {
				if h != nil {
					in.Done()
				}
				return h == nil
			})
			gone <- struct{}{}
		}()
	}
	in.Wait()
	b.ReportAllocs()
	for b.Loop() {
		if err := p.CertificateAllowed(context.Background(), "api.example.com"); err != errUnverified {
			b.Fatal(err)
		}
	}
	rt.table.Delete("*.example.com")
	for range cap(gone) {
		<-gone
	}
}
