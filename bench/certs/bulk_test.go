package certs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

const (
	many     = 1000
	single   = 40
	throttle = 20 * time.Second // how long stock Caddy as shipped is watched
)

// BenchmarkObtain obtains certificates: 1,000 at once ("bulk") and one after
// another ("single"), ours before stock Caddy on the same CA. In bulk, stock
// Caddy gets its names statically and has its account already; single, on demand.
//
// Each run has a Pebble of its own, because Pebble locks up now and then under
// many orders at once (a lock order of its own between orders and its database);
// such a run fails and is repeated.
func BenchmarkObtain(b *testing.B) {
	b.Run("ours/bulk", func(b *testing.B) {
		w := newWorld(b)
		p := w.product(b, "bulk", many+1, w.directory)
		defer p.stop()
		p.create(b, many)
		p.await(b, many) // the account
		cpu, began := p.cpu(b), time.Now()
		seen := p.watch(b, many)
		var wg sync.WaitGroup
		for worker := range 8 {
			wg.Go(func() {
				for i := worker; i < many; i += 8 {
					if err := p.submit(hostname(i, ours)); err != nil {
						b.Error(err)
					}
				}
			})
		}
		wg.Wait()
		b.Logf("%d records were created in %v", many, time.Since(began).Round(time.Millisecond))
		took := seen()
		report(b, took, p.cpu(b)-cpu, time.Since(began))
	})
	b.Run("ours/single", func(b *testing.B) {
		w := newWorld(b)
		p := w.product(b, "single", single+1, w.directory)
		defer p.stop()
		p.create(b, single)
		p.await(b, single)
		cpu := p.cpu(b)
		var took []time.Duration
		began := time.Now()
		for i := range single {
			seen := p.watch(b, 1)
			if err := p.submit(hostname(i, ours)); err != nil {
				b.Fatal(err)
			}
			took = append(took, seen()...)
		}
		report(b, took, p.cpu(b)-cpu, time.Since(began))
	})
	for _, program := range []string{"unthrottled", "caddy"} {
		name := map[string]string{"unthrottled": "stock without throttle", "caddy": "stock"}[program]
		b.Run(name+"/bulk", func(b *testing.B) {
			w := newWorld(b)
			w.nameServer(b, many+1)
			dir := program + "-bulk"
			p := w.run(b, program, dir, w.stockConfig(dir, "", hostname(many, stock)))
			defer p.stop()
			storage := filepath.Join(w.dir, dir, "storage")
			until(b, 60*time.Second, "the account", func() error {
				if len(certificates(storage)) == 0 {
					return fmt.Errorf("%s", p.tail())
				}
				return nil
			})
			var hosts []string
			for i := range many + 1 {
				hosts = append(hosts, hostname(i, stock))
			}
			config := w.write(b, filepath.Join(dir, "all"), w.stockConfig(dir, "", hosts...))
			cpu, began := p.cpu(b), time.Now()
			if out, err := command(b, "reload", "--config", config, "--adapter", "caddyfile", "--address", fmt.Sprintf("127.0.0.1:%d", w.admin)); err != nil {
				b.Fatalf("%v: %s", err, out)
			}
			limit, last := 90*time.Second, 0
			if program == "caddy" {
				limit = throttle
			}
			for time.Since(began) < limit && last < many+1 {
				time.Sleep(100 * time.Millisecond)
				last = len(certificates(storage))
			}
			var took []time.Duration
			for _, at := range certificates(storage) {
				if at.After(began) {
					took = append(took, at.Sub(began))
				}
			}
			if len(took) == 0 {
				b.Fatalf("no certificate in %v: %s", limit, p.tail())
			}
			b.Logf("%d of %d in %v", len(took), many, time.Since(began).Round(time.Millisecond))
			report(b, took, p.cpu(b)-cpu, slices.Max(took))
		})
	}
	b.Run("stock without throttle/single", func(b *testing.B) {
		w := newWorld(b)
		w.nameServer(b, many+1)
		dir := "unthrottled-single"
		p := w.run(b, "unthrottled", dir, w.stockConfig(dir, allow(b)))
		defer p.stop()
		until(b, 20*time.Second, "the server", func() error { return listens(w.https, p) })
		if _, err := w.handshake(hostname(many, stock)); err != nil {
			b.Fatal(err)
		}
		cpu, began := p.cpu(b), time.Now()
		var took []time.Duration
		for i := range single {
			d, err := w.handshake(hostname(i, stock))
			if err != nil {
				b.Fatal(err)
			}
			took = append(took, d)
		}
		report(b, took, p.cpu(b)-cpu, time.Since(began))
	})
}

