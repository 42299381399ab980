package certs

import (
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	// inFlight is how many orders ours has under way at once.
	inFlight = 32
	// burst is how many certificates stock Caddy as shipped obtains before its
	// throttle sets in, throttle how long it is watched: it goes on at the pace of
	// those after the burst.
	burst, throttle = 10, 41 * time.Second
)

// stockBulk gives stock Caddy all its names at once. They are proven by HTTP-01
// or TLS-ALPN-01, as it likes, or by dns01 in a zone of ours that it holds itself.
func (w *world) stockBulk(b *testing.B, program string, dns01 bool) figures {
	b.Helper()
	config, zone := w.stockConfig, freePorts(b, 1)[0]
	if dns01 {
		config = w.stockDNS01(zone)
	}
	w.resolver(b, zone)
	const dir = "stock"
	storage := filepath.Join(w.dir, dir, "storage")
	// Its jobs would stand in a queue for the file lock of an account that is yet
	// to be registered. A process of its own does that: a reload would cut
	// connections of the CA that validates.
	first := w.run(b, program, dir, config(dir, "", hostname(many, stock)))
	until(b, 60*time.Second, "the account", func() error {
		if len(certificates(storage)) == 0 {
			return fmt.Errorf("%s", first.tail())
		}
		return nil
	})
	first.stop()

	var hosts []string
	for i := range many {
		hosts = append(hosts, hostname(i, stock))
	}
	p := w.run(b, program, dir, config(dir, "", hosts...))
	defer p.stop()
	until(b, 60*time.Second, "the server", func() error { return listens(w.https, p) })
	cpu, began := p.cpu(b), time.Now()
	limit := 3 * time.Minute
	if program == "caddy" {
		limit = throttle
	}
	for stored := 0; stored < many && time.Since(began) < limit; {
		time.Sleep(250 * time.Millisecond) // the files tell when they were written
		stored = len(certificates(storage)) - 1
	}
	spent := p.cpu(b) - cpu
	var took []time.Duration
	for host, at := range certificates(storage) {
		if host != hostname(many, stock) {
			took = append(took, max(0, at.Sub(began)))
		}
	}
	b.Logf("%d of %d in %v; %d attempts failed", len(took), many, time.Since(began).Round(time.Millisecond), p.logged("could not get certificate from issuer"))
	if len(took) == 0 {
		b.Fatalf("no certificate in %v: %s", limit, p.tail())
	}
	slices.Sort(took)
	whole := slices.Max(took)
	if program == "caddy" && len(took) > burst {
		whole = time.Duration(float64(whole-took[burst-1]) * float64(len(took)) / float64(len(took)-burst))
	}
	return report(b, took, spent, whole)
}

// stockOnDemand has clients shake hands for names that stock Caddy, without its
// throttle, has no certificate for yet, one after another.
func (w *world) stockOnDemand(b *testing.B, n, clients int) figures {
	b.Helper()
	w.resolver(b, 0)
	const dir = "stock"
	p := w.run(b, "unthrottled", dir, w.stockConfig(dir, allow(b)))
	defer p.stop()
	until(b, 20*time.Second, "the server", func() error { return listens(w.https, p) })
	if _, err := w.handshake(hostname(many, stock)); err != nil { // the account
		b.Fatalf("%v: %s", err, p.tail())
	}
	cpu, began := p.cpu(b), time.Now()
	took := make([]time.Duration, n)
	var next, failed atomic.Int64
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				var err error
				if took[i], err = w.handshake(hostname(int(i), stock)); err != nil && failed.Add(1) == 1 {
					b.Errorf("%s: %v: %s", hostname(int(i), stock), err, p.tail())
				}
			}
		})
	}
	wg.Wait()
	if f := failed.Load(); f > 0 {
		b.Fatalf("%d of %d handshakes failed", f, n)
	}
	return report(b, took, p.cpu(b)-cpu, time.Since(began))
}
