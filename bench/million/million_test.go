package million

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/bench"
)

var only = flag.String("only", "", "which parts of the day: starts, rests, lists, works, writes, watches, bulk; default: all")

// BenchmarkMillion goes through the day of a node: it starts, rests, is asked, is reloaded,
// and takes up new records. One run makes all figures: -benchtime 1x -v.
func BenchmarkMillion(b *testing.B) {
	w := newWorld(b)
	parts := []struct {
		name string
		do   func(*testing.B)
	}{{"starts", w.starts}, {"rests", w.rests}, {"lists", w.lists}, {"works", w.works}, {"writes", w.writes}, {"watches", w.watches}, {"bulk", w.bulk}}
	for b.Loop() {
		if !strings.Contains(*only, "starts") && *only != "" {
			w.start(b)
		}
		for _, p := range parts {
			if *only == "" || strings.Contains(*only, p.name) {
				p.do(b)
			}
		}
	}
}

// starts: how long it takes until all is answered, after an orderly end and after kill -9
// amid writes, and what it all costs in memory.
func (w *world) starts(b *testing.B) {
	for _, after := range []string{"an orderly end", "kill -9"} {
		zone, site, api := w.start(b)
		used := w.cpu(b)
		b.Logf("start after %s: DNS %.2f s, a site %.2f s, API %.2f s, %.1f cpu-s", after, zone.Seconds(), site.Seconds(), api.Seconds(), used.Seconds())
		if after == "kill -9" {
			return
		}
		began := time.Now()
		w.profiled(b, "told", func() { w.quiet(b, 5*time.Minute) })
		b.Logf("told of all, and at rest, after %.0f s more and %.1f cpu-s in all", time.Since(began).Seconds(), w.cpu(b).Seconds())
		anonymous, live := w.memory(b)
		info, err := os.Stat(w.file)
		if err != nil {
			b.Fatal(err)
		}
		n := *records
		b.Logf("memory: %.2f GiB outside of files, live heap %.2f GiB, %d B a record; file %d B a record", float64(anonymous)/(1<<30), float64(live)/(1<<30), live/n, int(info.Size())/n)
		ctx, cancel := context.WithCancel(b.Context())
		var writing sync.WaitGroup
		writing.Go(func() { w.patching(ctx, 500, nil) })
		for before := w.revision(ctx, b); w.revision(ctx, b) < before+1000; {
			time.Sleep(20 * time.Millisecond) // until there is something to recover
		}
		w.kill(b)
		cancel()
		writing.Wait()
	}
}

// quiet waits until Caddy takes less than a twentieth of a core.
func (w *world) quiet(b *testing.B, most time.Duration) {
	for last, end := w.cpu(b), time.Now().Add(most); time.Now().Before(end); {
		time.Sleep(2 * time.Second)
		now := w.cpu(b)
		if now-last < 200*time.Millisecond {
			return
		}
		last = now
	}
	b.Log("Caddy never came to rest")
}

// rests: a minute in which nothing happens.
func (w *world) rests(b *testing.B) {
	w.quiet(b, 5*time.Minute)
	const rest = time.Minute
	cpu, asked, revision := w.cpu(b), w.net.questions.Load(), w.revision(b.Context(), b)
	time.Sleep(rest)
	b.Logf("at rest: %.1f questions a second to the outside, %.1f %% of a core, %d writes in %v",
		float64(w.net.questions.Load()-asked)/rest.Seconds(), 100*(w.cpu(b)-cpu).Seconds()/rest.Seconds(), w.revision(b.Context(), b)-revision, rest)
}

// lists: first pages by selectors, while 200 records a second are written.
func (w *world) lists(b *testing.B) {
	ctx, cancel := context.WithCancel(b.Context())
	var writing sync.WaitGroup
	defer writing.Wait()
	defer cancel()
	writing.Go(func() { w.patching(ctx, 200, nil) })
	for _, q := range []struct{ what, query string }{
		{"one owner's", "labelSelector=" + url.QueryEscape(v1alpha3.OwnerLabel+"=tenant-000100")},
		{"a hostname's", "fieldSelector=" + url.QueryEscape("spec.name="+bench.Hostname(4711))},
		{"phase Active", "fieldSelector=" + url.QueryEscape("status.phase=Active")},
		{"phase Pending", "fieldSelector=" + url.QueryEscape("status.phase=Pending")},
		{"a condition's reason", "fieldSelector=" + url.QueryEscape("status.conditions.TLSReady.reason=RateLimited")},
		{"any", ""},
	} {
		var took []time.Duration
		for range 50 {
			began := time.Now()
			if _, err := get(list + "?limit=500&" + q.query); err != nil {
				b.Fatal(err)
			}
			took = append(took, time.Since(began))
		}
		b.Logf("first page of %s: %s", q.what, spread(took))
	}
}

// probe asks every so often, and keeps how long each answer took.
type probe struct {
	what   string
	ask    func(i int) error
	every  time.Duration
	took   []time.Duration
	failed int
	err    error
}

