package million

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/bench"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
	"github.com/apoxy-dev/caddy-apoxy/issuance/certfiles"
	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
)

var (
	records = flag.Int("records", 1_000_000, "how many records there are")
	keep    = flag.String("keep", "", "a folder for the store's file, which is filled once and used again; default: a new one")
)

// Where Caddy answers, in the network namespace.
const (
	edge  = "127.0.0.1"
	admin = "http://127.0.0.1:2019"
	list  = admin + "/apis/core.apoxy.dev/v1alpha3/domainrecords"
	https = edge + ":8443"
)

// world is the product and its store.
type world struct {
	dir, file, program, config string
	storage                    string
	filled                     bool
	net                        *internet
	caddy                      *exec.Cmd
}

func newWorld(b *testing.B) *world {
	b.Helper()
	w := &world{dir: b.TempDir(), net: newInternet(b)}
	w.program = os.Getenv("BENCH_CADDY")
	if w.program == "" {
		w.program = filepath.Join(w.dir, "program")
		if out, err := exec.Command("go", "build", "-C", "../..", "-o", w.program, "./cmd/caddy").CombinedOutput(); err != nil {
			b.Fatalf("building Caddy: %v: %s", err, out)
		}
	}
	key, der := w.certificate(b)
	home := w.dir
	if *keep != "" {
		home = *keep
	}
	w.storage = filepath.Join(home, fmt.Sprintf("storage-%d", *records))
	if _, err := os.Stat(w.storage); err != nil {
		w.certificates(b, key, der)
	}
	filled := filepath.Join(home, fmt.Sprintf("filled-%d.db", *records))
	if _, err := os.Stat(filled); err != nil {
		w.fill(b, filled)
	}
	w.use(b, filepath.Join(home, "apoxy.db"))
	if out, err := exec.Command("cp", filled, w.file).CombinedOutput(); err != nil {
		b.Fatalf("copying the store: %v: %s", err, out)
	}
	b.Cleanup(func() { _ = os.Remove(w.file) })
	w.filled = true
	return w
}

// use writes the configuration with the store in a file.
func (w *world) use(b *testing.B, file string) {
	w.file = file
	w.config = w.write(b, "Caddyfile", fmt.Sprintf(`{
	persist_config off
	auto_https off
	default_bind 127.0.0.1
	http_port 8080
	https_port 8443
	storage file_system %[5]s
	log {
		level ERROR
	}
	cert_issuer apoxy
	apoxy {
		zone %[2]s {
			nameserver ns1.%[2]s 127.0.0.1
			edge 127.0.0.1
		}
		dns 127.0.0.1:53
		resolvers %[3]s
		private_networks 127.0.0.0/8
		store bolt %[4]s
	}
}
http:// {
	apoxy {
		gateway default {
			respond answered
		}
	}
}
https:// {
	tls %[1]s/cert.pem %[1]s/key.pem
	apoxy {
		gateway default {
			respond answered
		}
	}
}
`, w.dir, bench.Zone, recursor, file, w.storage))
}

// fill makes the store. The product itself says what a settled record looks like: of one
// whose first look is over all are made.
func (w *world) fill(b *testing.B, filled string) {
	b.Helper()
	began := time.Now()
	w.use(b, filepath.Join(w.dir, "first.db"))
	renewal := time.Now().Unix() + 30*24*3600
	w.put(b, w.file, 1, renewal, bench.Value)
	w.start(b)
	settled := w.settled(b)
	w.stop(b)
	text := string(settled)
	w.put(b, filled, *records, renewal, func(i int) []byte {
		r := bench.Record(i)
		return []byte(strings.NewReplacer(
			bench.Hostname(0), bench.Hostname(i), "tenant-000000", r.Owner(), string(bench.Record(0).UID), string(r.UID),
		).Replace(text))
	})
	if out, err := exec.Command(w.program, "apoxy", "store", "compact", "--store", "bolt "+filled).CombinedOutput(); err != nil {
		b.Fatalf("compacting the store, of whose file half is free after being filled: %v: %s", err, out)
	}
	b.Logf("filling the store took %.0f s; a record has %d bytes", time.Since(began).Seconds(), len(text))
}

