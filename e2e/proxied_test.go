package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// The addresses of what stands in front of the product, which trusts all of
// them, and of the backend behind it.
const (
	trustedFronts = "127.0.0.80/29"
	nginxAddr     = "127.0.0.81"
	haproxyAddr   = "127.0.0.82"
	caddyAddr     = "127.0.0.83"
	backendAddr   = "127.0.0.84:9000"
)

// seen is what the backend was told of a request.
type seen struct{ Host, Proto, ForwardedHost, Placeholder string }

// proxied runs the product with trusted proxies and, as its gateway, a backend
// that answers with what it sees.
func proxied(t *testing.T, n *testnet.Network) *product {
	t.Helper()
	listener, err := net.Listen("tcp", backendAddr)
	if err != nil {
		t.Fatal(err)
	}
	backend := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(seen{r.Host, r.Header.Get("X-Forwarded-Proto"), r.Header.Get("X-Forwarded-Host"), r.Header.Get("X-Placeholder")}) // the client reports what it did not get
	})}
	t.Cleanup(func() { backend.Close() })
	go func() { _ = backend.Serve(listener) }() // ends with Close

	p := start(t, n, settings{})
	p.reconfigure(t, "grace_period 2s", "grace_period 2s\n\tservers {\n\t\ttrusted_proxies static "+trustedFronts+"\n\t}")
	p.reconfigure(t, `respond "ours"`, "reverse_proxy "+backendAddr+" {\n\t\t\t\theader_up X-Placeholder {http.request.host}\n\t\t\t}")
	return p
}

// front is a proxy before the product: it listens on ports 80 and 443 of addr,
// ends TLS with the certificate in pair, and passes requests on over plain HTTP,
// or over TLS below /by-tls, where it calls the product by another record's name.
type front struct {
	name, addr string
	start      func(t *testing.T, dir, host, other string)
}

var fronts = []front{
	{"nginx", nginxAddr, startNginx},
	{"haproxy", haproxyAddr, startHAProxy},
	{"caddy", caddyAddr, startCaddy},
}

// spawn runs a program until the test ends and returns when addr is answered.
func spawn(t *testing.T, addr, program string, args ...string) {
	t.Helper()
	name := filepath.Base(program)
	proc, err := testnet.Spawn("front-"+name, []string{"PATH=" + os.Getenv("PATH") + ":/usr/sbin", "HOME=" + t.TempDir(), "XDG_DATA_HOME=", "XDG_CONFIG_HOME="}, program, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := proc.Stop(20 * time.Second); err != nil {
			t.Error(err)
		}
	})
	eventually(t, 20*time.Second, name+" to answer", func() error {
		conn, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			return fmt.Errorf("%w; its log ends: %s", err, proc.Tail(2000))
		}
		return conn.Close()
	})
}

