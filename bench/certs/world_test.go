package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// world is one CA, and the addresses on which servers are tried one after
// another. The CA asks for names at dns, where ours answers itself.
type world struct {
	dir                           string
	dns, http, https, admin, acme int
	directory, trust              string
	cert                          *tls.Certificate
}

const (
	zone  = "cname.bench.test"
	ours  = "ours.test"  // the customer's domain in our runs
	stock = "stock.test" // and in stock Caddy's
	// parent answers that it has no CAA records; without an answer none is ordered.
	parent = "test"
)

func newWorld(b *testing.B) *world {
	b.Helper()
	p := freePorts(b, 6)
	w := &world{dir: b.TempDir(), dns: p[0], http: p[1], https: p[2], admin: p[3], acme: p[4]}
	w.directory, w.trust = fmt.Sprintf("https://127.0.0.1:%d/dir", w.acme), filepath.Join(w.dir, "endpoint.pem")
	w.cert = endpoint(b, w.trust)
	key, err := x509.MarshalPKCS8PrivateKey(w.cert.PrivateKey)
	if err != nil {
		b.Fatal(err)
	}
	w.write(b, "endpoint.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": fmt.Sprintf("127.0.0.1:%d", w.acme), "managementListenAddress": fmt.Sprintf("127.0.0.1:%d", p[5]),
		"certificate": w.trust, "privateKey": filepath.Join(w.dir, "endpoint.key"),
		"httpPort": w.http, "tlsPort": w.https, "keyAlgorithm": "ecdsa",
		"profiles": map[string]any{"default": map[string]any{"description": "the only one", "validityPeriod": 90 * 24 * 3600}},
	}})
	if err != nil {
		b.Fatal(err)
	}
	w.write(b, "pebble.json", string(config))
	ca := spawn(b, "pebble-mended", w.dir, []string{"PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0", "PEBBLE_AUTHZREUSE=0"},
		"-config", filepath.Join(w.dir, "pebble.json"), "-dnsserver", fmt.Sprintf("127.0.0.1:%d", w.dns))
	until(b, 10*time.Second, "the CA", func() error { return listens(w.acme, ca) })
	return w
}

func listens(port int, p *process) error {
	select {
	case <-p.done:
		return fmt.Errorf("it has ended: %s", p.tail())
	default:
	}
	conn, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), time.Second)
	if err == nil {
		conn.Close()
	}
	return err
}

func (w *world) write(b *testing.B, name, text string) string {
	b.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	return path
}

// endpoint makes the certificate of the CA's own endpoint, which is its root.
func endpoint(b *testing.B, file string) *tls.Certificate {
	b.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "endpoint"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		b.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func hostname(i int, domain string) string { return fmt.Sprintf("h%05d.%s", i, domain) }

// zonefile is a customer's domain of n hostnames, all delegated and here.
func (w *world) zonefile(b *testing.B, domain string, n int) string {
	b.Helper()
	var t strings.Builder
	fmt.Fprintf(&t, "$ORIGIN %s.\n$TTL 5\n@ IN SOA ns.%[1]s. hostmaster.%[1]s. 1 3600 600 86400 5\n@ IN NS ns.%[1]s.\nns IN A 127.0.0.1\n", domain)
	for i := range n {
		h := hostname(i, domain)
		fmt.Fprintf(&t, "%s. IN A 127.0.0.1\n_acme-challenge.%[1]s. IN CNAME _acme-challenge.%[1]s.%s.\n", h, zone)
	}
	return w.write(b, domain+".zone", t.String())
}

// served is a server under test.
type served struct {
	*process
	w       *world
	storage string
}

// product runs ours with n hostnames of the domain in its zone; directory and
// trust are the CA's.
func (w *world) product(b *testing.B, name string, n int, directory string) *served {
	b.Helper()
	s := &served{w: w, storage: filepath.Join(w.dir, name, "storage")}
	config := fmt.Sprintf(`{
	admin 127.0.0.1:%d
	http_port %d
	https_port %d
	default_bind 127.0.0.1
	persist_config off
	skip_install_trust
	grace_period 1s
	storage file_system %s
	log {
		level WARN
	}
	apoxy {
		zone %s {
			nameserver ns1.%[5]s 127.0.0.1
			edge 127.0.0.1
		}
		zonefile %s %s
		zonefile %s %s
		dns 127.0.0.1:%d
		resolvers 127.0.0.1:%[10]d
		private_networks 127.0.0.0/8
		store bolt %s
	}
	on_demand_tls {
		permission apoxy
	}
}
https:// {
	tls {
		on_demand
		issuer apoxy {
			dir %s
			trusted_roots %s
		}
	}
	apoxy {
		gateway default {
			respond "ours"
		}
	}
}
http:// {
	apoxy {
		gateway default {
			respond "ours"
		}
	}
}
`, w.admin, w.http, w.https, s.storage, zone, ours, w.zonefile(b, ours, n), parent, w.zonefile(b, parent, 0), w.dns, filepath.Join(w.dir, name, "apoxy.db"), directory, w.trust)
	s.process = w.run(b, "caddy", name, config)
	until(b, 60*time.Second, "the product", func() error { return listens(w.https, s.process) })
	return s
}

func (w *world) run(b *testing.B, program, name, config string) *process {
	b.Helper()
	file := w.write(b, filepath.Join(name, "Caddyfile"), config)
	return spawn(b, program, filepath.Join(w.dir, name), nil, "run", "--config", file, "--adapter", "caddyfile")
}

// certificates counts those in a storage, and when each was written.
func certificates(storage string) map[string]time.Time {
	out := map[string]time.Time{}
	files, _ := filepath.Glob(filepath.Join(storage, "certificates", "*", "*", "*.json")) // the last of the three to be written
	for _, f := range files {
		if info, err := os.Stat(f); err == nil {
			out[strings.TrimSuffix(filepath.Base(f), ".json")] = info.ModTime()
		}
	}
	return out
}

// handshake shakes hands for a server name and returns how long it took.
func (w *world) handshake(name string) (time.Duration, error) {
	began := time.Now()
	d := &net.Dialer{Timeout: 60 * time.Second}
	conn, err := tls.DialWithDialer(d, "tcp", fmt.Sprintf("127.0.0.1:%d", w.https), &tls.Config{ServerName: name, InsecureSkipVerify: true}) //nolint:gosec // what is verified is not what is measured
	if err != nil {
		return time.Since(began), err
	}
	took := time.Since(began)
	conn.Close()
	return took, nil
}

// allow is an endpoint for `ask` that allows everything.
func allow(b *testing.B) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
	go func() { _ = server.Serve(l) }() // ends with Close
	b.Cleanup(func() { server.Close() })
	return "http://" + l.Addr().String() + "/"
}
