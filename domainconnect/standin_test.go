package domainconnect

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/dnsprovider"
	"github.com/apoxy-dev/caddy-apoxy/internal/dnstest"
	"github.com/apoxy-dev/caddy-apoxy/resolver"
)

const (
	ownZone = "cname.example.net"
	theHost = "connect.provider.test"
)

var theService = Service{"example.net", "custom-domain"}

// standIn is a DNS provider that follows the public specification: the settings and
// template end-points, and the synchronous flow with its signature, over HTTPS. It has
// the zone example.com and is trusted by roots.
type standIn struct {
	t        *testing.T
	port     string
	roots    *x509.CertPool
	template Template
	requests atomic.Int64

	mu     sync.Mutex
	keysAt string // the name server that has the key
	// answer, if set, answers in place of the end-points.
	answer func(w http.ResponseWriter, r *http.Request) bool
	// applied are the records of the last link: owner to target.
	applied map[string]string
}

func newStandIn(t *testing.T) *standIn {
	p := &standIn{t: t, template: NewTemplate(theService, Names{Provider: "Example", Service: "Shop"}, ownZone, 1)}
	cert, roots := certificateFor(t, theHost)
	p.roots = roots
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	_, p.port, _ = net.SplitHostPort(l.Addr().String())
	server := &http.Server{Handler: p, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	t.Cleanup(func() { server.Close(); <-done })
	return p
}

// at is the authority of its URLs.
func (p *standIn) at() string { return theHost + ":" + p.port }

func (p *standIn) instead(f func(w http.ResponseWriter, r *http.Request) bool) {
	p.mu.Lock()
	p.answer = f
	p.mu.Unlock()
}

// asks sets where it asks for the key.
func (p *standIn) asks(server string) {
	p.mu.Lock()
	p.keysAt = server
	p.mu.Unlock()
}

// created are the records that the last link created.
func (p *standIn) created() map[string]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.applied
}

func (p *standIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.requests.Add(1)
	p.mu.Lock()
	answer := p.answer
	p.mu.Unlock()
	if answer != nil && answer(w, r) {
		return
	}
	switch path := "/v2/domainTemplates/providers/" + p.template.ProviderID + "/services/" + p.template.ServiceID; r.URL.Path {
	case "/dc/v2/example.com/settings":
		_ = json.NewEncoder(w).Encode(map[string]any{
			"providerId": "provider.test", "providerName": "Provider",
			"urlSyncUX": "https://" + p.at() + "/sync", "urlAPI": "https://" + p.at() + "/api/", "width": 750, "nameServers": []string{"ns1.provider.test"},
		})
	case "/api" + path:
		fmt.Fprint(w, `{"version": 1}`)
	case "/sync" + path + "/apply":
		if err := p.apply(r); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	default:
		http.NotFound(w, r)
	}
}

// apply does what section "Signature Verification" and those on templates say.
func (p *standIn) apply(r *http.Request) error {
	raw, q := r.URL.RawQuery, r.URL.Query()
	var signed []string
	for pair := range strings.SplitSeq(raw, "&") {
		if name, _, _ := strings.Cut(pair, "="); name != "sig" && name != "key" {
			signed = append(signed, pair)
		}
	}
	key, err := p.publicKey(q.Get("key"))
	if err != nil {
		return err
	}
	sig, err := base64.StdEncoding.DecodeString(q.Get("sig"))
	if err != nil {
		return fmt.Errorf("the signature is no base64: %w", err)
	}
	sum := sha256.Sum256([]byte(strings.Join(signed, "&")))
	if err := rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], sig); err != nil {
		return fmt.Errorf("the signature does not hold: %w", err)
	}
	domain, host := q.Get("domain"), q.Get("host")
	if domain != "example.com" || host == "" {
		return fmt.Errorf("domain %q, host %q", domain, host)
	}
	fqdn := host + "." + domain
	applied := map[string]string{}
	for _, rec := range p.template.Records {
		if g := q.Get("groupId"); g != "" && !strings.Contains(","+g+",", ","+rec.GroupID+",") {
			continue
		}
		owner := rec.Host + "." + fqdn + "."
		if rec.Host == "@" {
			owner = fqdn + "."
		}
		to := strings.ReplaceAll(rec.PointsTo, "%fqdn%", fqdn)
		to = strings.ReplaceAll(to, "%token%", q.Get("token"))
		if strings.Contains(to, "%") {
			return fmt.Errorf("%s holds a variable that the link does not give", to)
		}
		applied[owner] = to + "."
	}
	p.mu.Lock()
	p.applied = applied
	p.mu.Unlock()
	return nil
}