// write makes a file in dir with the words of a template replaced.
func write(t *testing.T, dir, name, text string, words ...string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	words = append(words, "%DIR%", dir, "%PRODUCT%", testnet.ProductAddr)
	if err := os.WriteFile(path, []byte(strings.NewReplacer(words...).Replace(text)), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func startNginx(t *testing.T, dir, host, other string) {
	config := write(t, dir, "nginx.conf", `
user root;
daemon off;
pid %DIR%/nginx.pid;
error_log stderr;
events {}
http {
	access_log off;
	client_body_temp_path %DIR%/body;
	proxy_temp_path %DIR%/proxy;
	fastcgi_temp_path %DIR%/fastcgi;
	uwsgi_temp_path %DIR%/uwsgi;
	scgi_temp_path %DIR%/scgi;
	server {
		listen %ADDR%:80;
		listen %ADDR%:443 ssl;
		ssl_certificate %DIR%/front.pem;
		ssl_certificate_key %DIR%/front.pem;
		proxy_bind %ADDR%;
		proxy_http_version 1.1;
		proxy_set_header Host $http_host;
		proxy_set_header X-Forwarded-Proto $scheme;
		proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
		location / {
			proxy_pass http://%PRODUCT%;
		}
		location /by-tls {
			proxy_pass https://%PRODUCT%;
			proxy_ssl_server_name on;
			proxy_ssl_name %OTHER%;
		}
	}
}
`, "%ADDR%", nginxAddr, "%OTHER%", other)
	spawn(t, nginxAddr+":443", "/usr/sbin/nginx", "-c", config, "-e", "stderr", "-p", dir)
}

func startHAProxy(t *testing.T, dir, host, other string) {
	config := write(t, dir, "haproxy.cfg", `
defaults
	mode http
	timeout connect 5s
	timeout client 20s
	timeout server 20s
	option forwardfor
frontend clients
	bind %ADDR%:80
	bind %ADDR%:443 ssl crt %DIR%/front.pem
	http-request set-header X-Forwarded-Proto https if { ssl_fc }
	http-request set-header X-Forwarded-Proto http unless { ssl_fc }
	use_backend bytls if { path_beg /by-tls }
	default_backend plain
backend plain
	server edge %PRODUCT%:80 source %ADDR%
backend bytls
	server edge %PRODUCT%:443 source %ADDR% ssl verify none sni str(%OTHER%)
`, "%ADDR%", haproxyAddr, "%OTHER%", other)
	spawn(t, haproxyAddr+":443", "/usr/sbin/haproxy", "-db", "-f", config)
}

func startCaddy(t *testing.T, dir, host, other string) {
	config := write(t, dir, "Caddyfile", `
{
	admin off
	persist_config off
	auto_https off
	default_bind %ADDR%
	storage file_system %DIR%/storage
}
(pass) {
	handle /by-tls {
		reverse_proxy https://%PRODUCT% {
			header_up Host {http.request.hostport}
			transport http {
				local_address %ADDR%
				tls_server_name %OTHER%
				tls_insecure_skip_verify
			}
		}
	}
	reverse_proxy %PRODUCT%:80 {
		transport http {
			local_address %ADDR%
		}
	}
}
https://%HOST% {
	tls %DIR%/front.pem %DIR%/front.pem
	import pass
}
http:// {
	import pass
}
`, "%ADDR%", caddyAddr, "%HOST%", host, "%OTHER%", other)
	spawn(t, caddyAddr+":443", testnet.Program("caddy"), "run", "--config", config, "--adapter", "caddyfile")
}

// pair writes a certificate for host and its key into one file, as HAProxy
// wants them, and returns the root.
func pair(t *testing.T, path, host string) []byte {
	t.Helper()
	authority, err := testnet.NewAuthority("before the product")
	if err != nil {
		t.Fatal(err)
	}
	cert, err := authority.Issue(host)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return authority.PEM
}

// through gets url from the server at addr, past DNS, with the header fields
// given as "Name: value".
func through(t *testing.T, addr, url string, root []byte, fields ...string) (*http.Response, string) {
	t.Helper()
	c := client(root)
	c.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, to string) (net.Conn, error) {
		_, port, err := net.SplitHostPort(to)
		if err != nil {
			return nil, err
		}
		return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(addr, port))
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range fields {
		name, value, _ := strings.Cut(field, ": ")
		if name == "Host" {
			req.Host = value
		} else {
			req.Header.Set(name, value)
		}
	}
	answer, err := c.Do(req)
	if err != nil {
		t.Fatalf("getting %s from %s: %v", url, addr, err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(body)
}

// told demands what the backend was told.
func told(t *testing.T, answer *http.Response, body string, want seen) {
	t.Helper()
	var got seen
	if err := json.Unmarshal([]byte(body), &got); answer.StatusCode != http.StatusOK || err != nil || got != want {
		t.Errorf("answered %d (Location %q) %q, want 200 and %+v", answer.StatusCode, answer.Header.Get("Location"), body, want)
	}
}

// redirected demands a redirect for good.
func redirected(t *testing.T, answer *http.Response, to string) {
	t.Helper()
	if got := answer.Header.Get("Location"); answer.StatusCode != http.StatusPermanentRedirect || got != to {
		t.Errorf("answered %d to %q, want 308 to %q", answer.StatusCode, got, to)
	}
}

// TLS that a trusted proxy ended is the client's TLS; nobody else is believed.
func TestProxiedTLSIsEndedInFront(t *testing.T) {
	n := network(t)
	p := proxied(t, n)
	customer := customer(t, n, "fronted")
	host, other := "shop."+customer.name, "other."+customer.name
	p.create(t, other, true)
	o, err := p.get(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	r := p.preissued(t, customer, host, o.line(t, "ACMEChallenge"))
	p.await(t, other, 30*time.Second, "its certificate", is("TLSReady=True"))
	if got, want := r.condition("TargetReady").Message, `Gateway "default" is configured; nothing checks it.`; got != want {
		t.Errorf("TargetReady says %q, want %q", got, want)
	}

	for _, f := range fronts {
		t.Run(f.name, func(t *testing.T) {
			dir := t.TempDir()
			root := pair(t, filepath.Join(dir, "front.pem"), host)
			f.start(t, dir, host, other)
			for _, path := range []string{"/page?q=1", "/by-tls"} {
				answer, body := through(t, f.addr, "https://"+host+path, root)
				told(t, answer, body, seen{Host: host, Proto: "https", ForwardedHost: host, Placeholder: host})
				answer, _ = through(t, f.addr, "http://"+host+path, nil)
				redirected(t, answer, "https://"+host+path)
			}
			answer, _ := through(t, f.addr, "https://"+host+"/", root, "Host: unknown."+customer.name)
			if f.name != "caddy" && answer.StatusCode != http.StatusMisdirectedRequest { // Caddy's site has one host
				t.Errorf("a host without a record is answered %d, want 421", answer.StatusCode)
			}
		})
	}

	t.Run("a client's own word is not believed", func(t *testing.T) {
		answer, _ := through(t, testnet.ProductAddr, "http://"+host+"/", nil, "X-Forwarded-Proto: https")
		redirected(t, answer, "https://"+host+"/")
		answer, body := through(t, testnet.ProductAddr, "https://"+host+"/", p.ca.RootPEM, "X-Forwarded-Proto: http")
		told(t, answer, body, seen{Host: host, Proto: "https", ForwardedHost: host, Placeholder: host})
	})
	t.Run("a mapped port is not named in redirects", func(t *testing.T) {
		for _, used := range []string{host + ":12345", host + ":80", host + "."} {
			answer, _ := through(t, testnet.ProductAddr, "http://"+testnet.ProductAddr+"/page", nil, "Host: "+used)
			redirected(t, answer, "https://"+host+"/page")
		}
	})
}

// A name with its final dot is the same name to CAs and backends.
func TestProxiedFinalDotOfAHost(t *testing.T) {
	n := network(t)
	p := proxied(t, n)
	p.reconfigure(t, "http:// {\n\timport edge", "http:// {\n\thandle_errors {\n\t\trespond \"{apoxy.record.name} {err.status_code}\"\n\t}\n\timport edge")
	customer := customer(t, n, "dotted")
	host, pending := "plain."+customer.name, "pending."+customer.name
	withTLS := p.create(t, pending, true)
	customer.set(t, p.create(t, host, false).line(t, "Traffic"))
	p.await(t, host, 30*time.Second, "Ready", is("Ready=True"))

	answer, body := through(t, testnet.ProductAddr, "http://"+testnet.ProductAddr+"/", nil, "Host: "+host+".")
	told(t, answer, body, seen{Host: host, Proto: "http", ForwardedHost: host, Placeholder: host})

	t.Run("handle_errors knows the record", func(t *testing.T) {
		answer, body := through(t, testnet.ProductAddr, "http://"+testnet.ProductAddr+"/", nil, "Host: "+pending+".")
		if want := withTLS.Metadata.Name + " 421"; answer.StatusCode != http.StatusMisdirectedRequest || body != want {
			t.Errorf("answered %d %q, want 421 %q", answer.StatusCode, body, want)
		}
	})
	t.Run("HTTP-01 gets through", func(t *testing.T) {
		// The CA's part, as certmagic keeps a challenge that is under way.
		challenge := acme.Challenge{Type: acme.ChallengeTypeHTTP01, Token: "token", KeyAuthorization: "token.thumbprint",
			Identifier: acme.Identifier{Type: "dns", Value: pending}}
		text, err := json.Marshal(challenge)
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(p.dir, "storage", "acme", issuerDir(p.ca.Directory), "challenge_tokens")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, pending+".json"), text, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, asked := range []string{pending, pending + ".", pending + ".:80", strings.ToUpper(pending) + "."} {
			answer, body := through(t, testnet.ProductAddr, "http://"+testnet.ProductAddr+challenge.HTTP01ResourcePath(), nil, "Host: "+asked)
			if answer.StatusCode != http.StatusOK || body != challenge.KeyAuthorization {
				t.Errorf("the challenge of %s is answered %d %q, want %q", asked, answer.StatusCode, body, challenge.KeyAuthorization)
			}
		}
		answer, _ := through(t, testnet.ProductAddr, "http://"+testnet.ProductAddr+challenge.HTTP01ResourcePath()+"x", nil, "Host: "+pending+".")
		if answer.StatusCode != http.StatusMisdirectedRequest {
			t.Errorf("another token is answered %d, want 421", answer.StatusCode)
		}
	})
}

// issuerDir is how certmagic names the directory of a CA.
func issuerDir(directory string) string {
	return strings.NewReplacer("https://", "", ":", "", "/", "-").Replace(directory)
}

// The recipes of docs/proxies.md for the checks of balancers.
func TestProxiedBalancerProbes(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{})
	customer := customer(t, n, "balanced")
	host := "shop." + customer.name
	p.preissued(t, customer, host)
	p.reconfigure(t, "grace_period 2s", "grace_period 2s\n\tskip_install_trust\n\tservers {\n\t\tlistener_wrappers {\n\t\t\tproxy_protocol {\n\t\t\t\tallow "+trustedFronts+"\n\t\t\t}\n\t\t\ttls\n\t\t}\n\t}")
	p.reconfigure(t, "https:// {", "http://"+testnet.ProductAddr+" {\n\trespond alive\n}\nhttps://"+testnet.ProductAddr+" {\n\ttls internal\n\trespond alive\n}\nhttps:// {")

	for _, c := range []struct{ name, from, preface string }{
		{"by address", "127.0.0.1", ""},
		{"PROXY UNKNOWN", haproxyAddr, "PROXY UNKNOWN\r\n"},
		{"PROXY LOCAL", haproxyAddr, "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"},
	} {
		for _, port := range []string{"80", "443"} {
			t.Run(c.name+" on "+port, func(t *testing.T) {
				eventually(t, 20*time.Second, "the answer", func() error { return probe(c.from, port, c.preface) })
			})
		}
	}
	t.Run("customers are served beside them", func(t *testing.T) {
		if _, err := p.handshake(host); err != nil {
			t.Error(err)
		}
		if err := shakeHands("unknown." + customer.name); err == nil || !strings.Contains(err.Error(), "remote error") {
			t.Errorf("a handshake for a name without a record ends with %v, want a refusal", err)
		}
	})
	t.Run("haproxy finds all of them up and passes TLS through", func(t *testing.T) {
		dir := t.TempDir()
		config := write(t, dir, "haproxy.cfg", `
defaults
	timeout connect 5s
	timeout client 20s
	timeout server 20s
	default-server source %ADDR% check inter 200ms fall 1 rise 1
frontend stats
	mode http
	bind %ADDR%:8404
	stats enable
	stats uri /
listen http
	mode http
	bind %ADDR%:80
	option httpchk
	http-check send meth GET uri / ver HTTP/1.1 hdr Host %PRODUCT%
	server edge %PRODUCT%:80
listen https
	mode tcp
	bind %ADDR%:443
	option httpchk
	http-check send meth GET uri / ver HTTP/1.1 hdr Host %PRODUCT%
	server edge %PRODUCT%:443 send-proxy check-send-proxy check-ssl verify none
`, "%ADDR%", haproxyAddr)
		spawn(t, haproxyAddr+":443", "/usr/sbin/haproxy", "-db", "-f", config)
		eventually(t, 20*time.Second, "both servers to be up after a check", func() error {
			_, table := through(t, haproxyAddr, "http://stats:8404/;csv", nil)
			for _, line := range []string{"http,edge,", "https,edge,"} {
				_, row, _ := strings.Cut(table, "\n"+line)
				row, _, _ = strings.Cut(row, "\n")
				if !strings.Contains(row, ",UP,") || !strings.Contains(row, ",L7OK,200,") {
					return errorf("%s: %s", line, row)
				}
			}
			return nil
		})
		if _, err := tlsState(haproxyAddr, host, p.ca.RootPEM); err != nil {
			t.Errorf("through the balancer: %v", err)
		}
	})
}

// probe asks the product as a balancer's check does: from an address, after a
// preface, for the product's own address and without a server name.
func probe(from, port, preface string) error {
	conn, err := dialFrom(from, port)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, preface); err != nil {
		return err
	}
	if port == "443" {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) // as balancers do; no server name
	}
	if _, err := fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", testnet.ProductAddr); err != nil {
		return err
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK || string(body) != "alive" {
		return errorf("answered %d %q, %v", answer.StatusCode, body, err)
	}
	return nil
}

func dialFrom(from, port string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: 5 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := dialer.Dial("tcp", net.JoinHostPort(testnet.ProductAddr, port))
	if err != nil {
		return nil, err
	}
	return conn, conn.SetDeadline(time.Now().Add(10 * time.Second))
}

// shakeHands shakes hands with the product for a name, trusting anybody.
func shakeHands(serverName string) error {
	conn, err := net.DialTimeout("tcp", testnet.ProductAddr+":443", 5*time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	return tls.Client(conn, &tls.Config{ServerName: serverName, InsecureSkipVerify: true}).Handshake()
}
