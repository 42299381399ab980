package e2e

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// A certificate in memory is not served for a record that is gone: neither to
// new handshakes nor over connections and sessions of before.
func TestIssuanceDeletedNamesAreRefusedAtOnce(t *testing.T) {
	n := network(t)
	g := openGate(t, "127.0.0.71", n.CA)
	p := startAt(t, n, settings{}, g)
	customer := customer(t, n, "deletedcert")
	var hosts []string
	for i := range 10 {
		hosts = append(hosts, fmt.Sprintf("h%d.%s", i, customer.name))
	}
	customer.delegated(t, hosts...)
	for _, h := range hosts {
		p.submit(t, h)
	}
	for _, h := range hosts {
		p.certified(t, h, 30*time.Second)
	}
	host := hosts[0]
	session := &tls.Config{ServerName: host, RootCAs: pool(p.ca.RootPEM), ClientSessionCache: tls.NewLRUClientSessionCache(8)}
	open := dialSession(t, session)
	if status, err := askOver(open, host); err != nil || status != http.StatusOK {
		t.Fatalf("before the deletion: %d, %v", status, err)
	}
	for _, h := range hosts {
		if _, err := p.handshake(h); err != nil {
			t.Fatal(err)
		}
	}
	before := len(g.seen())
	for _, h := range hosts {
		p.delete(t, h)
		deleted := time.Now()
		eventually(t, time.Second, "the handshake to be refused", func() error {
			if _, err := p.handshake(h); err == nil {
				return errorf("%s still has a certificate", h)
			}
			return nil
		})
		if took := time.Since(deleted); took > 500*time.Millisecond {
			t.Errorf("%s was refused %v after its deletion", h, took)
		}
	}
	for _, h := range hosts {
		for range 3 {
			began := time.Now()
			if _, err := p.handshake(h); err == nil {
				t.Errorf("%s has a certificate again", h)
			}
			if took := time.Since(began); took > 500*time.Millisecond {
				t.Errorf("refusing %s took %v", h, took)
			}
		}
	}
	if status, err := askOver(open, host); err == nil && status != http.StatusMisdirectedRequest {
		t.Errorf("a connection of before is answered %d, want 421", status)
	}
	if conn, err := tls.Dial("tcp", testnet.ProductAddr+":443", session); err == nil {
		t.Logf("a session of before is resumed: %v", conn.ConnectionState().DidResume)
		if status, err := askOver(conn, host); err == nil && status != http.StatusMisdirectedRequest {
			t.Errorf("a session of before is answered %d, want 421", status)
		}
		conn.Close()
	}
	if got := len(g.seen()) - before; got != 0 {
		t.Errorf("%d requests reached the CA for deleted records", got)
	}
}

func dialSession(t *testing.T, config *tls.Config) *tls.Conn {
	t.Helper()
	conn, err := tls.Dial("tcp", testnet.ProductAddr+":443", config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// askOver asks for / over an open connection.
func askOver(conn *tls.Conn, host string) (int, error) {
	req, err := http.NewRequest(http.MethodGet, "https://"+host+"/", nil)
	if err != nil {
		return 0, err
	}
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second)) // a closed one fails below
	if err := req.Write(conn); err != nil {
		return 0, err
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		return 0, err
	}
	answer.Body.Close()
	return answer.StatusCode, nil
}

// A record whose proofs are gone keeps being served as long as its certificate
// is good, and then is detached and refused, in TLS too.
func TestIssuanceDetachedNamesAreRefused(t *testing.T) {
	n := network(t)
	short, err := testnet.StartCA("127.0.0.64", 20*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	g := openGate(t, "127.0.0.71", short)
	p := startAt(t, n, settings{detachAfter: 4 * time.Second}, g)
	customer := customer(t, n, "detachedcert")
	host := "api." + customer.name
	customer.delegated(t, host)
	p.submit(t, host)
	p.certified(t, host, 30*time.Second)
	if _, err := p.handshake(host); err != nil {
		t.Fatal(err)
	}
	customer.set(t)
	p.await(t, host, 90*time.Second, "the detachment", is("phase=Detached", "OwnershipVerified=False/ProofWithdrawn"))
	before := len(g.seen(host))
	for range 3 {
		began := time.Now()
		if _, err := p.handshake(host); err == nil {
			t.Error("a detached host has a certificate")
		}
		if took := time.Since(began); took > 4*time.Second {
			t.Errorf("refusing it took %v", took)
		}
	}
	if got := len(g.seen(host)) - before; got != 0 {
		t.Errorf("%d requests reached the CA for a detached record", got)
	}
}