// certificates puts a certificate of each record into storage: all are the same, in as few
// files as links allow.
func (w *world) certificates(b *testing.B, key crypto.PrivateKey, der []byte) {
	b.Helper()
	const links = 60_000 // ext4 has 65,000 for a file
	tmp := w.storage + ".filling"
	chain := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	first := ""
	for i := range *records {
		name := bench.Hostname(i)
		dir := filepath.Join(tmp, "certificates", bench.Authority, name)
		if i%links == 0 {
			first = filepath.Join(dir, name)
			if err := certfiles.At(&certmagic.FileStorage{Path: tmp}, bench.Authority, name).Save(b.Context(), key, chain, certfiles.Metadata{}); err != nil {
				b.Fatal(err)
			}
			continue
		}
		if err := os.Mkdir(dir, 0o700); err != nil {
			b.Fatal(err)
		}
		for _, suffix := range []string{".key", ".crt", ".json"} {
			if err := os.Link(first+suffix, filepath.Join(dir, name+suffix)); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := os.Rename(tmp, w.storage); err != nil {
		b.Fatal(err)
	}
}

// put writes n records and what the index knows of their certificates into a file.
func (w *world) put(b *testing.B, file string, n int, renewal int64, value func(i int) []byte) {
	b.Helper()
	tmp := file + ".filling"
	s, err := boltstore.Open(tmp, boltstore.Options{})
	if err != nil {
		b.Fatal(err)
	}
	certificate := bench.CertificateOp(0, renewal, renewal-20*24*3600) // all have the one that storage has
	for i := 0; i < n; {
		var ops []store.Op
		for ; i < n && len(ops) < 3000; i++ {
			h, r := bench.Hostname(i), bench.Record(i)
			index := strings.NewReplacer(string(bench.Record(0).UID), string(r.UID), "tenant-000000", r.Owner()).Replace(string(certificate.Value))
			ops = append(ops, store.Op{Key: hosts.Prefix + h, Value: value(i), If: store.Any},
				store.Op{Key: "hostnames/" + h, Value: []byte(h), If: store.Any},
				store.Op{Key: "certificates/" + h, Value: []byte(index), If: store.Any})
		}
		if _, err := s.Write(b.Context(), ops...); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	if err := os.Rename(tmp, file); err != nil {
		b.Fatal(err)
	}
}

// settled waits until the first record is ready, and looks at it are far apart, and
// returns what is stored of it.
func (w *world) settled(b *testing.B) []byte {
	b.Helper()
	url := list + "/" + bench.Hostname(0)
	if err := send(b.Context(), http.MethodPost, url+"/check", "application/json", nil); err != nil {
		b.Fatal(err)
	}
	for limit := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		text, err := get(url)
		var r v1alpha3.DomainRecord
		if err == nil {
			err = json.Unmarshal(text, &r)
		}
		if err == nil {
			if c := r.Status.Condition(v1alpha3.ConditionReady); c != nil && strings.HasSuffix(c.Message, " is served.") && r.Status.Phase == v1alpha3.PhaseActive {
				return text
			}
		}
		if time.Now().After(limit) {
			b.Fatalf("the record is not ready: %v: %s\n%s", err, text, w.tail())
		}
	}
}

// start runs Caddy and returns how long it took until DNS, a site and the API answered
// for a record.
func (w *world) start(b *testing.B) (zone, site, api time.Duration) {
	b.Helper()
	log, err := os.OpenFile(filepath.Join(w.dir, "caddy.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close()
	w.caddy = exec.Command(w.program, "run", "--config", w.config, "--adapter", "caddyfile")
	w.caddy.Stdout, w.caddy.Stderr = log, log
	w.caddy.Env = append(os.Environ(), "HOME="+w.dir, "XDG_DATA_HOME="+w.dir, "XDG_CONFIG_HOME="+w.dir)
	w.caddy.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	began := time.Now()
	if err := w.caddy.Start(); err != nil {
		b.Fatal(err)
	}
	if dir := os.Getenv("BENCH_PROFILE"); dir != "" && w.filled {
		go w.profileStart(filepath.Join(dir, "start.prof"))
	}
	caddy := w.caddy
	b.Cleanup(func() { _ = caddy.Process.Kill() })
	name := bench.Hostname(0)
	answers := []struct {
		took *time.Duration
		ask  func() error
	}{
		{&zone, func() error { return resolves(name) }},
		{&site, func() error { return visit(name) }},
		{&api, func() error { _, err := get(list + "/" + name); return err }},
	}
	for limit := began.Add(5 * time.Minute); zone == 0 || site == 0 || api == 0; time.Sleep(5 * time.Millisecond) {
		for _, a := range answers {
			if *a.took > 0 {
				continue
			}
			if err := a.ask(); err == nil {
				*a.took = time.Since(began)
			} else if time.Now().After(limit) {
				b.Fatalf("Caddy does not answer: %v: %s", err, w.tail())
			}
		}
	}
	return zone, site, api
}

func (w *world) stop(b *testing.B) {
	b.Helper()
	if err := w.caddy.Process.Signal(syscall.SIGTERM); err != nil {
		b.Fatal(err)
	}
	if err := w.caddy.Wait(); err != nil {
		b.Fatalf("stopping Caddy: %v: %s", err, w.tail())
	}
}

func (w *world) kill(b *testing.B) {
	b.Helper()
	if err := w.caddy.Process.Kill(); err != nil {
		b.Fatal(err)
	}
	_ = w.caddy.Wait() // killed
}

var client = &http.Client{Timeout: 2 * time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 100}}

func get(url string) ([]byte, error) {
	resp, err := client.Get(url)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %.300s", url, resp.Status, text)
	}
	return text, err
}

var resolve = dns.Client{Timeout: 2 * time.Second}

// resolves asks our zone for a record's address.
func resolves(hostname string) error {
	m, _, err := resolve.Exchange(new(dns.Msg).SetQuestion(hostname+"."+bench.Zone+".", dns.TypeA), "127.0.0.1:53")
	if err == nil && len(m.Answer) == 0 {
		err = fmt.Errorf("no address: %v", m)
	}
	return err
}

// visitors keep one connection, for its server name; each request has a hostname of its own.
var visitors = &http.Transport{
	TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, https)
	},
	MaxIdleConnsPerHost: 100, MaxConnsPerHost: 100,
}

