package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// privateCA is an authority of a customer's own.
type privateCA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newPrivateCA(t *testing.T) privateCA {
	t.Helper()
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Customer Root"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * 24 * time.Hour)}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return privateCA{cert, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

// issue writes the files of a certificate.
func (ca privateCA) issue(t *testing.T, dir string, serial int64, valid time.Duration, names ...string) (chain, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Second), NotAfter: time.Now().Add(valid), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, KeyUsage: x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, ca.cert, &private.PublicKey, ca.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	chain, key = filepath.Join(dir, fmt.Sprintf("%d.pem", serial)), filepath.Join(dir, fmt.Sprintf("%d.key", serial))
	text := append([]byte{}, ca.pem...) // the root first, which is out of order and not served
	text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	for file, content := range map[string][]byte{chain: text, key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return chain, key
}

// A customer's own certificate is shown in place of the one that was obtained, for its
// own record alone whatever else it is for, until it is removed or near its end.
func TestTheCustomersOwnCertificateIsServed(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{})
	d := customer(t, n, "owncert")
	host, other, unproven := "shop."+d.name, "other."+d.name, "unproven."+d.name
	d.set(t, delegation(host), delegation(other))
	p.submit(t, unproven)
	for _, h := range []string{host, other} {
		p.submit(t, h)
	}
	for _, h := range []string{host, other} {
		if c := p.certified(t, h, 30*time.Second).Status.Certificate; c == nil || c.Source != "ACME" {
			t.Errorf("%s has the certificate %+v, want one of source ACME", h, c)
		}
	}
	ca := newPrivateCA(t)
	shows := func(what, host string, serial int64) {
		t.Helper()
		eventually(t, 10*time.Second, what, func() error {
			root := ca.pem
			if serial == 0 {
				root = p.ca.RootPEM
			}
			state, err := tlsState(testnet.ProductAddr, host, root)
			if err != nil {
				return err
			}
			if got := state.PeerCertificates[0].SerialNumber.Int64(); serial != 0 && got != serial {
				return fmt.Errorf("%s shows certificate %d, want %d", host, got, serial)
			}
			if n := len(state.PeerCertificates); serial != 0 && n != 1 {
				return fmt.Errorf("it is sent with %d certificates, want it without the root", n)
			}
			return nil
		})
	}
	upload := func(host string, serial int64, valid time.Duration, names ...string) {
		t.Helper()
		chain, key := ca.issue(t, p.dir, serial, valid, names...)
		if out, err := p.caddy(t.Context(), "", "apoxy", "domainrecord", "certificate", host, "--cert", chain, "--key", key, "--untrusted"); err != nil {
			t.Fatalf("uploading: %v: %s", err, out)
		}
	}
	source := func(want string, serial int64) func(record) error {
		return func(r record) error {
			if c := r.Status.Certificate; c == nil || c.Source != want || serial != 0 && c.SerialNumber != fmt.Sprintf("%x", serial) {
				return fmt.Errorf("the certificate is %+v, want one of source %s", c, want)
			}
			return is("TLSReady=True/CertificateIssued", "OwnershipVerified=True", "phase=Active")(r)
		}
	}

	chain, key := ca.issue(t, p.dir, 1000, time.Hour, host)
	if _, err := p.caddy(t.Context(), "", "apoxy", "domainrecord", "certificate", host, "--cert", chain, "--key", key); exitStatus(err) != 1 || !strings.Contains(err.Error(), "--untrusted") {
		t.Errorf("a root that nobody knows is answered with %v, want exit status 1 and the mend", err)
	}
	shows("what was obtained", host, 0)

	upload(host, 1001, 300*24*time.Hour, host, other, "*."+d.name, unproven)
	shows("the upload, at once", host, 1001)
	shows("the neighbour's own, whom the upload names, too", other, 0)
	p.await(t, host, 10*time.Second, "the upload in the status", source("Uploaded", 1001))
	upload(unproven, 1002, 300*24*time.Hour, unproven)
	p.await(t, unproven, 10*time.Second, "no proof by an upload", is("OwnershipVerified=False", "TLSReady=True"))
	if _, err := tlsState(testnet.ProductAddr, unproven, ca.pem); err == nil {
		t.Error("an unverified record is served with an upload")
	}

	open := dialSession(t, &tls.Config{ServerName: host, RootCAs: pool(ca.pem)})
	upload(host, 1003, 300*24*time.Hour, host)
	shows("the replacement", host, 1003)
	if status, err := askOver(open, host); err != nil || status != http.StatusOK {
		t.Errorf("a connection of before the replacement: %d, %v", status, err)
	}
	p.stop(t)
	p.run(t)
	shows("the upload after a restart", host, 1003)
	shows("the neighbour's own after a restart", other, 0)

	if out, err := p.caddy(t.Context(), "", "apoxy", "domainrecord", "certificate", host, "--remove"); err != nil {
		t.Fatalf("removing: %v: %s", err, out)
	}
	shows("what was obtained, once the upload is removed", host, 0)
	p.await(t, host, 10*time.Second, "what was obtained in the status", source("ACME", 0))

	// Halfway through a short life the one that was obtained takes over.
	upload(host, 1004, 20*time.Second, host)
	shows("a short-lived upload", host, 1004)
	p.await(t, host, 30*time.Second, "the hand-over", source("ACME", 0))
	shows("what was obtained, after the hand-over", host, 0)

	upload(host, 1005, 300*24*time.Hour, host)
	p.delete(t, host)
	p.delete(t, unproven)
	eventually(t, 10*time.Second, "the uploads of deleted records to be gone", func() error {
		left, err := filepath.Glob(filepath.Join(p.dir, "storage", "uploads", "*", "*"))
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("left are %q", left)
		}
		return err
	})
	p.submit(t, host)
	p.await(t, host, 30*time.Second, "the new record", source("ACME", 0))
	shows("what was obtained for the next record", host, 0)
	if log := p.proc.Tail(1 << 20); strings.Contains(log, "PRIVATE KEY") {
		t.Error("the log holds a private key")
	}
}
