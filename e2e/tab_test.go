package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	cdnetwork "github.com/chromedp/cdproto/network"
	cdpage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// tab is one page of a real browser that a test reads and works with.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu         sync.Mutex
	complaints []string // what the browser found wrong: scripts, styles and images it refused
	asked      []string // URLs of requests
}

// tabPatience bounds what a page may take to do anything.
const tabPatience = 40 * time.Second

// tab opens a tab in a browser of its own, which ends with the test.
func (b *browser) tab(t *testing.T) *tab {
	t.Helper()
	home := b.home
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()),
		chromedp.Env("HOME="+home, "XDG_CONFIG_HOME="+home, "XDG_CACHE_HOME="+home),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-site-isolation-trials", true), // frames are looked into chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.WSURLReadTimeout(time.Minute))
	allocated, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(allocated)
	t.Cleanup(cancel)
	tb := &tab{t: t, ctx: ctx}
	err := chromedp.Listen(ctx, tb.hear)
	if err == nil {
		err = chromedp.Do(ctx, says(log.Enable, cdp.Empty{}), says(cdnetwork.Enable, cdnetwork.EnableParams{}), says(runtime.Enable, cdp.Empty{}))
	}
	if err != nil {
		t.Fatalf("starting the browser: %v", err)
	}
	tb.viewport(1280, 900)
	return tb
}

// says is a command of the DevTools protocol whose answer does not matter.
func says[P, R any](c cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, c, params)
		return err
	})
}

// hear takes down what the browser complains of and asks for.
func (tb *tab) hear(event any) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	switch e := event.(type) {
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Source == log.EntrySourceSecurity {
			tb.complaints = append(tb.complaints, fmt.Sprintf("%s: %s (%s)", e.Entry.Source, e.Entry.Text, e.Entry.URL))
		}
	case *runtime.EventExceptionThrown:
		tb.complaints = append(tb.complaints, fmt.Sprintf("%s: %+v", e.ExceptionDetails.Text, e.ExceptionDetails.Exception))
	case *cdnetwork.EventRequestWillBeSent:
		tb.asked = append(tb.asked, e.Request.URL)
	}
}

// quiet fails the test if the browser has complained of anything.
func (tb *tab) quiet() {
	tb.t.Helper()
	tb.mu.Lock()
	defer tb.mu.Unlock()
	for _, c := range tb.complaints {
		tb.t.Errorf("the browser complains: %s", c)
	}
	tb.complaints = nil
}

// run fails the test if the browser cannot do something in time.
func (tb *tab) run(what string, actions ...chromedp.Action[chromedp.Void]) {
	tb.t.Helper()
	ctx, cancel := context.WithTimeout(tb.ctx, tabPatience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		tb.t.Fatalf("%s: %v; the page:\n%s", what, err, tb.document())
	}
}

