package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// step is a step of the ACME flow, as a request tells it.
type step string

const (
	atDirectory   step = "directory"
	atNonce       step = "new nonce"
	atAccount     step = "new account"
	atOrder       step = "new order"
	atAuthz       step = "authorization"
	atChallenge   step = "challenge"
	atPoll        step = "authorization, once the challenge has begun"
	atFinalize    step = "finalize"
	atOrderPoll   step = "order"
	atCertificate step = "certificate"
	atRenewalInfo step = "renewal information"
	atRevocation  step = "revocation"
)

// asked is one request that reached a gate.
type asked struct {
	at       time.Time
	step     step
	host     string // that it is about, as far as it is about one
	replaces string // ARI identifier of an order
	refused  bool   // answered by the gate in the CA's place, or refused for its nonce
}

// gate is a proxy before a CA of the network that keeps a journal of the flow's
// steps and can answer, or fail, in the CA's place. Its URL is another CA to
// clients, with accounts of its own. It says that its CAA identity is ca.test.
type gate struct {
	// front is what a client needs to know.
	front *testnet.CA

	mu      sync.Mutex
	back    *testnet.CA
	proxy   http.Handler
	journal []asked
	placed  map[string]int    // orders that the CA has taken, by hostname
	hosts   map[string]string // hostname by path
	begun   map[string]bool   // challenge begun, by hostname
	rule    func(asked) http.HandlerFunc
	rewrite func(asked, *http.Response)
}

// openGate opens a gate on port 443 of addr until the test ends.
func openGate(t *testing.T, addr string, back *testnet.CA) *gate {
	t.Helper()
	authority, err := testnet.NewAuthority("gate at " + addr)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := authority.Issue(addr)
	if err != nil {
		t.Fatal(err)
	}
	trust := filepath.Join(t.TempDir(), "gate.pem")
	if err := os.WriteFile(trust, authority.PEM, 0o644); err != nil {
		t.Fatal(err)
	}
	g := &gate{
		front: &testnet.CA{Directory: "https://" + addr + "/dir", Trust: trust, Root: back.Root, RootPEM: back.RootPEM},
		hosts: map[string]string{}, begun: map[string]bool{}, placed: map[string]int{},
	}
	g.lead(t, back)
	server := &http.Server{
		Handler:   g,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{*cert}},
		ErrorLog:  log.New(io.Discard, "", 0),
		// HTTP/1.1 only, so that a connection can be reset.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	listener, err := net.Listen("tcp", addr+":443")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.ServeTLS(listener, "", "") }() // ends with Close
	t.Cleanup(func() { server.Close() })
	return g
}

// lead makes another CA answer behind the gate.
func (g *gate) lead(t *testing.T, back *testnet.CA) {
	t.Helper()
	trust, err := os.ReadFile(back.Trust)
	if err != nil {
		t.Fatal(err)
	}
	to, err := url.Parse(back.Directory)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool(trust)}, MaxIdleConnsPerHost: 50},
		ErrorLog:  log.New(io.Discard, "", 0),
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "https", Host: to.Host})
			r.Out.Host = r.In.Host
		},
		ModifyResponse: g.learn,
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.back, g.proxy = back, proxy
	g.front.Root, g.front.RootPEM = back.Root, back.RootPEM
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a := g.describe(r)
	g.mu.Lock()
	if g.rule != nil {
		if h := g.rule(a); h != nil {
			a.refused = true
			g.journal = append(g.journal, a)
			g.mu.Unlock()
			h(w, r)
			return
		}
	}
	r = r.WithContext(context.WithValue(r.Context(), placeKey{}, len(g.journal)))
	g.journal = append(g.journal, a)
	proxy := g.proxy
	g.mu.Unlock()
	proxy.ServeHTTP(w, r)
}

// pass is the CA's own answer, for rules.
func (g *gate) pass(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	proxy := g.proxy
	g.mu.Unlock()
	proxy.ServeHTTP(w, r)
}

