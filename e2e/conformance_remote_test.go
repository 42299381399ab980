package e2e

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"io"
	"math/big"
	"net/http"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// Caddy's remote admin endpoint lets a client certificate do on our paths what
// its permissions say, and nothing else.
func TestConformanceRemoteAdminHoldsPermissions(t *testing.T) {
	const address = testnet.ProductAddr + ":2021"
	p := start(t, network(t), settings{checkInterval: time.Hour})
	if err := call(t.Context(), http.MethodPost, recordsPath, manifest("a.remote.com", false), nil); err != nil {
		t.Fatal(err)
	}
	reader, writer, stranger := clientCertificate(t), clientCertificate(t), clientCertificate(t)
	access := func(cert tls.Certificate, methods ...string) map[string]any {
		return map[string]any{
			"public_keys": []string{base64.StdEncoding.EncodeToString(cert.Certificate[0])},
			"permissions": []any{map[string]any{"paths": []string{recordsPath}, "methods": methods}},
		}
	}
	var config map[string]any
	if err := call(t.Context(), http.MethodGet, "/config/", nil, &config); err != nil {
		t.Fatal(err)
	}
	admin, _ := config["admin"].(map[string]any)
	if admin == nil {
		admin = map[string]any{}
		config["admin"] = admin
	}
	admin["identity"] = map[string]any{"identifiers": []string{testnet.ProductAddr}, "issuers": []any{map[string]any{"module": "internal"}}}
	admin["remote"] = map[string]any{"listen": address, "access_control": []any{
		access(reader, http.MethodGet), access(writer, http.MethodGet, http.MethodPost, http.MethodDelete),
	}}
	text, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, adminURL+"/load", bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(answer.Body)
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("loading the configuration with a remote endpoint: status %d: %s", answer.StatusCode, body)
	}

	as := func(cert tls.Certificate, method, path string, body []byte) (int, error) {
		c := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
			DisableKeepAlives: true,
			// The server's identity comes from Caddy's internal CA, which is not what is tested.
			TLSClientConfig: &tls.Config{Certificates: []tls.Certificate{cert}, InsecureSkipVerify: true, ServerName: testnet.ProductAddr},
		}}
		req, err := http.NewRequestWithContext(t.Context(), method, "https://"+address+path, bytes.NewReader(body))
		if err != nil {
			return 0, err
		}
		answer, err := c.Do(req)
		if err != nil {
			return 0, err
		}
		answer.Body.Close()
		return answer.StatusCode, nil
	}
	eventually(t, 20*time.Second, "the remote endpoint", func() error {
		status, err := as(reader, http.MethodGet, recordsPath, nil)
		if err == nil && status != http.StatusOK {
			err = errorf("status %d", status)
		}
		return err
	})
	record, err := json.Marshal(manifest("b.remote.com", false))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name         string
		cert         tls.Certificate
		method, path string
		body         []byte
		want         int
	}{
		{"the reader reads a record", reader, http.MethodGet, recordsPath + "/a.remote.com", nil, http.StatusOK},
		{"the reader watches", reader, http.MethodGet, recordsPath + "?watch=true&timeoutSeconds=1", nil, http.StatusOK},
		{"the reader may not create", reader, http.MethodPost, recordsPath, record, http.StatusForbidden},
		{"the reader may not delete", reader, http.MethodDelete, recordsPath + "/a.remote.com", nil, http.StatusForbidden},
		{"the reader may not see the configuration", reader, http.MethodGet, "/config/", nil, http.StatusForbidden},
		{"the reader may not see another resource", reader, http.MethodGet, "/apis", nil, http.StatusForbidden},
		{"no path that begins alike is let through", reader, http.MethodGet, recordsPath + "x", nil, http.StatusForbidden},
		{"the writer creates", writer, http.MethodPost, recordsPath, record, http.StatusCreated},
		{"the writer deletes", writer, http.MethodDelete, recordsPath + "/b.remote.com", nil, http.StatusOK},
	} {
		status, err := as(c.cert, c.method, c.path, c.body)
		if err != nil || status != c.want {
			t.Errorf("%s: status %d, %v, want %d", c.name, status, err, c.want)
		}
	}
	if status, err := as(stranger, http.MethodGet, recordsPath, nil); err == nil && status != http.StatusForbidden {
		t.Errorf("an unknown certificate is answered %d", status)
	}
	if got := p.names(t); len(got) != 1 || got[0] != "a.remote.com" {
		t.Errorf("the records are %v, want a.remote.com alone", got)
	}
}

// clientCertificate signs itself.
func clientCertificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