func command(b *testing.B, args ...string) (string, error) {
	b.Helper()
	built, err := programs()
	if err != nil {
		b.Fatal(err)
	}
	out, err := exec.Command(built["caddy"], args...).CombinedOutput()
	return string(out), err
}

// report gives the figures of a run.
func report(b *testing.B, took []time.Duration, cpu, whole time.Duration) {
	slices.Sort(took)
	b.ReportMetric(0, "ns/op")
	if len(took) == 0 {
		return
	}
	b.ReportMetric(float64(len(took))/whole.Seconds(), "certs/s")
	b.ReportMetric(float64(took[len(took)/2].Milliseconds()), "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Milliseconds()), "p99-ms")
	b.ReportMetric(float64(cpu.Microseconds())/1000/float64(len(took)), "cpu-ms/cert")
}

const recordsPath = "/apis/core.apoxy.dev/v1alpha3/domainrecords"

func (s *served) api(path string) string {
	return fmt.Sprintf("http://127.0.0.1:%d%s", s.w.admin, path)
}

// submit creates a record.
func (s *served) submit(host string) error {
	body, err := json.Marshal(map[string]any{
		"apiVersion": "core.apoxy.dev/v1alpha3", "kind": "DomainRecord", "metadata": map[string]any{"name": host},
		"spec": map[string]any{"name": host, "tls": map[string]any{},
			"target": map[string]any{"ref": map[string]any{"group": "gateway.apoxy.dev", "kind": "Gateway", "name": "default"}}},
	})
	if err != nil {
		return err
	}
	answer, err := http.Post(s.api(recordsPath), "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusCreated {
		err = fmt.Errorf("creating %s: %d %s", host, answer.StatusCode, text)
	}
	return err
}

func (s *served) create(b *testing.B, i int) {
	b.Helper()
	until(b, 20*time.Second, "the API", func() error { return s.submit(hostname(i, ours)) })
}

// seen is as much of a record as is needed to follow it.
type seen struct {
	Metadata struct{ Name, ResourceVersion string }
	Status   struct {
		Phase      string
		Conditions []struct{ Type, Status, Reason string }
	}
}

func (r *seen) is(kind, status string) bool {
	for _, c := range r.Status.Conditions {
		if c.Type == kind {
			return c.Status == status
		}
	}
	return false
}

func (s *served) await(b *testing.B, i int) {
	b.Helper()
	until(b, 60*time.Second, "a certificate", func() error {
		answer, err := http.Get(s.api(recordsPath + "/" + hostname(i, ours)))
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		var r seen
		if err := json.NewDecoder(answer.Body).Decode(&r); err != nil {
			return err
		}
		if !r.is("TLSReady", "True") {
			return fmt.Errorf("%+v: %s", r, s.tail())
		}
		return nil
	})
}

// watch follows all records from now on. The function it returns waits until n
// of them have a certificate and tells how long each took from its delegation
// having been seen, which is what allows it, to TLSReady.
func (s *served) watch(b *testing.B, n int) func() []time.Duration {
	b.Helper()
	answer, err := http.Get(s.api(recordsPath + "?watch=true"))
	if err != nil {
		b.Fatal(err)
	}
	allowed, stored := map[string]time.Time{}, map[string]time.Duration{}
	done := make(chan struct{})
	began := time.Now()
	go func() {
		defer close(done)
		for d := json.NewDecoder(answer.Body); len(stored) < n; {
			var e struct{ Object seen }
			if d.Decode(&e) != nil {
				return
			}
			r, now := &e.Object, time.Now()
			name := r.Metadata.Name
			if _, known := allowed[name]; !known && r.is("TLSReady", "True") {
				continue // from before
			}
			if _, known := allowed[name]; !known && r.is("ACMEChallengeDelegationReady", "True") {
				allowed[name] = now
			}
			if at, known := allowed[name]; known && r.is("TLSReady", "True") && stored[name] == 0 {
				stored[name] = now.Sub(at)
			}
		}
	}()
	return func() []time.Duration {
		select {
		case <-done:
		case <-time.After(90 * time.Second): // Pebble locks up now and then
		}
		answer.Body.Close()
		<-done
		if len(stored) < n {
			b.Fatalf("%d of %d certificates in %v: %s", len(stored), n, time.Since(began), s.tail())
		}
		var out []time.Duration
		for _, d := range stored {
			out = append(out, d)
		}
		return out
	}
}