// describe tells what a request is about, and leaves its body to be read again.
func (g *gate) describe(r *http.Request) asked {
	a := asked{at: time.Now()}
	body, _ := io.ReadAll(http.MaxBytesReader(nil, r.Body, 1<<20)) // what cannot be read is no order
	r.Body = io.NopCloser(bytes.NewReader(body))
	g.mu.Lock()
	defer g.mu.Unlock()
	a.host = g.hosts[r.URL.Path]
	begins := func(prefix string) bool { return strings.HasPrefix(r.URL.Path, prefix) }
	switch {
	case begins("/dir"):
		a.step = atDirectory
	case begins("/nonce-plz"):
		a.step = atNonce
	case begins("/sign-me-up"):
		a.step = atAccount
	case begins("/order-plz"):
		a.step = atOrder
		var order struct {
			Identifiers []struct{ Value string }
			Replaces    string
		}
		if decodeJWS(body, &order) == nil && len(order.Identifiers) == 1 {
			a.host, a.replaces = order.Identifiers[0].Value, order.Replaces
			g.begun[a.host] = false
		}
	case begins("/authZ/"):
		a.step = atAuthz
		if g.begun[a.host] {
			a.step = atPoll
		}
	case begins("/chalZ/"):
		a.step = atChallenge
	case begins("/finalize-order/"):
		a.step = atFinalize
	case begins("/my-order/"):
		a.step = atOrderPoll
	case begins("/certZ/"):
		a.step = atCertificate
	case strings.Contains(r.URL.Path, "/renewalInfo/"):
		a.step = atRenewalInfo
	case begins("/revoke-cert"):
		a.step = atRevocation
	default:
		a.step = step(r.URL.Path)
	}
	return a
}

func decodeJWS(body []byte, to any) error {
	var jws struct{ Payload string }
	if err := json.Unmarshal(body, &jws); err != nil {
		return err
	}
	payload, err := base64.RawURLEncoding.DecodeString(jws.Payload)
	if err != nil {
		return err
	}
	return json.Unmarshal(payload, to)
}

// placeKey leads to a request's place in the journal.
type placeKey struct{}

// learn reads off an answer which URLs belong to which hostname.
func (g *gate) learn(resp *http.Response) error {
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	path := resp.Request.URL.Path
	g.mu.Lock()
	defer g.mu.Unlock()
	if place, ok := resp.Request.Context().Value(placeKey{}).(int); ok && bytes.Contains(body, []byte("error:badNonce")) {
		g.journal[place].refused = true // Pebble refuses one nonce in twenty
	}
	if path == "/dir" {
		var dir map[string]any
		if json.Unmarshal(body, &dir) == nil {
			if meta, ok := dir["meta"].(map[string]any); ok {
				meta["caaIdentities"] = []string{"ca.test"}
			}
			body, _ = json.Marshal(dir) // it was JSON before
			resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
			resp.Header.Set("Content-Length", fmt.Sprint(len(body)))
		}
		return nil
	}
	if strings.Contains(path, "/renewalInfo/") && g.rewrite != nil {
		g.rewrite(asked{step: atRenewalInfo}, resp)
		return nil
	}
	var said struct {
		Identifiers    []struct{ Value string }
		Identifier     struct{ Value string }
		Authorizations []string
		Finalize       string
		Certificate    string
		Challenges     []struct{ URL string }
	}
	if json.Unmarshal(body, &said) != nil {
		return nil
	}
	host := said.Identifier.Value
	if len(said.Identifiers) == 1 {
		host = said.Identifiers[0].Value
	}
	if strings.HasPrefix(path, "/chalZ/") && resp.StatusCode < 300 {
		g.begun[g.hosts[path]] = true
	}
	if host == "" {
		return nil
	}
	if strings.HasPrefix(path, "/order-plz") && resp.StatusCode == http.StatusCreated {
		g.placed[host]++
	}
	urls := append(said.Authorizations, said.Finalize, said.Certificate, resp.Header.Get("Location"))
	for _, c := range said.Challenges {
		urls = append(urls, c.URL)
	}
	for _, u := range urls {
		if parsed, err := url.Parse(u); err == nil && u != "" {
			g.hosts[parsed.Path] = host
		}
	}
	return nil
}