// publicKey puts the key together from the TXT records in the operator's zone.
func (p *standIn) publicKey(label string) (*rsa.PublicKey, error) {
	m := new(dns.Msg)
	m.SetQuestion(label+"."+p.template.SyncPubKeyDomain+".", dns.TypeTXT)
	p.mu.Lock()
	server := p.keysAt
	p.mu.Unlock()
	in, _, err := (&dns.Client{Net: "tcp"}).Exchange(m, server)
	if err != nil {
		return nil, err
	}
	parts := map[int]string{}
	for _, rr := range in.Answer {
		part := map[string]string{}
		for kv := range strings.SplitSeq(strings.Join(rr.(*dns.TXT).Txt, ""), ",") {
			k, v, _ := strings.Cut(kv, "=")
			part[k] = v
		}
		if part["a"] != "RS256" {
			return nil, fmt.Errorf("algorithm %q", part["a"])
		}
		n, err := strconv.Atoi(part["p"])
		if err != nil {
			return nil, err
		}
		parts[n] = part["d"]
	}
	whole := ""
	for i := range len(parts) {
		whole += parts[i+1]
	}
	der, err := base64.StdEncoding.DecodeString(whole)
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, err
	}
	return key.(*rsa.PublicKey), nil
}

func certificateFor(t *testing.T, host string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, roots
}

// network is a DNS world with the customer's zone, which names the stand-in, and a finder.
type network struct {
	*dnstest.Customer
	provider *standIn
	finder   *Finder
	now      atomic.Int64 // seconds on
	found    chan string
}

func newNetwork(t *testing.T, change ...func(*Config)) *network {
	n := &network{Customer: dnstest.NewCustomer(t), provider: newStandIn(t), found: make(chan string, 64)}
	n.Domain.Set(fmt.Sprintf("_domainconnect TXT %s/dc", n.provider.at()))
	n.Zone("provider.test").Set("connect A 127.0.0.1")
	r := resolver.New(resolver.Config{
		Resolvers: []string{fmt.Sprintf("127.0.0.1:%d", n.Port())}, Port: uint16(n.Port()),
		Timeout: 6 * time.Second, QueryTimeout: 600 * time.Millisecond, CacheTTL: time.Nanosecond,
		PrivateNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	})
	begun := time.Now()
	cfg := Config{
		DNS: r, TLS: &tls.Config{RootCAs: n.provider.roots},
		PrivateNetworks: func() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} },
		OnFound:         func(host string) { n.found <- host },
		Now:             func() time.Time { return begun.Add(time.Duration(n.now.Load()) * time.Second) },
	}
	for _, f := range change {
		f(&cfg)
	}
	n.finder = NewFinder(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = n.finder.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return n
}

// nobody has no records.
type nobody struct{}

func (nobody) Lookup([]byte) (dnsprovider.Name, bool) { return dnsprovider.Name{}, false }
func (nobody) HasBelow([]byte) bool                   { return false }
func (nobody) Whole() bool                            { return true }

// publish serves the operator's zone with the public key of k, and returns where.
func publish(t *testing.T, k *Key) string {
	t.Helper()
	texts, err := dnsprovider.NewTexts(KeyLabel)
	if err != nil {
		t.Fatal(err)
	}
	if err := texts.Set(k.Records()); err != nil {
		t.Fatal(err)
	}
	zone, err := dnsprovider.NewZone(dnsprovider.Config{
		Name: ownZone, Nameservers: []dnsprovider.Nameserver{{Name: "ns1.example.net"}},
		EdgeAddrs: []netip.Addr{netip.MustParseAddr("203.0.113.10")}, Texts: texts,
	}, nobody{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	authority, err := dnsprovider.NewAuthority(zone)
	if err != nil {
		t.Fatal(err)
	}
	server, err := dnsprovider.Listen(t.Context(), "127.0.0.1:0", dnsprovider.ServerOptions{Authority: authority})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return server.Addr().String()
}

// visit follows a link as a browser does, and returns what the provider says.
func (n *network) visit(t *testing.T, link string) error {
	t.Helper()
	u, err := url.Parse(link)
	if err != nil {
		t.Fatal(err)
	}
	if u.Scheme != "https" || u.Host != n.provider.at() {
		t.Fatalf("the link leads to %s", link)
	}
	status, body, err := n.finder.asker.get(t.Context(), link)
	if err != nil {
		t.Fatal(err)
	}
	if status != http.StatusOK {
		return fmt.Errorf("%d %s", status, body)
	}
	return nil
}
