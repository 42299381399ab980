package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// domain is a customer's domain at the DNS provider.
type domain struct {
	name   string // "preissue.com"
	server *testnet.Server
}

// customer registers LABEL.com at the provider.
func customer(t *testing.T, n *testnet.Network, label string) *domain {
	t.Helper()
	d := &domain{name: label + ".com", server: n.Provider}
	if err := n.Delegate(d.name, d.server); err != nil {
		t.Fatal(err)
	}
	return d
}

// set makes the customer's zone hold exactly these records; they are live when
// it returns.
func (d *domain) set(t *testing.T, records ...string) {
	t.Helper()
	if err := d.server.SetZone(d.name, records...); err != nil {
		t.Fatal(err)
	}
}

var spare struct {
	once   sync.Once
	server *testnet.Server
	err    error
}

// spareProvider is a second DNS provider, running, that a test may stop.
func spareProvider(t *testing.T) *testnet.Server {
	t.Helper()
	spare.once.Do(func() { spare.server, spare.err = testnet.StartServer(testnet.SpareAddr, "ns1.spare.org.") })
	if spare.err != nil {
		t.Fatal(spare.err)
	}
	t.Cleanup(func() {
		_ = spare.server.Stop() // the test may have stopped it
		if err := spare.server.Start(); err != nil {
			t.Error(err)
		}
	})
	return spare.server
}

func eventually(t *testing.T, limit time.Duration, what string, cond func() error) {
	t.Helper()
	if err := testnet.Until(limit, what, cond); err != nil {
		t.Fatal(err)
	}
}

func errorf(format string, args ...any) error { return fmt.Errorf(format, args...) }

// resolvesTo tells whether the resolver gives exactly these addresses.
func resolvesTo(ctx context.Context, name string, want ...string) error {
	got, err := net.DefaultResolver.LookupHost(ctx, name)
	if err != nil {
		return err
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("%s resolves to %v, want %v", name, got, want)
	}
	return nil
}

func pool(roots ...[]byte) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, root := range roots {
		pool.AppendCertsFromPEM(root)
	}
	return pool
}

// client trusts only the given roots, asks the resolver before every request,
// opens a connection for each, and follows no redirect.
func client(roots ...[]byte) *http.Client {
	return &http.Client{
		Timeout: 20 * time.Second,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{RootCAs: pool(roots...)},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// visit gets a page; an answer other than 200 is an error.
func visit(ctx context.Context, c *http.Client, url string) (string, error) {
	status, body, err := fetch(ctx, c, url, "")
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("getting %s: status %d: %s", url, status, body)
	}
	return body, err
}

// fetch gets a page whatever its status; host, if given, is the Host header.
func fetch(ctx context.Context, c *http.Client, url, host string) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	req.Host = host
	answer, err := c.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return answer.StatusCode, strings.TrimSpace(string(body)), err
}

// tlsState dials addr, shakes hands for serverName and returns what was agreed.
func tlsState(addr, serverName string, roots ...[]byte) (tls.ConnectionState, error) {
	dialer := &net.Dialer{Timeout: 20 * time.Second}
	conn, err := tls.DialWithDialer(dialer, "tcp", addr+":443", &tls.Config{ServerName: serverName, RootCAs: pool(roots...)})
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close()
	return conn.ConnectionState(), nil
}