func (p *probe) run(ctx context.Context) {
	tick := time.NewTicker(p.every)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		began := time.Now()
		if err := p.ask(i); err != nil {
			p.failed++
			p.err = err
		}
		p.took = append(p.took, time.Since(began))
	}
}

// works: reloads, validations and scrapes beside writes, and what visitors notice.
func (w *world) works(b *testing.B) {
	config, err := exec.Command(w.program, "adapt", "--config", w.config, "--adapter", "caddyfile").Output()
	if err != nil {
		b.Fatal(err)
	}
	n := 0
	for _, work := range []struct {
		what string
		do   func() error
	}{
		{"nothing", func() error { time.Sleep(5 * time.Second); return nil }},
		{"reload", func() error { n++; return w.reload(config, n) }},
		{"caddy validate", func() error {
			out, err := exec.Command(w.program, "validate", "--config", w.config, "--adapter", "caddyfile").CombinedOutput()
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		}},
		{"metrics scrape", func() error { _, err := get(admin + "/metrics"); return err }},
	} {
		ctx, cancel := context.WithCancel(b.Context())
		var running sync.WaitGroup
		probes := []*probe{
			{what: "DNS", every: time.Millisecond, ask: func(i int) error { return resolves(bench.Hostname(i * 7919 % *records)) }},
			{what: "request", every: 5 * time.Millisecond, ask: func(i int) error { return visit(bench.Hostname(i * 7919 % *records)) }},
			{what: "handshake", every: 20 * time.Millisecond, ask: handshake},
		}
		for _, p := range probes {
			running.Go(func() { p.run(ctx) })
		}
		var failed atomic.Int64
		running.Go(func() { w.patching(ctx, 200, &failed) })
		var took []time.Duration
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
			began := time.Now()
			if err := work.do(); err != nil {
				b.Errorf("%s: %v", work.what, err)
			}
			took = append(took, time.Since(began))
			time.Sleep(200 * time.Millisecond) // the pace of the work
		}
		cancel()
		running.Wait()
		said := ""
		for _, p := range probes {
			said += fmt.Sprintf("; %s %s, %d failed", p.what, spread(p.took), p.failed)
			if p.err != nil {
				said += fmt.Sprintf(" (%v)", p.err)
			}
		}
		b.Logf("%s: %s, beside 200 writes a second (%d failed)%s", work.what, spread(took), failed.Load(), said)
	}
}

// reload loads the configuration again, with something different in it.
func (w *world) reload(config []byte, n int) error {
	config = bytes.Replace(config, []byte(`"body":"answered"`), fmt.Appendf(nil, `"headers":{"N":["%d"]},"body":"answered"`, n), 1)
	resp, err := client.Post(admin+"/load", "application/json", bytes.NewReader(config))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if text, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", resp.Status, text)
	}
	return nil
}

func handshake(int) error {
	conn, err := tls.Dial("tcp", https, &tls.Config{ServerName: bench.Hostname(0), InsecureSkipVerify: true})
	if err != nil {
		return err
	}
	return conn.Close()
}

// patching changes labels of records, so many a second, until the context ends.
func (w *world) patching(ctx context.Context, rate int, failed *atomic.Int64) {
	const writers = 8
	var all sync.WaitGroup
	for k := range writers {
		all.Go(func() {
			tick := time.NewTicker(time.Second * writers / time.Duration(rate))
			defer tick.Stop()
			for i := k; ; i += writers {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
				body := fmt.Sprintf(`{"metadata":{"labels":{"n":"%d"}}}`, i)
				err := send(ctx, http.MethodPatch, list+"/"+bench.Hostname((i*7919+13)%*records), "application/merge-patch+json", []byte(body))
				if err != nil && ctx.Err() == nil && failed != nil {
					failed.Add(1)
				}
			}
		})
	}
	all.Wait()
}

func send(ctx context.Context, method, url, kind string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", kind)
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %.300s, %v", method, url, resp.Status, text, err)
	}
	return nil
}

// fresh is a record that is created: of customers that are not among the others.
func fresh(i int) []byte {
	r := bench.Record(*records + i)
	r.Status, r.UID, r.ManagedFields = v1alpha3.DomainRecordStatus{}, "", nil
	text, err := json.Marshal(r)
	if err != nil {
		panic(err) // a record of ours always encodes
	}
	return text
}

