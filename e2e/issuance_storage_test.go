package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
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

// TLSReady is what is in storage: a check, a handshake and a start that find no
// file make it False, say so, and have another certificate ordered; a start that
// misses many says so once, before it orders anything; and what comes back counts
// again without an order.
func TestIssuanceMissesWhatStorageLost(t *testing.T) {
	n := network(t)
	g := openGate(t, "127.0.0.71", n.CA)
	p := startAt(t, n, settings{}, g)
	customer := customer(t, n, "lostfiles")
	var hosts []string
	for i := range 12 {
		hosts = append(hosts, fmt.Sprintf("h%02d.%s", i, customer.name))
	}
	customer.delegated(t, hosts...)
	for _, h := range hosts {
		p.submit(t, h)
	}
	serial := map[string]string{}
	for _, h := range hosts {
		serial[h] = p.certified(t, h, 60*time.Second).Status.Certificate.SerialNumber
	}

	// A check finds that the files were removed by hand.
	checked := hosts[0]
	p.remove(t, checked)
	r := p.check(t, checked)
	if c := r.condition("TLSReady"); c.Status != "False" || !strings.Contains(c.Message, "is gone") || !strings.Contains(c.Message, filepath.Join(p.dir, "storage")) || !strings.Contains(c.Message, checked+".key") {
		t.Errorf("after a check TLSReady is %+v", c)
	}
	p.replaced(t, checked, serial)

	// A handshake finds it, too, even while no other certificate can be had.
	shaken := hosts[1]
	g.obey(func(a asked) http.HandlerFunc {
		if a.step == atOrder {
			return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "down", http.StatusServiceUnavailable) }
		}
		return nil
	})
	p.remove(t, shaken)
	if _, err := p.handshake(shaken); err == nil {
		t.Error("a handshake has a certificate")
	}
	p.await(t, shaken, 5*time.Second, "TLSReady to fall", func(r record) error {
		if c := r.condition("TLSReady"); c.Status != "False" || !strings.Contains(c.Message, "is gone") {
			return errorf("TLSReady is %+v", c)
		}
		return is("OwnershipVerified=True")(r)
	})
	g.obey(nil)
	p.check(t, shaken)
	p.replaced(t, shaken, serial)

	// A start with another storage.
	p.stop(t)
	text, err := os.ReadFile(p.config())
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := filepath.Join(p.dir, "elsewhere")
	text = bytes.Replace(text, []byte("storage file_system "+filepath.Join(p.dir, "storage")), []byte("storage file_system "+elsewhere), 1)
	if err := os.WriteFile(p.config(), text, 0o644); err != nil {
		t.Fatal(err)
	}
	before, began := len(g.seen()), time.Now()
	p.run(t)
	old := map[string]string{}
	for _, h := range hosts {
		old[h] = serial[h]
		p.replaced(t, h, serial)
	}
	said := p.said(t, "another storage?", began)
	if len(said) != 1 || said[0].Level != "error" || said[0].Missing != 12 || said[0].Recorded != 12 || said[0].Example != hosts[0] || !strings.Contains(said[0].Storage, elsewhere) {
		t.Fatalf("the log says %+v", said)
	}
	for _, a := range g.seen()[before:] {
		if a.step == atOrder && a.at.Before(said[0].time()) {
			t.Errorf("an order for %s came %v before it was said", a.host, said[0].time().Sub(a.at))
		}
	}

	// Back to the first storage: what lies there counts again.
	orders := g.passed(atOrder)
	p.reconfigure(t, elsewhere, filepath.Join(p.dir, "storage"))
	for _, h := range hosts {
		p.await(t, h, 30*time.Second, "the first certificate", func(r record) error {
			if c := r.Status.Certificate; c == nil || c.SerialNumber != old[h] {
				return errorf("the certificate is %+v, want %s", c, old[h])
			}
			return is("TLSReady=True")(r)
		})
	}
	if again := g.passed(atOrder); again != orders {
		t.Errorf("%d orders were placed for it", again-orders)
	}
	state, err := p.handshake(hosts[5])
	if err != nil {
		t.Fatal(err)
	}
	if got := state.PeerCertificates[0].SerialNumber.Text(16); got != old[hosts[5]] {
		t.Errorf("a handshake has %s, want %s", got, old[hosts[5]])
	}
}

// remove removes the files of a hostname's certificate.
func (p *product) remove(t *testing.T, host string) {
	t.Helper()
	if err := os.RemoveAll(filepath.Dir(p.stored(t, host, ".key"))); err != nil {
		t.Fatal(err)
	}
}

// replaced waits for another certificate than the one noted, and notes it.
func (p *product) replaced(t *testing.T, host string, serial map[string]string) {
	t.Helper()
	serial[host] = p.await(t, host, 60*time.Second, "another certificate", func(r record) error {
		if c := r.Status.Certificate; c == nil || c.SerialNumber == serial[host] {
			return errorf("the certificate is %+v; TLSReady %+v", c, r.condition("TLSReady"))
		}
		return is("TLSReady=True")(r)
	}).Status.Certificate.SerialNumber
}

// logLine is a line of the product's log, as far as it matters here.
type logLine struct {
	Level    string  `json:"level"`
	Stamp    float64 `json:"ts"`
	Message  string  `json:"msg"`
	Missing  int     `json:"missing"`
	Recorded int     `json:"recorded"`
	Example  string  `json:"example"`
	Storage  string  `json:"storage"`
}

func (l logLine) time() time.Time { return time.UnixMicro(int64(l.Stamp * 1e6)) }

// said are the lines of the log since a time that hold some words.
func (p *product) said(t *testing.T, words string, since time.Time) (lines []logLine) {
	t.Helper()
	for s := bufio.NewScanner(bytes.NewReader(p.proc.Log())); s.Scan(); {
		var l logLine
		if json.Unmarshal(s.Bytes(), &l) == nil && strings.Contains(l.Message, words) && !l.time().Before(since) {
			lines = append(lines, l)
		}
	}
	return lines
}
