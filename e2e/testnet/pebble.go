package testnet

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// CA is a running Pebble behind a proxy that sees, and may change, everything
// that a client says to it.
type CA struct {
	// Directory is the URL of the ACME directory.
	Directory string
	// Trust is the file with the root that signs the directory's own certificate.
	Trust string
	// Root is the file with the root of what the CA issues.
	Root string
	// RootPEM is the content of Root.
	RootPEM []byte

	mu       sync.Mutex
	requests int
	orders   map[string]int
	inject   http.HandlerFunc
}

// StartCA starts a Pebble on addr that validates on ports 80 and 443 through a
// resolver of the CAs' own and issues certificates of the given lifetime. The
// certificates name the OCSP responder, if one is given.
func StartCA(addr string, lifetime time.Duration, responder ...string) (*CA, error) {
	return StartCABehind(caResolverAddr, addr, lifetime, responder...)
}

// StartCABehind is StartCA with another resolver than the CAs' own.
func StartCABehind(resolver, addr string, lifetime time.Duration, responder ...string) (*CA, error) {
	dir := filepath.Join(Dir(), "pebble-"+addr)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("making the directory of the CA: %w", err)
	}
	authority, err := NewAuthority("endpoint of the CA at " + addr)
	if err != nil {
		return nil, err
	}
	cert, err := authority.Issue(addr)
	if err != nil {
		return nil, err
	}
	ca := &CA{
		Directory: "https://" + addr + "/dir",
		Trust:     filepath.Join(dir, "endpoint.pem"),
		Root:      filepath.Join(dir, "root.pem"),
		orders:    map[string]int{},
	}
	if err := os.WriteFile(ca.Trust, authority.PEM, 0o644); err != nil {
		return nil, fmt.Errorf("writing the root of the CA's endpoint: %w", err)
	}
	if err := startPebble(resolver, addr, dir, lifetime, cert, strings.Join(responder, "")); err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority.PEM)
	inner := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, MaxIdleConnsPerHost: 50}
	if err := ca.fetchRoot(inner, addr); err != nil {
		return nil, err
	}
	return ca, ca.serveProxy(addr, cert, inner)
}

// startPebble starts Pebble itself on ports 14000 and 15000 (management).
func startPebble(resolver, addr, dir string, lifetime time.Duration, cert *tls.Certificate, responder string) error {
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		return fmt.Errorf("encoding the key of the CA's endpoint: %w", err)
	}
	algorithm := "ecdsa"
	if responder != "" {
		algorithm = "rsa" // Pebble hands out no other key for a responder to sign with
	}
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress":           addr + ":14000",
		"managementListenAddress": addr + ":15000",
		"certificate":             filepath.Join(dir, "cert.pem"),
		"privateKey":              filepath.Join(dir, "key.pem"),
		"httpPort":                80,
		"tlsPort":                 443,
		"keyAlgorithm":            algorithm,
		"ocspResponderURL":        responder,
		// With several profiles Pebble picks one at random.
		"profiles": map[string]any{"default": map[string]any{
			"description": "the only one", "validityPeriod": int(lifetime.Seconds()),
		}},
	}})
	if err != nil {
		return fmt.Errorf("encoding the configuration of the CA: %w", err)
	}
	for file, text := range map[string][]byte{
		"cert.pem":    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}),
		"key.pem":     pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
		"config.json": config,
	} {
		if err := os.WriteFile(filepath.Join(dir, file), text, 0o600); err != nil {
			return fmt.Errorf("writing %s of the CA: %w", file, err)
		}
	}
	_, err = Spawn("pebble-"+addr, []string{"PEBBLE_VA_NOSLEEP=1", "PEBBLE_AUTHZREUSE=0"},
		Program("pebble"), "-config", filepath.Join(dir, "config.json"), "-dnsserver", resolver+":53")
	return err
}