// writes: 64 writers create records, and then apply them with another label.
func (w *world) writes(b *testing.B) {
	const n, writers = 20_000, 64
	for _, c := range []struct {
		what string
		do   func(i int) error
	}{
		{"create", func(i int) error { return send(b.Context(), http.MethodPost, list, "application/json", fresh(i)) }},
		{"server-side apply", func(i int) error {
			text := bytes.Replace(fresh(i), []byte(`"plan":"`), []byte(`"plan":"other-`), 1)
			return send(b.Context(), http.MethodPatch, list+"/"+bench.Hostname(*records+i)+"?fieldManager=bench&force=true", "application/apply-patch+yaml", text)
		}},
	} {
		var next atomic.Int64
		took := make([]time.Duration, n)
		var all sync.WaitGroup
		cpu, began, revision, asked := w.cpu(b), time.Now(), w.revision(b.Context(), b), w.net.questions.Load()
		for range writers {
			all.Go(func() {
				for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
					at := time.Now()
					if err := c.do(i); err != nil {
						b.Error(err)
						return
					}
					took[i] = time.Since(at)
				}
			})
		}
		w.profiled(b, c.what, all.Wait)
		b.Logf("%s, %d writers: %.0f a second, %s; meanwhile, for each, %.0f cpu-µs, %.1f writes of the store and %.1f questions", c.what, writers,
			n/time.Since(began).Seconds(), spread(took), float64((w.cpu(b)-cpu).Microseconds())/n,
			float64(w.revision(b.Context(), b)-revision)/n, float64(w.net.questions.Load()-asked)/n)
	}
}

// watches: how late a watch of one owner's records has an event, among 2,000 writes a second.
func (w *world) watches(b *testing.B) {
	w.quiet(b, 2*time.Minute)
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, list+"?watch=true&resourceVersion="+strconv.Itoa(w.revision(ctx, b))+"&labelSelector="+url.QueryEscape(v1alpha3.OwnerLabel+"=tenant-000000"), nil)
	if err != nil {
		b.Fatal(err)
	}
	resp, err := client.Transport.RoundTrip(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		b.Fatalf("watching: %v, %v", resp, err)
	}
	defer resp.Body.Close()
	seen := make(chan string, 100)
	go func() {
		events := bufio.NewReaderSize(resp.Body, 64<<10)
		for {
			line, err := events.ReadString('\n')
			if err != nil {
				return
			}
			seen <- line
		}
	}()
	var written sync.WaitGroup
	defer written.Wait()
	defer cancel()
	before, began := w.revision(ctx, b), time.Now()
	written.Go(func() { w.patching(ctx, 2000, nil) })
	var late []time.Duration
	w.profiled(b, "watch", func() { late = w.marks(ctx, b, seen) })
	rate := float64(w.revision(ctx, b)-before) / time.Since(began).Seconds()
	b.Logf("a watch of one owner among %.0f writes a second has an event, from before its write, after %s", rate, spread(late))
}

// marks writes to the first record again and again, and returns how long it took each time
// until its event was seen.
func (w *world) marks(ctx context.Context, b *testing.B, seen <-chan string) (late []time.Duration) {
	for i := range 300 {
		mark := fmt.Sprintf("mark-%d-", i)
		at := time.Now()
		if err := send(ctx, http.MethodPatch, list+"/"+bench.Hostname(0), "application/merge-patch+json", fmt.Appendf(nil, `{"metadata":{"annotations":{"mark":%q}}}`, mark)); err != nil {
			b.Fatal(err)
		}
		for done := false; !done; {
			select {
			case line := <-seen:
				done = strings.Contains(line, mark)
			case <-time.After(10 * time.Second):
				b.Fatal("an event never came")
			}
		}
		late = append(late, time.Since(at))
		time.Sleep(20 * time.Millisecond) // the pace of the load
	}
	return late
}

// bulk: one command applies 100,000 files, and again.
func (w *world) bulk(b *testing.B) {
	w.quiet(b, 2*time.Minute)
	const n = 100_000
	dir := b.TempDir()
	for i := range n {
		name := fmt.Sprintf("n%06d.bulk.customer-%06d.example", i, 900_000+i/4)
		text := fmt.Sprintf("apiVersion: core.apoxy.dev/v1alpha3\nkind: DomainRecord\nmetadata:\n  name: %s\n  labels:\n    core.apoxy.dev/owner: bulk-%d\nspec:\n  name: %[1]s\n  tls: {}\n  target:\n    ref:\n      kind: Gateway\n      name: default\n", name, i/4)
		if err := os.WriteFile(filepath.Join(dir, name+".yaml"), []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	for _, what := range []string{"created", "unchanged"} {
		cpu, began := w.cpu(b), time.Now()
		cmd := exec.Command(w.program, "apoxy", "apply", "-f", dir)
		out, err := cmd.Output()
		if err != nil || bytes.Count(out, []byte(" "+what)) < n*9/10 {
			b.Fatalf("applying a folder: %v: %.2000s", err, out)
		}
		command := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		b.Logf("apply -f of %d files, %s: %.0f a second; the server %.0f cpu-µs each, looks that begin included, the command %.0f", n, what,
			n/time.Since(began).Seconds(), float64((w.cpu(b)-cpu).Microseconds())/n, float64(command.Microseconds())/n)
	}
}

// spread says the median, p99, p99.9 and the longest of some times.
func spread(all []time.Duration) string {
	slices.Sort(all)
	at := func(q float64) float64 {
		return float64(all[min(len(all)-1, int(q*float64(len(all))))].Microseconds()) / 1000
	}
	return fmt.Sprintf("median %.2f ms, p99 %.2f, p99.9 %.2f, most %.2f (%d)", at(0.5), at(0.99), at(0.999), at(1), len(all))
}
