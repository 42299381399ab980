package e2e

import (
	"bytes"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// After a restart nothing is in memory: a handshake then needs the .key file
// alone, and a certificate that was stored in three files, as stock Caddy and
// earlier versions do, is served as it lies there.
func TestIssuanceHandshakeNeedsOneFile(t *testing.T) {
	n := network(t)
	g := openGate(t, "127.0.0.71", n.CA)
	p := startAt(t, n, settings{}, g)
	customer := customer(t, n, "onefile")
	whole, apart := "whole."+customer.name, "apart."+customer.name
	customer.delegated(t, whole, apart)
	serial := map[string]string{}
	for _, host := range []string{whole, apart} {
		p.submit(t, host)
		serial[host] = p.certified(t, host, 30*time.Second).Status.Certificate.SerialNumber
	}
	p.stop(t)

	for _, ext := range []string{".crt", ".json"} {
		file := p.stored(t, whole, ext)
		if err := os.Rename(file, file+".away"); err != nil {
			t.Fatal(err)
		}
	}
	file := p.stored(t, apart, ".key")
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(raw)
	key := pem.EncodeToMemory(block)
	if bytes.Equal(key, raw) {
		t.Error("the .key file holds the key alone")
	}
	if err := os.WriteFile(file, key, 0o600); err != nil {
		t.Fatal(err)
	}

	p.run(t)
	for _, host := range []string{whole, apart} {
		eventually(t, 15*time.Second, "a handshake for "+host, func() error {
			state, err := p.handshake(host)
			if err != nil {
				return err
			}
			if got := state.PeerCertificates[0].SerialNumber.Text(16); got != serial[host] {
				t.Errorf("%s is served %s, want %s", host, got, serial[host])
			}
			return nil
		})
		if got := g.passed(atOrder, host); got != 1 {
			t.Errorf("%d orders for %s reached the CA, want 1", got, host)
		}
	}
	if now, err := os.ReadFile(file); err != nil || !bytes.Equal(now, key) {
		t.Errorf("what was stored before was rewritten: %v", err)
	}
}

// stored is a file of a hostname's certificate.
func (p *product) stored(t *testing.T, host, ext string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(p.dir, "storage", "certificates", "*", host, host+ext))
	if err != nil || len(files) != 1 {
		t.Fatalf("%s of %s: %q, %v", ext, host, files, err)
	}
	return files[0]
}
