package proxy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/bench"
	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
)

// The ways to the backend: a site each.
const (
	stock   = "stock"
	gateway = "gateway"
	proxied = "proxy"
)

var ways = []string{stock, gateway, proxied}

// answered is what the backend answers.
const answered = "an answer of some bytes from the customer's application"

// world is a Caddy with one site for each way.
type world struct {
	dir   string
	ports map[string]int
	caddy *exec.Cmd
}

func newWorld(b *testing.B) *world {
	b.Helper()
	w := &world{dir: b.TempDir(), ports: map[string]int{}}
	backend := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write([]byte(answered)) }))
	b.Cleanup(backend.Close)
	program := os.Getenv("BENCH_CADDY")
	if program == "" {
		program = filepath.Join(w.dir, "caddy")
		if out, err := exec.Command("go", "build", "-C", "../..", "-o", program, "./cmd/caddy").CombinedOutput(); err != nil {
			b.Fatalf("building Caddy: %v: %s", err, out)
		}
	}
	w.records(b)
	w.certificate(b)
	config := w.caddyfile(b, strings.TrimPrefix(backend.URL, "http://"))
	log, err := os.Create(filepath.Join(w.dir, "caddy.log"))
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close()
	w.caddy = exec.Command(program, "run", "--config", w.write(b, "Caddyfile", config), "--adapter", "caddyfile")
	w.caddy.Stdout, w.caddy.Stderr = log, log
	w.caddy.Env = append(os.Environ(), "HOME="+w.dir, "XDG_DATA_HOME="+w.dir, "XDG_CONFIG_HOME="+w.dir)
	w.caddy.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := w.caddy.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = w.caddy.Process.Kill() // nothing of it is kept
		_ = w.caddy.Wait()
	})
	for _, way := range ways {
		rt, end := w.client("1.1", way)
		defer end()
		for limit := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
			if err := w.request(rt, way, 0); err == nil {
				break
			} else if time.Now().After(limit) {
				b.Fatalf("%s does not answer: %v: %s", way, err, w.tail())
			}
		}
	}
	return w
}

func (w *world) write(b *testing.B, name, text string) string {
	b.Helper()
	file := filepath.Join(w.dir, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	return file
}

// tail is the end of Caddy's log.
func (w *world) tail() []byte {
	text, _ := os.ReadFile(filepath.Join(w.dir, "caddy.log"))
	return text[max(0, len(text)-2000):]
}

func port(b *testing.B) int {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func (w *world) caddyfile(b *testing.B, backend string) string {
	for _, way := range ways {
		w.ports[way] = port(b)
	}
	dns := port(b)
	return fmt.Sprintf(`{
	admin off
	persist_config off
	auto_https off
	default_bind 127.0.0.1
	storage file_system %[1]s
	log {
		level ERROR
	}
	apoxy {
		zone %[2]s {
			nameserver ns1.%[2]s 127.0.0.1
			edge 127.0.0.1
		}
		check_interval 1h
		dns 127.0.0.1:%[3]d
		resolvers 127.0.0.1:%[3]d
		private_networks 127.0.0.0/8
		store bolt %[1]s/apoxy.db
	}
}
https://:%[4]d {
	tls %[1]s/cert.pem %[1]s/key.pem
	reverse_proxy %[7]s
}
https://:%[5]d {
	tls %[1]s/cert.pem %[1]s/key.pem
	apoxy {
		gateway default {
			reverse_proxy %[7]s
		}
	}
}
https://:%[6]d {
	tls %[1]s/cert.pem %[1]s/key.pem
	apoxy {
		proxy api {
			to %[7]s
		}
	}
}
`, w.dir, bench.Zone, dns, w.ports[stock], w.ports[gateway], w.ports[proxied], backend)
}

// records stores a proven record for each hostname: the first thousand lead to the
// Gateway, the others to the Proxy.
func (w *world) records(b *testing.B) {
	b.Helper()
	s, err := boltstore.Open(filepath.Join(w.dir, "apoxy.db"), boltstore.Options{})
	if err != nil {
		b.Fatal(err)
	}
	var ops []store.Op
	for i := range 2 * manyOf {
		put, r := bench.PutOp(i), bench.Record(i)
		r.Status.Phase = "Active"
		for k := range r.Status.Conditions {
			r.Status.Conditions[k].Status = "True"
		}
		if i >= manyOf {
			r.Spec.Target.Ref = v1alpha3.TargetKey{Group: "gateway.apoxy.dev", Kind: v1alpha3.KindProxy, Name: "api"}.Ref()
		}
		if put.Value, err = json.Marshal(r); err != nil {
			b.Fatal(err)
		}
		ops = append(ops, put, store.Op{Key: "hostnames/" + r.Spec.Name, Value: []byte(r.Name), If: store.Any})
	}
	if _, err := s.Write(b.Context(), ops...); err != nil {
		b.Fatal(err)
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}

// certificate makes one for all hostnames, which every site has.
func (w *world) certificate(b *testing.B) {
	b.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	for i := range 2 * manyOf / 4 {
		leaf.DNSNames = append(leaf.DNSNames, "*."+strings.SplitN(bench.Hostname(4*i), ".", 2)[1])
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, key.Public(), key)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := x509.ParseCertificate(der); err != nil {
		b.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		b.Fatal(err)
	}
	w.write(b, "cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	w.write(b, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})))
}

// cpu is the processor time that Caddy's threads have used.
func (w *world) cpu(b *testing.B) (sum time.Duration) {
	b.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", w.caddy.Process.Pid))
	if err != nil || len(threads) == 0 {
		b.Fatalf("Caddy has no threads any more: %s", w.tail())
	}
	for _, file := range threads {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended; Go keeps its threads, mostly
		}
		ns, err := strconv.ParseInt(strings.Fields(string(text))[0], 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		sum += time.Duration(ns)
	}
	return sum
}

// settle waits until Caddy has nothing to do but wait, a minute at most: the first looks
// at the records are not what is measured.
func (w *world) settle(b *testing.B) {
	b.Helper()
	for last, end := w.cpu(b), time.Now().Add(time.Minute); time.Now().Before(end); {
		time.Sleep(time.Second)
		now := w.cpu(b)
		if now-last < 30*time.Millisecond {
			return
		}
		last = now
	}
	b.Log("Caddy never came to rest")
}
