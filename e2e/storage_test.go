package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// Certificates, accounts and locks in the store of the records, encrypted: what was
// issued is served after kill -9 without another order, an order that was under way then
// is taken up without waiting for the lock of the process that died, and nothing lies in
// files.
func TestStorageInTheStore(t *testing.T) {
	n := network(t)
	for name, store := range map[string]func(t *testing.T) string{
		"bolt": func(*testing.T) string { return "" },
		"etcd": func(t *testing.T) string {
			etcd, err := testnet.StartEtcd(t.TempDir(), "127.0.0.81")
			t.Cleanup(etcd.Stop)
			if err != nil {
				t.Fatal(err)
			}
			return "etcd {\n\t\t\tendpoints " + etcd.Endpoints() + "\n\t\t}"
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := openGate(t, "127.0.0.71", n.CA)
			p := startAt(t, n, settings{store: store(t), storage: "apoxy {\n\t\tencryption_key " + strings.Repeat("01", 32) + "\n\t}"}, g)
			customer := customer(t, n, "storagein"+name)
			issued, under := "issued."+customer.name, "under."+customer.name
			customer.delegated(t, issued, under)
			p.submit(t, issued)
			p.certified(t, issued, 60*time.Second)
			before, err := p.handshake(issued)
			if err != nil {
				t.Fatal(err)
			}

			killed := p.killedAt(g, atFinalize, under, false)
			p.submit(t, under)
			select {
			case <-killed:
			case <-time.After(60 * time.Second):
				t.Fatal("the order never came to its end")
			}
			p.run(t)
			began := time.Now()
			after, err := p.handshake(issued)
			if err != nil {
				t.Fatal(err)
			}
			if !after.PeerCertificates[0].Equal(before.PeerCertificates[0]) {
				t.Error("another certificate is served after kill -9")
			}
			p.certified(t, under, 60*time.Second)
			t.Logf("the order that was under way ended %v after the restart", time.Since(began).Round(time.Millisecond))
			for _, host := range []string{issued, under} {
				if orders := g.passed(atOrder, host); orders != 1 {
					t.Errorf("%d orders for %s reached the CA, want 1", orders, host)
				}
			}
			if out, err := p.caddy(t.Context(), "", "apoxy", "store", "verify", "--config", p.config()); err != nil {
				t.Errorf("%v: %s", err, out)
			}
			for _, folder := range []string{"storage", filepath.Join("caddy", "certificates"), filepath.Join("caddy", "acme"), filepath.Join("caddy", "locks")} {
				if _, err := os.Stat(filepath.Join(p.dir, folder)); !os.IsNotExist(err) {
					t.Errorf("%s is there: %v", folder, err)
				}
			}
		})
	}
}
