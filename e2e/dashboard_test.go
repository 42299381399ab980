package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	cdbrowser "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/chromedp"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// dashboardSite is a dashboard that may write, and one that may not below a path.
const (
	dashboardURL  = "http://" + testnet.ProductAddr + ":8090"
	dashboardSite = `
:8090 {
	apoxy_dashboard { allow_writes }
}
:8091 {
	handle_path /domains/* {
		apoxy_dashboard
	}
}
`
)

// hostile is what a tenant may put into a label's value or annotation, or a customer into
// DNS.
const hostile = `"><img src=x onerror=alert(1)><script>alert(2)</script>`

// A support person works with the dashboard in a real browser: finds who must act, watches
// a record become ready without reloading, copies what a customer needs.
func TestDashboardInABrowser(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{sites: dashboardSite})
	customer := customer(t, n, "dashboard")
	host := "api." + customer.name
	evil := `_apoxy-challenge.api TXT "<script>alert(3)</script>"`
	customer.set(t, evil)
	body := manifest(host, true)
	body["metadata"] = map[string]any{"name": host,
		"labels":      map[string]any{"core.apoxy.dev/owner": "acme", "team": "blue"},
		"annotations": map[string]any{"note": hostile}}
	if err := call(t.Context(), http.MethodPost, recordsPath, body, nil); err != nil {
		t.Fatal(err)
	}
	r := p.await(t, host, 15*time.Second, "the first look", is("CNAMEConfigured=False", "ACMEChallengeDelegationReady=False"))
	p.create(t, "other."+customer.name, false)
	www, wrong := p.create(t, "www."+customer.name, true), p.create(t, "blog."+customer.name, true)
	around := []string{www.line(t, "ACMEChallenge"), www.line(t, "Traffic"), "blog CNAME blog." + customer.name + ".cname.example."}
	customer.set(t, append(around, evil)...)
	p.await(t, www.Metadata.Name, 30*time.Second, "a ready neighbour", is("Ready=True"))
	p.await(t, wrong.Metadata.Name, 15*time.Second, "a wrong neighbour", is("CNAMEConfigured=False/CNAMEMismatch"))
	tb := newBrowser(t).tab(t)

	tb.open(dashboardURL + "/")
	tb.await("the doctor's findings", `!document.querySelector("#doctor").innerText.includes("has not looked")`)
	tb.says("Who must act")
	tb.says("customer")
	tb.accessible("the overview")
	tb.shot("dashboard-overview")

	// The list searches while one types, and the URL is one that can be sent.
	tb.click(`nav a[href$="records"]`)
	tb.says(host)
	tb.says("other." + customer.name)
	tb.shot("dashboard-list")
	eval[string](tb, `window.unloaded = "never"`)
	tb.enter(`main input[type=search]`, "api.dash")
	tb.await("the list to be what was searched for", fmt.Sprintf(`!document.querySelector("#found").innerText.includes(%q)`, "other."+customer.name))
	tb.await("the URL to say it", `new URL(location).searchParams.get("q") === "api.dash"`)
	tb.says(host)
	tb.accessible("the list")

	// The record says who must act, and what; it moves while it is looked at.
	tb.click(`#found a`)
	tb.says(r.wanted("ACMEChallenge").Value)
	tb.says(hostile)
	tb.says(`<script>alert(3)</script>`)
	tb.accessible("the record")
	tb.shot("dashboard-record")
	tb.click(`#servers`)
	tb.says("What every name server answers about _acme-challenge." + host + ".")
	tb.says(testnet.ProviderAddr)
	tb.accessible("the record with every name server's answer")
	for _, permission := range []string{"clipboard-read", "clipboard-write"} {
		if _, err := chromedp.CallBrowser(tb.ctx, cdbrowser.SetPermission, cdbrowser.SetPermissionParams{
			Permission: &cdbrowser.PermissionDescriptor{Name: permission}, Setting: cdbrowser.PermissionSettingGranted}); err != nil {
			t.Fatal(err)
		}
	}
	tb.click(`#dns [data-copy]`)
	tb.says("Copied")
	copied, wanted := eval[string](tb, `navigator.clipboard.readText()`), eval[string](tb, `document.querySelector("#dns [data-copy]").dataset.copy`)
	if copied == "" || copied != wanted {
		t.Errorf("copied is %q, want %q", copied, wanted)
	}
	eval[string](tb, `window.unloaded = "never"`)
	customer.set(t, append(around, r.line(t, "ACMEChallenge"), r.line(t, "Traffic"))...)
	tb.await("the record to be ready", `document.querySelector("#act").innerText.includes("Active")`)
	tb.says("Nothing to do")
	tb.await("the chain", `document.querySelector("#certificate").innerText.includes("Pebble")`)
	tb.await("the time line", `document.querySelector("#timeline").innerText.includes("CertificateIssued")`)
	if eval[string](tb, `window.unloaded || ""`) != "never" {
		t.Error("the page was loaded again to show it")
	}
	tb.shot("dashboard-record-ready")
	tb.quiet()

	tb.viewport(360, 740)
	for _, page := range []string{"/", "/records", "/records/" + host} {
		tb.open(dashboardURL + page)
		tb.fits()
	}
	tb.dark()
	tb.accessible("the record in the dark, on a phone")
	tb.shot("dashboard-record-dark")
	tb.viewport(1280, 900)

	// Check and delete, the latter asked about first.
	tb.open(dashboardURL + "/records/other." + customer.name)
	tb.click(`form[action$="/check"] button`)
	tb.says("The record was looked at just now")
	tb.click(`a[href$="/delete"]`)
	tb.says("Delete the record of other." + customer.name + "?")
	tb.accessible("the question")
	tb.click(`main form button`)
	tb.await("the record to be gone", `location.pathname.endsWith("/records")`)
	if names := p.names(t); slices.Contains(names, "other."+customer.name) || len(names) != 3 {
		t.Errorf("after the deletion there are %s", names)
	}
	tb.quiet()
	tb.asksOnly(dashboardURL)
}