// visit requests a hostname's page over a connection of its own.
func visit(hostname string) error {
	req, err := http.NewRequest(http.MethodGet, "https://"+hostname+"/", nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Transport: visitors, Timeout: 10 * time.Second}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err != nil || string(text) != "answered" {
		return fmt.Errorf("visiting %s: %s, %.200s, %v", hostname, resp.Status, text, err)
	}
	return nil
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

// certificate makes the one that the HTTPS site has, for all hostnames.
func (w *world) certificate(b *testing.B) (crypto.PrivateKey, []byte) {
	b.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	serial, ok := new(big.Int).SetString(bench.Serial(0), 16)
	if !ok {
		b.Fatal("a serial number is none")
	}
	leaf := &x509.Certificate{SerialNumber: serial, DNSNames: []string{"*.*.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, key.Public(), key)
	if err != nil {
		b.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		b.Fatal(err)
	}
	w.write(b, "cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	w.write(b, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})))
	return key, der
}

// cpu is the processor time that Caddy has used.
func (w *world) cpu(b *testing.B) time.Duration {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", w.caddy.Process.Pid))
	if err != nil {
		b.Fatalf("Caddy has ended: %s", w.tail())
	}
	sum := 0
	for _, f := range strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))[11:13] {
		n, err := strconv.Atoi(f)
		if err != nil {
			b.Fatal(err)
		}
		sum += n
	}
	return time.Duration(sum) * time.Second / 100
}

// memory is Caddy's: what of it is in no file, and its live heap, in bytes.
func (w *world) memory(b *testing.B) (anonymous, live int) {
	b.Helper()
	text, err := get(admin + "/debug/pprof/heap?gc=1&debug=1")
	if err != nil {
		b.Fatal(err)
	}
	m := regexp.MustCompile(`# HeapAlloc = (\d+)`).FindSubmatch(text)
	if m == nil {
		b.Fatalf("no live heap in %.200s", text)
	}
	live, _ = strconv.Atoi(string(m[1]))
	file, err := os.Open(fmt.Sprintf("/proc/%d/status", w.caddy.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "RssAnon:"); ok {
			kb, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				b.Fatal(err)
			}
			anonymous = kb << 10
		}
	}
	return anonymous, live
}

// revision is the store's.
func (w *world) revision(ctx context.Context, b *testing.B) int {
	b.Helper()
	text, err := get(list + "?limit=1")
	if err != nil {
		b.Fatal(err)
	}
	var l struct {
		Metadata struct{ ResourceVersion string }
	}
	if err := json.Unmarshal(text, &l); err != nil {
		b.Fatal(err)
	}
	n, err := strconv.Atoi(l.Metadata.ResourceVersion)
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// profiled does something while Caddy's processor profile is taken, if BENCH_PROFILE names
// a folder for it.
func (w *world) profiled(b *testing.B, what string, do func()) {
	dir := os.Getenv("BENCH_PROFILE")
	if dir == "" {
		do()
		return
	}
	var taking sync.WaitGroup
	defer taking.Wait()
	taking.Go(func() {
		text, err := get(admin + "/debug/pprof/profile?seconds=8")
		for try := 0; err != nil && try < 30; try++ { // another is being taken
			time.Sleep(time.Second)
			text, err = get(admin + "/debug/pprof/profile?seconds=8")
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, strings.ReplaceAll(what, " ", "-")+".prof"), text, 0o600)
		}
		if err != nil {
			b.Error(err)
		}
	})
	do()
}

// profileStart takes a profile of what Caddy does from when its admin endpoint answers.
func (w *world) profileStart(file string) {
	for range 100 {
		if text, err := get(admin + "/debug/pprof/profile?seconds=15"); err == nil {
			_ = os.WriteFile(file, text, 0o600) // without it there is none
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}