// obey sets the rule that answers in the CA's place where it gives a handler;
// nil ends that. It is called with the gate locked.
func (g *gate) obey(rule func(asked) http.HandlerFunc) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.rule = rule
}

// seen is the journal so far; only with hosts given, of these alone.
func (g *gate) seen(hosts ...string) []asked {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []asked
	for _, a := range g.journal {
		if len(hosts) == 0 || slices.Contains(hosts, a.host) {
			out = append(out, a)
		}
	}
	return out
}

// passed is how many requests for a step reached the CA itself.
func (g *gate) passed(s step, hosts ...string) int {
	count := 0
	for _, a := range g.seen(hosts...) {
		if a.step == s && !a.refused {
			count++
		}
	}
	return count
}

// ordered is how many orders for a host the CA has taken.
func (g *gate) ordered(host string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.placed[host]
}

// between lists the requests of a span of time.
func (g *gate) between(from, to time.Time, hosts ...string) []asked {
	var out []asked
	for _, a := range g.seen(hosts...) {
		if a.at.After(from) && a.at.Before(to) {
			out = append(out, a)
		}
	}
	return out
}

// problem answers with a problem document (RFC 8555 section 6.7).
func problem(status int, kind, detail, retryAfter string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{ // the client may have gone
			"type": "urn:ietf:params:acme:error:" + kind, "detail": detail, "status": status,
		})
	}
}

// reset cuts the connection hard.
func reset(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	if c, ok := conn.(*tls.Conn); ok {
		if tcp, ok := c.NetConn().(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // then Close sends a reset
			tcp.Close()
		}
	}
	conn.Close()
}

// named is the name of a gate's CA in spec.tls.certificateAuthority.
func (g *gate) named() func(map[string]any) {
	u, _ := url.Parse(g.front.Directory) // of our own making
	return func(spec map[string]any) { spec["tls"] = map[string]any{"certificateAuthority": u.Host} }
}

// startAt runs the product with one issuer line per gate.
func startAt(t *testing.T, n *testnet.Network, s settings, gates ...*gate) *product {
	t.Helper()
	s.ca = gates[0].front
	p := start(t, n, s)
	if len(gates) == 1 {
		return p
	}
	text, err := os.ReadFile(p.config())
	if err != nil {
		t.Fatal(err)
	}
	config := string(text)
	begin := strings.Index(config, "\t\tissuer apoxy {")
	end := begin + strings.Index(config[begin:], "\n\t\t}\n") + len("\n\t\t}\n")
	var issuers strings.Builder
	for _, g := range gates {
		fmt.Fprintf(&issuers, "\t\tissuer apoxy {\n\t\t\temail ops@example.net\n\t\t\tdir %s\n\t\t\ttrusted_roots %s\n\t\t}\n", g.front.Directory, g.front.Trust)
	}
	p.stop(t)
	if err := os.WriteFile(p.config(), []byte(config[:begin]+issuers.String()+config[end:]), 0o644); err != nil {
		t.Fatal(err)
	}
	p.run(t)
	return p
}

// delegation is the customer's record that lets us answer DNS-01, as a line of
// a zone file.
func delegation(host string) string {
	host = strings.TrimPrefix(host, "*.")
	return fmt.Sprintf("_acme-challenge.%s. CNAME _acme-challenge.%[1]s.%s.", host, testnet.Zone)
}

// delegated makes the customer's zone hold the delegations of all hosts.
func (d *domain) delegated(t *testing.T, hosts ...string) {
	t.Helper()
	var lines []string
	for _, h := range hosts {
		lines = append(lines, delegation(h))
	}
	d.set(t, lines...)
}

// submit makes a record and does not wait for anything.
func (p *product) submit(t *testing.T, host string, changes ...func(map[string]any)) {
	t.Helper()
	if err := call(t.Context(), http.MethodPost, recordsPath, manifest(host, true, changes...), nil); err != nil {
		t.Fatal(err)
	}
}
