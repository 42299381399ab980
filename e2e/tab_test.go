package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

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
const tabPatience = 20 * time.Second

// tab opens a tab in a browser of its own, which ends with the test.
func (b *browser) tab(t *testing.T) *tab {
	t.Helper()
	home := b.home
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()),
		chromedp.Env("HOME="+home, "XDG_CONFIG_HOME="+home, "XDG_CACHE_HOME="+home),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.WSURLReadTimeout(time.Minute))
	allocated, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(allocated)
	t.Cleanup(cancel)
	tb := &tab{t: t, ctx: ctx}
	chromedp.ListenTarget(ctx, tb.hear)
	if err := chromedp.Run(ctx, log.Enable(), cdnetwork.Enable(), runtime.Enable()); err != nil {
		t.Fatalf("starting the browser: %v", err)
	}
	tb.viewport(1280, 900)
	return tb
}

// hear takes down what the browser complains of and asks for.
func (tb *tab) hear(event any) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	switch e := event.(type) {
	case *log.EventEntryAdded:
		if e.Entry.Level == log.LevelError || e.Entry.Source == log.SourceSecurity {
			tb.complaints = append(tb.complaints, fmt.Sprintf("%s: %s (%s)", e.Entry.Source, e.Entry.Text, e.Entry.URL))
		}
	case *runtime.EventExceptionThrown:
		tb.complaints = append(tb.complaints, e.ExceptionDetails.Error())
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
func (tb *tab) run(what string, actions ...chromedp.Action) {
	tb.t.Helper()
	ctx, cancel := context.WithTimeout(tb.ctx, tabPatience)
	defer cancel()
	if err := chromedp.Run(ctx, actions...); err != nil {
		tb.t.Fatalf("%s: %v; the page:\n%s", what, err, tb.document())
	}
}

// document is the page as text, as far as there is one.
func (tb *tab) document() string {
	ctx, cancel := context.WithTimeout(tb.ctx, 5*time.Second)
	defer cancel()
	var text string
	if err := chromedp.Run(ctx, chromedp.Evaluate(`document.body ? document.body.innerText : ""`, &text)); err != nil {
		return err.Error()
	}
	return text
}

// open shows a URL and returns once it is loaded.
func (tb *tab) open(url string) {
	tb.t.Helper()
	tb.run("opening "+url, chromedp.Navigate(url))
}

// eval is what an expression of JavaScript gives, decoded into to.
func (tb *tab) eval(expression string, to any) {
	tb.t.Helper()
	tb.run("evaluating "+expression, chromedp.Evaluate(expression, to,
		func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }))
}

// await waits until an expression of JavaScript is true.
func (tb *tab) await(what, expression string) {
	tb.t.Helper()
	tb.run("waiting for "+what, chromedp.Poll(expression, nil, chromedp.WithPollingInterval(50*time.Millisecond), chromedp.WithPollingTimeout(tabPatience)))
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

// click presses what a CSS selector finds.
func (tb *tab) click(selector string) {
	tb.t.Helper()
	tb.run("clicking "+selector, chromedp.Click(selector, chromedp.ByQuery, chromedp.NodeVisible))
}

// enter types into what a CSS selector finds.
func (tb *tab) enter(selector, text string) {
	tb.t.Helper()
	tb.run("typing into "+selector, chromedp.Focus(selector, chromedp.ByQuery), chromedp.SendKeys(selector, text, chromedp.ByQuery))
}

// viewport is how large the window is, in CSS pixels.
func (tb *tab) viewport(width, height int64) {
	tb.t.Helper()
	tb.run("setting the viewport", chromedp.EmulateViewport(width, height))
}

// dark has the page shown to a reader who likes it dark.
func (tb *tab) dark() {
	tb.t.Helper()
	tb.run("asking for dark colours", emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}))
}

// script turns the page's own scripts off and on; open the page again after it.
func (tb *tab) script(on bool) {
	tb.t.Helper()
	tb.run("turning scripts", emulation.SetScriptExecutionDisabled(!on))
}

// fits fails the test if the page is wider than the window.
func (tb *tab) fits() {
	tb.t.Helper()
	var wide []int
	tb.eval(`[document.documentElement.scrollWidth, document.documentElement.clientWidth]`, &wide)
	if wide[0] > wide[1] {
		tb.t.Errorf("the page is %d pixels wide in a window of %d", wide[0], wide[1])
	}
}

// shot writes the whole page as a picture to the directory screenshots, or to that which
// E2E_SCREENSHOTS names.
func (tb *tab) shot(name string) {
	tb.t.Helper()
	var png []byte
	tb.run("taking a screenshot", chromedp.FullScreenshot(&png, 100))
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
	var findings []struct {
		ID, Impact, Help string
		Nodes            []struct {
			HTML           string
			FailureSummary string
		}
	}
	tb.run("loading axe-core", chromedp.Evaluate(string(axe), nil))
	tb.eval(`axe.run(document, {resultTypes: ["violations"]}).then((r) => r.violations)`, &findings)
	for _, f := range findings {
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
	tb.run("looking into the frames", chromedp.ActionFunc(func(ctx context.Context) error {
		tree, err := cdpage.GetFrameTree().Do(ctx)
		if err != nil {
			return err
		}
		for _, f := range tree.ChildFrames {
			if f.Frame.UnreachableURL != "" || !strings.HasPrefix(f.Frame.URL, "http") {
				continue
			}
			world, err := cdpage.CreateIsolatedWorld(f.Frame.ID).Do(ctx)
			if err != nil {
				return err
			}
			result, _, err := runtime.Evaluate("document.body ? document.body.innerText : ''").WithContextID(world).Do(ctx)
			if err != nil {
				return err
			}
			shown = shown || strings.Contains(string(result.Value), text)
		}
		return nil
	}))
	return shown
}

// listen opens a port on an address of loopback.
func listen(address string) (net.Listener, error) { return net.Listen("tcp", address+":0") }