func (ca *CA) fetchRoot(transport http.RoundTripper, addr string) error {
	client := &http.Client{Transport: transport, Timeout: 5 * time.Second}
	return Until(10*time.Second, "the CA at "+addr, func() error {
		answer, err := client.Get("https://" + addr + ":15000/roots/0")
		if err != nil {
			return fmt.Errorf("asking the CA for its root: %w", err)
		}
		defer answer.Body.Close()
		ca.RootPEM, err = io.ReadAll(answer.Body)
		if err != nil {
			return fmt.Errorf("reading the root of the CA: %w", err)
		}
		return os.WriteFile(ca.Root, ca.RootPEM, 0o644)
	})
}

// serveProxy serves the directory on port 443 of addr. Pebble's URLs follow the
// Host header, so clients stay on the proxy.
func (ca *CA) serveProxy(addr string, cert *tls.Certificate, inner http.RoundTripper) error {
	proxy := &httputil.ReverseProxy{
		Transport: inner,
		ErrorLog:  log.New(io.Discard, "", 0),
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "https", Host: addr + ":14000"})
			r.Out.Host = r.In.Host
		},
		ModifyResponse: ca.count,
	}
	server := &http.Server{
		Addr:      addr + ":443",
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{*cert}},
		ErrorLog:  log.New(io.Discard, "", 0),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if handler := ca.see(); handler != nil {
				handler(w, r)
				return
			}
			names := orderedNames(r)
			proxy.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), namesKey{}, names)))
		}),
	}
	go func() { _ = server.ListenAndServeTLS("", "") }() // ends with the process
	return Until(5*time.Second, "the CA's endpoint", func() error { return dial(addr + ":443") })
}

// see counts a request and returns what is to answer it in place of the CA.
func (ca *CA) see() http.HandlerFunc {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	ca.requests++
	return ca.inject
}

// namesKey is the context key of the names that a request orders.
type namesKey struct{}

// count notes the names of an order that has reached the CA. One that the CA
// refused for its nonce has not: the client sends it again (RFC 8555 section 6.5).
func (ca *CA) count(answer *http.Response) error {
	names, _ := answer.Request.Context().Value(namesKey{}).([]string)
	if len(names) == 0 {
		return nil
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return fmt.Errorf("reading the answer to an order: %w", err)
	}
	answer.Body = io.NopCloser(bytes.NewReader(body))
	if answer.StatusCode == http.StatusBadRequest && bytes.Contains(body, []byte("badNonce")) {
		return nil
	}
	ca.mu.Lock()
	defer ca.mu.Unlock()
	for _, name := range names {
		ca.orders[name]++
	}
	return nil
}

// orderedNames gives the identifiers that a request orders a certificate for
// (RFC 8555 section 7.4), and leaves the body to be read again.
func orderedNames(r *http.Request) []string {
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, 1<<20))
	r.Body = io.NopCloser(bytes.NewReader(body))
	var jws struct {
		Payload string `json:"payload"`
	}
	if err != nil || json.Unmarshal(body, &jws) != nil {
		return nil
	}
	payload, err := base64.RawURLEncoding.DecodeString(jws.Payload)
	var order struct {
		Identifiers []struct {
			Value string `json:"value"`
		} `json:"identifiers"`
	}
	if err != nil || json.Unmarshal(payload, &order) != nil {
		return nil
	}
	var names []string
	for _, identifier := range order.Identifiers {
		names = append(names, identifier.Value)
	}
	return names
}

// Orders is how many orders for a name have reached the CA.
func (ca *CA) Orders(name string) int {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	return ca.orders[name]
}

// AllOrders is how many orders have reached the CA, for whatever name.
func (ca *CA) AllOrders() int {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	all := 0
	for _, n := range ca.orders {
		all += n
	}
	return all
}

// Requests is how many requests of any kind have reached the CA.
func (ca *CA) Requests() int {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	return ca.requests
}

// Inject answers every request with handler instead of the CA; nil ends that.
func (ca *CA) Inject(handler http.HandlerFunc) {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	ca.inject = handler
}
