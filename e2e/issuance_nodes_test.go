package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// secondAddr and secondAdmin are where a second node of the product listens.
const (
	secondAddr  = "127.0.0.31"
	secondAdmin = "127.0.0.1:2020"
)

// second runs another node: the same configuration and the same storage of
// certificates, at another address, with records of its own.
func (p *product) second(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile(p.config())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := strings.NewReplacer(
		"default_bind "+testnet.ProductAddr, "admin "+secondAdmin+"\n\tdefault_bind "+secondAddr,
		"dns "+testnet.ProductAddr, "dns "+secondAddr,
		"store bolt "+p.dir, "store bolt "+dir,
	).Replace(string(text))
	file := filepath.Join(dir, "Caddyfile")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	proc, err := testnet.Spawn("second_"+strings.ReplaceAll(t.Name(), "/", "_"), []string{"HOME=" + dir, "XDG_DATA_HOME=" + dir, "XDG_CONFIG_HOME=" + dir},
		testnet.Program("caddy"), "run", "--config", file, "--adapter", "caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := proc.Stop(20 * time.Second); err != nil {
			t.Error(err)
		}
	})
	eventually(t, 30*time.Second, "the second node to serve", func() error {
		status, _, err := fetch(t.Context(), http.DefaultClient, "http://"+secondAdmin+recordsPath, "")
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("status %d", status)
		}
		return err
	})
}

// HTTP-01 and TLS-ALPN-01 are answered by whichever node the CA asks, here by
// one that does not even know the record.
func TestIssuanceIsAnsweredByAnyNode(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{})
	customer := customer(t, n, "cannodes")
	hosts := []string{"http." + customer.name, "alpn." + customer.name}
	var lines []string
	for _, h := range hosts {
		lines = append(lines, fmt.Sprintf("%s. CNAME %[1]s.%s.", h, testnet.Zone))
	}
	customer.set(t, lines...)
	p.second(t)
	p.reconfigure(t, "edge "+testnet.ProductAddr, "edge "+secondAddr)
	for i, challenge := range []string{"http-01", "tls-alpn-01"} {
		if challenge == "tls-alpn-01" {
			p.reconfigure(t, "email ops@example.net\n", "email ops@example.net\n\t\t\tdisable_http_challenge\n")
		}
		p.submit(t, hosts[i])
		if got := p.certified(t, hosts[i], 20*time.Second).Status.Certificate.Challenge; got != challenge {
			t.Errorf("the certificate came by %s, want %s", got, challenge)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		if err := resolvesTo(ctx, hosts[i], secondAddr); err != nil {
			t.Error("the CA asked another node than was meant: ", err)
		}
		cancel()
	}
}