// document is the page as text, as far as there is one.
func (tb *tab) document() string {
	ctx, cancel := context.WithTimeout(tb.ctx, 5*time.Second)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.body ? document.body.innerText : ""`))
	if err != nil {
		return err.Error()
	}
	return text
}

// open shows a URL and returns once it is loaded.
func (tb *tab) open(url string) {
	tb.t.Helper()
	tb.run("opening "+url, chromedp.Navigate(url))
}

// eval is what an expression of JavaScript gives, once it has settled if it is a promise.
func eval[T any](tb *tab, expression string) (v T) {
	tb.t.Helper()
	ctx, cancel := context.WithTimeout(tb.ctx, tabPatience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, func(p *runtime.EvaluateParams) {
		awaited := true
		p.AwaitPromise = &awaited
	}))
	if err != nil {
		tb.t.Fatalf("evaluating %.200s: %v; the page:\n%s", expression, err, tb.document())
	}
	return v
}

// await waits until an expression of JavaScript is true, whatever page is there by then.
func (tb *tab) await(what, expression string) {
	tb.t.Helper()
	err := testnet.Until(tabPatience, what, func() error {
		ctx, cancel := context.WithTimeout(tb.ctx, 5*time.Second)
		defer cancel()
		is, err := chromedp.Run(ctx, chromedp.Evaluate[bool](expression))
		if err == nil && !is {
			err = errors.New("it is not so")
		}
		return err
	})
	if err != nil {
		tb.t.Fatalf("%v; the page:\n%s", err, tb.document())
	}
}

// says waits until the page says a text.
func (tb *tab) says(text string) {
	tb.t.Helper()
	quoted, err := json.Marshal(text)
	if err != nil {
		tb.t.Fatal(err)
	}
	tb.await("the page to say "+text, "document.body.innerText.includes("+string(quoted)+")")
}

// click presses what a CSS selector finds. Where a live page puts another in its place
// before the mouse is there, that one is pressed.
func (tb *tab) click(selector string) {
	tb.t.Helper()
	ctx, cancel := context.WithTimeout(tb.ctx, tabPatience)
	defer cancel()
	for {
		err := chromedp.Do(ctx, chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible))
		if err == nil {
			return
		}
		if gone := strings.Contains(err.Error(), "Could not find node") || strings.Contains(err.Error(), "No node with given id"); !gone || ctx.Err() != nil {
			tb.t.Fatalf("clicking %s: %v; the page:\n%s", selector, err, tb.document())
		}
	}
}

// enter types into what a CSS selector finds.
func (tb *tab) enter(selector, text string) {
	tb.t.Helper()
	tb.run("typing into "+selector, chromedp.SendKeys(chromedp.CSS(selector), text))
}

// viewport is how large the window is, in CSS pixels.
func (tb *tab) viewport(width, height int64) {
	tb.t.Helper()
	tb.run("setting the viewport", chromedp.EmulateViewport(width, height))
}

// dark has the page shown to a reader who likes it dark.
func (tb *tab) dark() {
	tb.t.Helper()
	tb.run("asking for dark colours", says(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}}))
}

// script turns the page's own scripts off and on; open the page again after it.
func (tb *tab) script(on bool) {
	tb.t.Helper()
	tb.run("turning scripts", says(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !on}))
}

// fits fails the test if the page is wider than the window.
func (tb *tab) fits() {
	tb.t.Helper()
	wide := eval[[]int](tb, `[document.documentElement.scrollWidth, document.documentElement.clientWidth]`)
	if wide[0] > wide[1] {
		tb.t.Errorf("the page is %d pixels wide in a window of %d", wide[0], wide[1])
	}
}

// shot writes the whole page as a picture to the directory screenshots, or to that which
// E2E_SCREENSHOTS names.
func (tb *tab) shot(name string) {
	tb.t.Helper()
	ctx, cancel := context.WithTimeout(tb.ctx, tabPatience)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		tb.t.Fatalf("taking a screenshot: %v", err)
	}
	dir := os.Getenv("E2E_SCREENSHOTS")
	if dir == "" {
		dir = "screenshots"
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		tb.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
		tb.t.Fatal(err)
	}
}

// accessible fails the test for what axe-core finds, but for what it calls minor.
func (tb *tab) accessible(page string) {
	tb.t.Helper()
	axe, err := os.ReadFile(filepath.Join(testnet.Program("node_modules"), "axe-core", "axe.min.js"))
	if err != nil {
		tb.t.Fatal(err)
	}
	type finding struct {
		ID     string `json:"id"`
		Impact string `json:"impact"`
		Help   string `json:"help"`
		Nodes  []struct {
			HTML           string `json:"html"`
			FailureSummary string `json:"failureSummary"`
		} `json:"nodes"`
	}
	tb.run("loading axe-core", chromedp.Evaluate[chromedp.Void](string(axe)))
	for _, f := range eval[[]finding](tb, `axe.run(document, {resultTypes: ["violations"]}).then((r) => r.violations)`) {
		if f.Impact == "minor" {
			continue
		}
		for _, n := range f.Nodes {
			tb.t.Errorf("%s: %s (%s): %s\n%s\n%s", page, f.ID, f.Impact, f.Help, n.HTML, n.FailureSummary)
		}
	}
}

// asksOnly fails the test if the page has asked for anything elsewhere.
func (tb *tab) asksOnly(origin string) {
	tb.t.Helper()
	tb.mu.Lock()
	defer tb.mu.Unlock()
	for _, url := range tb.asked {
		if !strings.HasPrefix(url, origin+"/") && !strings.HasPrefix(url, "data:") && url != "about:blank" {
			tb.t.Errorf("the page asks for %s", url)
		}
	}
}

// framed reports whether a frame of the page has a document that names something.
func (tb *tab) framed(t *testing.T, text string) bool {
	t.Helper()
	var shown bool
	tb.run("looking into the frames", chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		tree, err := cdp.Call(ctx, target, cdpage.GetFrameTree, cdp.Empty{})
		if err != nil {
			return err
		}
		for _, f := range tree.FrameTree.ChildFrames {
			world, err := cdp.Call(ctx, target, cdpage.CreateIsolatedWorld, cdpage.CreateIsolatedWorldParams{FrameID: f.Frame.ID})
			if err != nil {
				return err
			}
			said, err := cdp.Call(ctx, target, runtime.Evaluate, runtime.EvaluateParams{
				Expression: "document.body ? document.body.innerText : ''", ContextID: world.ExecutionContextID})
			if err != nil {
				return err
			}
			shown = shown || strings.Contains(string(said.Result.Value), text)
		}
		return nil
	}))
	return shown
}
