package e2e

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

const (
	setupURL  = "http://" + testnet.ProductAddr + ":8092"
	setupSite = `
:8092 {
	apoxy_setup {
		url ` + setupURL + `
		title "Acme domains"
		support help@acme.example
		frame_ancestors http://127.0.0.1:8095
	}
}
`
)

// setupLink asks for a link to a record's page, for some seconds.
func (p *product) setupLink(t *testing.T, name string, seconds int) string {
	t.Helper()
	var link struct{ Status struct{ URL string } }
	if err := call(t.Context(), http.MethodPost, recordsPath+"/"+name+"/setuplink", map[string]any{"expirationSeconds": seconds}, &link); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(link.Status.URL, setupURL+"/") {
		t.Fatalf("the link is %q", link.Status.URL)
	}
	return link.Status.URL
}

// A customer with a phone sets a hostname up by the page alone, from the first look to
// the cutover, while the page follows what the DNS provider's servers answer.
func TestSetupPageFromTheFirstLookToTheCutover(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{sites: setupSite})
	customer := customer(t, n, "setuppage")
	host := "shop." + customer.name
	old := "shop A " + testnet.ForeignAddr
	customer.set(t, old, `_acme-challenge.shop TXT "<script>alert(1)</script>"`)
	r := p.create(t, host, true)
	link := p.setupLink(t, host, 3600)

	tb := newBrowser(t).tab(t)
	tb.viewport(360, 740)
	tb.open(link)
	tb.says(host)
	tb.says("_acme-challenge.shop") // as the registrar's form wants it
	tb.says(strings.TrimSuffix(r.wanted("ACMEChallenge").Value, "."))
	tb.says(`<script>alert(1)</script>`)
	tb.fits()
	tb.accessible("the set-up page")
	tb.shot("setup-first")
	text := eval[string](tb, `document.body.innerText`)
	for _, hidden := range []string{"apoxy", "Apoxy", "Gateway", "OwnershipVerified"} {
		if strings.Contains(strings.ReplaceAll(text, "_apoxy-", ""), hidden) {
			t.Errorf("the customer is shown %q", hidden)
		}
	}

	eval[string](tb, `window.unloaded = "never"`)
	customer.set(t, old, r.line(t, "ACMEChallenge"))
	tb.says("switch now, no visitor will notice")
	tb.shot("setup-switch")
	customer.set(t, r.line(t, "ACMEChallenge"), r.line(t, "Traffic"))
	tb.says("All done")
	if eval[string](tb, `window.unloaded || ""`) != "never" {
		t.Error("the page was loaded again to show it")
	}
	tb.dark()
	tb.accessible("the set-up page at its end, in the dark")
	tb.shot("setup-done-dark")
	tb.viewport(1280, 900)
	tb.open(link + "?lang=de")
	tb.await("the page to be German", `document.documentElement.lang === "de"`)
	tb.accessible("the German page")
	tb.open(link + "?lang=es")
	tb.await("the page to be Spanish", `document.documentElement.lang === "es"`)
	tb.quiet()
	tb.asksOnly(setupURL)

	tb.script(false)
	tb.run("opening the page without a script", chromedp.Navigate(link), chromedp.WaitVisible(chromedp.CSS(`h1`)))
}

// Links are for one record and some time. Whoever makes one up, or changes one, is told
// nothing of the record.
func TestSetupLinksThatAreRefused(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{sites: setupSite})
	customer := customer(t, n, "setuplinks")
	customer.set(t)
	host := "shop." + customer.name
	p.create(t, host, true)
	link, short := p.setupLink(t, host, 3600), p.setupLink(t, host, 1)

	get := func(url string) (int, string) {
		t.Helper()
		status, body, err := fetch(t.Context(), http.DefaultClient, url, "")
		if err != nil {
			t.Fatal(err)
		}
		return status, body
	}
	if status, body := get(link); status != http.StatusOK || !strings.Contains(body, host) {
		t.Fatalf("the link is answered %d", status)
	}
	middle := len(setupURL) + (len(link)-len(setupURL))/2
	flipped := link[:middle] + string('A'+(link[middle]-'A'+1)%2) + link[middle+1:]
	for name, url := range map[string]string{
		"flipped": flipped, "cut": link[:len(link)-4], "longer": link + "AAAA", "made up": setupURL + "/abc", "huge": setupURL + "/" + strings.Repeat("A", 6000),
	} {
		if status, body := get(url); status < 400 || status >= 500 || strings.Contains(body, host) {
			t.Errorf("a link that is %s is answered %d: %s", name, status, body)
		}
	}
	eventually(t, 10*time.Second, "the short link to end", func() error {
		status, body, err := fetch(t.Context(), http.DefaultClient, short, "")
		if err != nil || status != http.StatusGone || strings.Contains(body, host) {
			return fmt.Errorf("it is answered %d, %v", status, err)
		}
		return nil
	})

	// It opens in a frame of the origins that are named, and in no other.
	for ancestor, shown := range map[string]bool{"127.0.0.1": true, "127.0.0.2": false} {
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprintf(w, `<!doctype html><title>frame</title><iframe src="%s" width="800" height="800"></iframe>`, link)
		}))
		srv.Listener.Close()
		var err error
		if srv.Listener, err = net.Listen("tcp", ancestor+":8095"); err != nil {
			t.Fatal(err)
		}
		srv.Start()
		tb := newBrowser(t).tab(t)
		tb.open(srv.URL)
		eventually(t, 10*time.Second, fmt.Sprintf("the frame on %s to be shown: %v", ancestor, shown), func() error {
			if seen := tb.framed(t, host); seen != shown {
				return fmt.Errorf("shown is %v", seen)
			}
			return nil
		})
		srv.Close()
	}

	p.delete(t, host)
	if status, body := get(link); status < 400 || strings.Contains(body, host) {
		t.Errorf("a link to a record that is no more is answered %d", status)
	}
	p.create(t, host, true)
	if status, body := get(link); status < 400 || strings.Contains(body, host) {
		t.Errorf("a link to a record before this one is answered %d", status)
	}
}
