package pages

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/heapprofiler"
	"github.com/chromedp/chromedp"

	"github.com/apoxy-dev/caddy-apoxy/bench"
)

const rows = `document.querySelectorAll("#found tbody tr").length`

// A hundred thousand records are paged through, searched and followed in a real browser
// that never has more than a page of them.
func TestGuardListInABrowser(t *testing.T) {
	w := newWorld(t)
	w.open(t, w.pages+"/")
	w.says(t, "how many there are", fmt.Sprintf(`document.querySelector("#records").innerText.replace(/[^0-9A-Za-z]/g, "").includes("%d")`, records))
	w.open(t, w.pages+"/records")
	if n := eval[int](t, w, rows); n < 20 || n > 100 {
		t.Errorf("the first page has %d rows", n)
	}
	first := eval[string](t, w, `document.querySelector("#found tbody a").innerText`)
	eval[bool](t, w, `window.kept = true; document.querySelector("#found a[rel=next]").click(); true`)
	w.says(t, "the next page", fmt.Sprintf(`document.querySelector("#found tbody a")?.innerText > %q`, first))

	one := bench.Hostname(records / 2)
	w.open(t, w.pages+"/records")
	eval[bool](t, w, fmt.Sprintf(`window.kept = true; const i = document.querySelector("main input[type=search]"); i.value = %q; i.dispatchEvent(new Event("input", {bubbles: true})); true`, one))
	w.says(t, "what was searched for", rows+" === 1")
	w.relabel(t, one, "somebody-else")
	w.says(t, "the new owner", `document.querySelector("#found").innerText.includes("somebody-else")`)
	if !eval[bool](t, w, `window.kept === true`) {
		t.Error("the page was loaded again to show it")
	}
	if n := eval[int](t, w, `document.querySelectorAll("*").length`); n > 5000 {
		t.Errorf("the page has %d elements", n)
	}
}

// BenchmarkPages is how soon the pages are there, what they weigh and what one that is
// left open costs.
func BenchmarkPages(b *testing.B) {
	w := newWorld(b)
	w.settle(b)
	for name, path := range map[string]string{"overview": "/", "list": "/records", "record": "/records/" + bench.Hostname(7)} {
		b.Run(name, func(b *testing.B) {
			var paints, answers []float64
			for range 10 {
				w.open(b, w.pages+path)
				w.says(b, "its first paint", `performance.getEntriesByName("first-contentful-paint").length > 0`)
				paints = append(paints, eval[float64](b, w, `performance.getEntriesByName("first-contentful-paint")[0].startTime`))
				_, took, err := get(w.pages + path)
				if err != nil {
					b.Fatal(err)
				}
				answers = append(answers, took.Seconds()*1000)
			}
			weight := eval[float64](b, w, `[...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")].reduce((n, e) => n + e.encodedBodySize, 0)`)
			if err := chromedp.Do(w.tab, chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
				_, err := cdp.Call(ctx, t, heapprofiler.CollectGarbage, cdp.Empty{})
				return err
			})); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(median(paints), "ms-first-paint")
			b.ReportMetric(median(answers), "ms-answer")
			b.ReportMetric(weight/1024, "KiB")
			b.ReportMetric(eval[float64](b, w, `performance.memory.usedJSHeapSize`)/(1<<20), "MiB-heap")
			b.ReportMetric(w.open20(b, path), "%-of-a-core-open")
		})
	}
	b.Run("search", func(b *testing.B) {
		for name, q := range map[string]string{
			"hostname": bench.Hostname(records - 1), "middle": "customer-0", "none": "nobody-has-this", "owner": "tenant-000123", "label": "us-east", "reason": "CertificateIssued",
		} {
			var all []float64
			for range 9 {
				_, took, err := get(w.pages + "/records?q=" + url.QueryEscape(q))
				if err != nil {
					b.Fatal(err)
				}
				all = append(all, took.Seconds()*1000)
			}
			b.ReportMetric(median(all), "ms-"+name)
		}
		b.ReportMetric(0, "ns/op")
	})
}

// open20 leaves a page open for some time, in turns with none, and returns what share of a
// core it costs the product beyond what it does without: the median of three turns.
func (w *world) open20(b *testing.B, path string) float64 {
	b.Helper()
	const long = 20 * time.Second
	share := func(url string) float64 {
		w.open(b, url)
		before := w.cpu(b)
		time.Sleep(long) // what goes by is what is measured
		return float64(w.cpu(b)-before) / float64(long) * 100
	}
	var all []float64
	for range 3 {
		idle := share("about:blank")
		all = append(all, share(w.pages+path)-idle)
	}
	return median(all)
}

// settle waits until the product has taken up all records; with many of them that it looks
// at in vain it has work beside, which is said.
func (w *world) settle(b *testing.B) {
	b.Helper()
	var used time.Duration
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); {
		before := w.cpu(b)
		time.Sleep(time.Second) // of a process that works all the while
		if used = w.cpu(b) - before; used < 100*time.Millisecond {
			return
		}
	}
	b.Logf("the product uses %v a second beside", used)
}

func median(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}
