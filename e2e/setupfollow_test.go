package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// setupPage gets a page.
func setupPage(ctx context.Context, url string) (status int, body string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := client().Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, string(text), err
}

// news counts what an open page is told.
func news(t *testing.T, url string) <-chan struct{} {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/live", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("the stream answers %s", resp.Status)
	}
	told := make(chan struct{}, 1)
	go func() {
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			if strings.HasPrefix(lines.Text(), "data:") {
				select {
				case told <- struct{}{}:
				default: // there is news already
				}
			}
		}
	}()
	return told
}

// While a set-up page is open its record is looked at, however long the interval: each step
// ticks off soon after the zone was edited, and the cutover is called safe when it is.
func TestAnOpenSetupPageHasItsRecordLookedAt(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{sites: setupSite, checkInterval: 10 * time.Minute}) // what is seen soon is seen for the page
	customer := customer(t, n, "setupfollow")
	host := "shop." + customer.name
	elsewhere := "shop A " + testnet.ForeignAddr
	customer.set(t, elsewhere)
	r := p.create(t, host, true)
	delegation, traffic := r.line(t, "ACMEChallenge"), r.line(t, "Traffic")
	out, err := p.caddy(t.Context(), "", "apoxy", "domainrecord", "setuplink", host, "--expires", "1h")
	if err != nil {
		t.Fatal(err)
	}
	link := strings.TrimSpace(out)
	if !strings.HasPrefix(link, setupURL+"/") {
		t.Fatalf("the link is %q", link)
	}
	told := news(t, link)
	shows := func(what string, texts ...string) {
		t.Helper()
		var missing error
		for deadline := time.After(30 * time.Second); ; {
			_, page, err := setupPage(t.Context(), link)
			if missing = err; err == nil {
				missing = has(page, texts...)
			}
			if missing == nil {
				return
			}
			select { // the page is loaded again when it is told, and then only
			case <-told:
			case <-deadline:
				t.Fatalf("waiting for %s: %v", what, missing)
			}
		}
	}
	shows("the first step", "Next: create the record of step 1.", "_acme-challenge.shop", "0 of 3 steps", "Acme domains", "A "+testnet.ForeignAddr)

	customer.set(t, elsewhere, `_acme-challenge.shop TXT "value"`)
	shows("the mistake", "There is a record of type TXT.", "Needs attention")

	published := time.Now()
	customer.set(t, elsewhere, delegation)
	shows("the certificate", "Your certificate is ready: switch now, no visitor will notice.", "2 of 3 steps")
	t.Logf("delegation published -> the page calls the cutover safe: %v", time.Since(published).Round(time.Millisecond))
	if _, err := p.handshake(host); err != nil {
		t.Errorf("the page calls the cutover safe: %v", err)
	}

	published = time.Now()
	customer.set(t, delegation, traffic)
	shows("the end", "All done: your domain is connected.", "3 of 3 steps")
	t.Logf("main record published -> the page says so: %v", time.Since(published).Round(time.Millisecond))

	if err := call(t.Context(), http.MethodDelete, recordsPath+"/"+host, nil, nil); err != nil {
		t.Fatal(err)
	}
	if status, page, err := setupPage(t.Context(), link); err != nil || status != http.StatusNotFound || strings.Contains(page, host) {
		t.Errorf("after the record's end the page answers %d, %v: %s", status, err, page)
	}
	if status, _, err := setupPage(t.Context(), link[:len(link)-4]+"AAAA"); err != nil || status != http.StatusForbidden {
		t.Errorf("a forged link is answered %d, %v", status, err)
	}
}

// has says which of some texts a page lacks.
func has(page string, texts ...string) error {
	for _, text := range texts {
		if !strings.Contains(page, text) {
			return fmt.Errorf("the page lacks %q: %s", text, page)
		}
	}
	return nil
}
