package e2e

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// Records in etcd: a member that dies is not noticed, without a majority serving goes
// on and writes are refused at once with who is to blame, and everything goes on by
// itself once the majority is back, and over a restart of ours.
func TestRecordsInEtcd(t *testing.T) {
	n := network(t)
	etcd, err := testnet.StartEtcd(t.TempDir(), "127.0.0.81", "127.0.0.82", "127.0.0.83")
	t.Cleanup(etcd.Stop)
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, n, settings{store: "etcd {\n\t\t\tendpoints " + etcd.Endpoints() + "\n\t\t}"})
	customer := customer(t, n, "inetcd")
	first, second, third := "first."+customer.name, "second."+customer.name, "third."+customer.name
	customer.delegated(t, first, second, third)
	p.submit(t, first)
	p.certified(t, first, 60*time.Second)

	etcd.Members[0].Kill()
	p.submit(t, second)
	p.certified(t, second, 60*time.Second)

	if err := etcd.Members[1].Silence(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	refused := func(bound time.Duration) {
		t.Helper()
		before := time.Now()
		status, header, body := p.try(t, third)
		if took := time.Since(before); status != http.StatusServiceUnavailable || took > bound {
			t.Errorf("without a majority a write is answered %d after %v: %s", status, took, body)
		}
		if after, err := strconv.Atoi(header.Get("Retry-After")); err != nil || after < 1 || !strings.Contains(body, "etcd at http://127.0.0.81:2379") {
			t.Errorf("Retry-After %q, %s", header.Get("Retry-After"), body)
		}
	}
	refused(5 * time.Second)
	refused(time.Second)
	for _, host := range []string{first, second} {
		if _, err := p.handshake(host); err != nil {
			t.Errorf("without a majority, a handshake for %s: %v", host, err)
		}
		if answer, err := testnet.Ask(testnet.ProductAddr, host+"."+testnet.Zone, 1); err != nil || len(answer.Answer) == 0 {
			t.Errorf("without a majority, the zone for %s: %v, %v", host, answer, err)
		}
	}
	if r := p.ask(t, "https", first, first); r.StatusCode != http.StatusOK {
		t.Errorf("without a majority, %s is answered %d", first, r.StatusCode)
	}

	if err := etcd.Members[1].Speak(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, "a write", func() error {
		if status, _, body := p.try(t, third); status != http.StatusCreated && status != http.StatusConflict {
			return errorf("it is answered %d: %s", status, body)
		}
		return nil
	})
	p.certified(t, third, 60*time.Second)
	if lines := p.said(t, "etcd is not available", began); len(lines) != 1 {
		t.Errorf("the log says %+v, want it once", lines)
	}

	if err := etcd.Members[0].Start(); err != nil {
		t.Fatal(err)
	}
	p.stop(t)
	p.run(t)
	for _, host := range []string{first, second, third} {
		eventually(t, 15*time.Second, "a handshake for "+host, func() error {
			_, err := p.handshake(host)
			return err
		})
	}
	if _, err := os.Stat(p.dir + "/apoxy.db"); !os.IsNotExist(err) {
		t.Errorf("a bolt file is there: %v", err)
	}
}

// try creates a record and returns what is answered.
func (p *product) try(t *testing.T, host string) (int, http.Header, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	body := []byte(`{"apiVersion":"core.apoxy.dev/v1alpha3","kind":"DomainRecord","metadata":{"name":"` + host + `"},"spec":{"name":"` + host + `","tls":{},"target":{"ref":{"group":"gateway.apoxy.dev","kind":"Gateway","name":"default"}}}}`)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, adminURL+recordsPath, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(http.MaxBytesReader(nil, res.Body, 1<<20)); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header, text.String()
}