// Without the script the same is shown and done, below any path; and nobody's page on
// another origin does it for the operator.
func TestDashboardWithoutScriptAndFromElsewhere(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{sites: dashboardSite})
	customer := customer(t, n, "plaindash")
	customer.set(t)
	one, two := "one."+customer.name, "two."+customer.name
	p.create(t, one, true)
	p.create(t, two, false)

	tb := newBrowser(t).tab(t)
	tb.script(false)
	readOnly := "http://" + testnet.ProductAddr + ":8091/domains"
	tb.run("opening the dashboard below a path", chromedp.Navigate(readOnly+"/"))
	tb.run("going to the records", chromedp.Click(chromedp.CSS(`nav a[href$="records"]`)), chromedp.WaitVisible(chromedp.CSS(`#found table`)))
	tb.run("searching", chromedp.SendKeys(chromedp.CSS(`main input[type=search]`), "two.pl"), chromedp.Submit(chromedp.CSS(`main form`)))
	tb.await("the answer", `location.search.includes("q=two.pl") && document.querySelector("#found table") !== null`)
	html, err := chromedp.Run(tb.ctx, chromedp.OuterHTML(chromedp.CSS(`#found`)))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(html, two) || strings.Contains(html, one) {
		t.Errorf("the search without a script finds:\n%s", html)
	}
	tb.run("opening a record", chromedp.Click(chromedp.CSS(`#found a`)), chromedp.WaitVisible(chromedp.CSS(`#dns`)))
	tb.quiet()

	for name, c := range map[string]struct {
		url    string
		header map[string]string
		status int
	}{
		"a dashboard that may not write":   {readOnly + "/records/" + one + "/check", nil, http.StatusMethodNotAllowed},
		"another origin":                   {dashboardURL + "/records/" + one + "/check", map[string]string{"Origin": "https://evil.example"}, http.StatusForbidden},
		"another site, by what Fetch says": {dashboardURL + "/records/" + one + "/check", map[string]string{"Sec-Fetch-Site": "cross-site"}, http.StatusForbidden},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range c.header {
			req.Header.Set(k, v)
		}
		answer, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != c.status {
			t.Errorf("a POST by %s is answered %d, want %d", name, answer.StatusCode, c.status)
		}
	}
	if answer, err := http.Get(adminURL + "/apoxy/"); err != nil || answer.StatusCode != http.StatusOK {
		t.Errorf("the dashboard on the admin endpoint: %v, %v", answer, err)
	} else {
		answer.Body.Close()
	}
}
