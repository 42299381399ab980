package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// browser is a headless Chromium profile that trusts the CAs of the network
// besides its own.
type browser struct{ home string }

func newBrowser(t *testing.T, roots ...string) *browser {
	t.Helper()
	b := &browser{home: t.TempDir()}
	db := filepath.Join(b.home, ".pki", "nssdb")
	if err := os.MkdirAll(db, 0o700); err != nil {
		t.Fatal(err)
	}
	certutil(t, "-N", "-d", "sql:"+db, "--empty-password")
	for _, root := range roots {
		certutil(t, "-A", "-d", "sql:"+db, "-n", root, "-t", "C,,", "-i", root)
	}
	return b
}

func certutil(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "certutil", args...).CombinedOutput(); err != nil {
		t.Fatalf("running certutil %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// open shows a page in a new profile and returns its document as text.
func (b *browser) open(t *testing.T, url string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--disable-dev-shm-usage", "--user-data-dir="+t.TempDir(), "--dump-dom", url)
	cmd.Env = append(os.Environ(), "HOME="+b.home, "XDG_CONFIG_HOME="+b.home, "XDG_CACHE_HOME="+b.home)
	// Helpers of the browser may outlive it and keep its pipes open.
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("opening %s: %v; the document: %s", url, err, out)
	}
	return string(out)
}

// A real browser is served from the first request after the cutover on, with a
// certificate issued before it and, without one, by waiting for it.
func TestBrowserIsServedFromTheFirstRequestOn(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{})
	b := newBrowser(t, n.ForeignRoot, p.ca.Root)
	customer := customer(t, n, "browser")
	elsewhere := []string{"ready A " + testnet.ForeignAddr, "fallback A " + testnet.ForeignAddr}
	ready, fallback := "ready."+customer.name, "fallback."+customer.name
	customer.set(t, elsewhere...)
	r := p.create(t, ready, true)
	delegation, traffic := r.line(t, "ACMEChallenge"), r.line(t, "Traffic")
	customer.set(t, append(elsewhere, delegation)...)
	p.await(t, ready, 30*time.Second, "the certificate", is("TLSReady=True"))
	fallbackTraffic := p.create(t, fallback, true).line(t, "Traffic")

	contains(t, b.open(t, "https://"+ready+"/"), testnet.ForeignBody)
	customer.set(t, traffic, delegation, fallbackTraffic)
	for _, host := range []string{ready, fallback} {
		eventually(t, 5*time.Second, "the resolver to let go of the old address", func() error {
			return resolvesTo(t.Context(), host, testnet.ProductAddr)
		})
		if document := b.open(t, "https://"+host+"/"); !strings.Contains(document, ours) {
			t.Errorf("the browser was shown, for %s:\n%s", host, document)
		}
	}
	if r, err := p.get(t.Context(), fallback); err != nil || r.condition("TLSReady").Status != "True" {
		t.Errorf("after the visit TLSReady of %s is %+v, %v", fallback, r.condition("TLSReady"), err)
	}
}
