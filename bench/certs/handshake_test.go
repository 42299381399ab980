package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/bench"
	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
)

// names is how many there are. certmagic keeps 10,000 certificates in memory.
var names = flag.Int("names", 10_000, "how many server names handshakes are for")

// BenchmarkHandshakes shakes hands for so many distinct server names, first with
// nothing in memory ("cold"), then once more ("warm"): ours, and stock Caddy on
// demand, asking as it is documented. Certificates lie in storage before.
func BenchmarkHandshakes(b *testing.B) {
	w := newWorld(b)
	issuer := fmt.Sprintf("127.0.0.1:%d-dir", w.acme)
	authority := newAuthority(b)
	b.Run("ours", func(b *testing.B) {
		dir := filepath.Join(w.dir, "hands")
		authority.fill(b, filepath.Join(dir, "storage"), issuer, bench.Hostname, true)
		authority.records(b, filepath.Join(dir, "apoxy.db"), issuer)
		p := w.product(b, "hands", 0, w.directory)
		defer p.stop()
		w.rounds(b, p.process, bench.Hostname)
	})
	b.Run("stock", func(b *testing.B) {
		authority.fill(b, filepath.Join(w.dir, "stockhands", "storage"), issuer, bench.Hostname, false)
		p := w.run(b, "caddy", "stockhands", w.stockConfig("stockhands", allow(b)))
		defer p.stop()
		until(b, 20*time.Second, "the server", func() error { return listens(w.https, p) })
		w.rounds(b, p, bench.Hostname)
	})
}

func (w *world) rounds(b *testing.B, p *process, name func(int) string) {
	p.settle(b)
	for _, round := range []string{"cold", "warm"} {
		b.Run(round, func(b *testing.B) {
			var next, failed atomic.Int64
			profiled := w.profile(b, b.Name())
			cpu, began := p.cpu(b), time.Now()
			var wg sync.WaitGroup
			for range 16 {
				wg.Go(func() {
					for i := next.Add(1) - 1; i < int64(*names); i = next.Add(1) - 1 {
						if _, err := w.handshake(name(int(i))); err != nil && failed.Add(1) == 1 {
							b.Errorf("%s: %v: %s", name(int(i)), err, p.tail())
						}
					}
				})
			}
			wg.Wait()
			took, spent := time.Since(began), p.cpu(b)-cpu
			if n := failed.Load(); n > 0 {
				b.Errorf("%d handshakes failed", n)
			}
			profiled()
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(*names)/took.Seconds(), "handshakes/s")
			b.ReportMetric(float64(spent.Microseconds())/float64(*names), "cpu-µs/handshake")
		})
	}
}

// authority signs what lies in storage.
type authority struct {
	cert     *x509.Certificate
	key      *ecdsa.PrivateKey
	from, to time.Time
}

func newAuthority(b *testing.B) *authority {
	b.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	a := &authority{key: key, from: time.Now().Add(-time.Hour).Truncate(time.Second), to: time.Now().Add(89 * 24 * time.Hour).Truncate(time.Second)}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"}, NotBefore: a.from, NotAfter: a.to, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		b.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		b.Fatal(err)
	}
	return a
}

// fill puts certificates where certmagic keeps them: as stock Caddy stores them,
// or, whole, as ours does, with chain and metadata in the .key file once more.
func (a *authority) fill(b *testing.B, storage, issuer string, name func(int) string, whole bool) {
	b.Helper()
	key, err := x509.MarshalECPrivateKey(a.key)
	if err != nil {
		b.Fatal(err)
	}
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: key})
	for i := range *names {
		host := name(i)
		template := &x509.Certificate{SerialNumber: big.NewInt(int64(i) + 2), DNSNames: []string{host}, NotBefore: a.from, NotAfter: a.to}
		der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &a.key.PublicKey, a.key)
		if err != nil {
			b.Fatal(err)
		}
		chain := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})...)
		meta, err := json.Marshal(map[string]any{"sans": []string{host}, "issuer_data": map[string]any{"url": "https://bench.test/1"}})
		if err != nil {
			b.Fatal(err)
		}
		dir := filepath.Join(storage, "certificates", strings.ReplaceAll(issuer, ":", "-"), host)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			b.Fatal(err)
		}
		keyFile := keyPEM
		if whole {
			headers := map[string]string{"Serial": fmt.Sprintf("%x", i+2), "OCSP": "none"}
			keyFile = slices.Concat(keyPEM, chain, pem.EncodeToMemory(&pem.Block{Type: "CADDY APOXY METADATA", Headers: headers, Bytes: meta}))
		}
		for suffix, text := range map[string][]byte{".key": keyFile, ".crt": chain, ".json": meta} {
			if err := os.WriteFile(filepath.Join(dir, host+suffix), text, 0o600); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// records puts proven records and the index of certificates into a store.
func (a *authority) records(b *testing.B, file, issuer string) {
	b.Helper()
	s, err := boltstore.Open(file, boltstore.Options{})
	if err != nil {
		b.Fatal(err)
	}
	for i := 0; i < *names; {
		var ops []store.Op
		for ; i < *names && len(ops) < 2000; i++ {
			put := bench.PutOp(i)
			r := bench.Record(i)
			r.Status.Phase = "Active"
			for k := range r.Status.Conditions {
				r.Status.Conditions[k].Status = "True"
			}
			if put.Value, err = json.Marshal(r); err != nil {
				b.Fatal(err)
			}
			index, err := json.Marshal(map[string]any{
				"uid": r.UID, "owner": r.Labels["core.apoxy.dev/owner"], "ca": issuer, "serial": fmt.Sprintf("%x", i+2), "challenge": "dns-01",
				"notBefore": a.from.Unix(), "notAfter": a.to.Unix(), "renewal": a.to.Add(-30 * 24 * time.Hour).Unix(),
			})
			if err != nil {
				b.Fatal(err)
			}
			ops = append(ops, put, store.Op{Key: "hostnames/" + r.Spec.Name, Value: []byte(r.Name), If: store.Any},
				store.Op{Key: "certificates/" + r.Spec.Name, Value: index, If: store.Any})
		}
		if _, err := s.Write(b.Context(), ops...); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}
