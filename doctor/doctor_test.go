package doctor

import (
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/internal/dnstest"
)

const testZone = "cname.example.net"

// site is a whole set-up that is right, to be spoilt.
type site struct {
	world    *dnstest.World
	ns       *dnstest.Server
	provider *dnstest.Server
	parent   *dnstest.Zone
	zone     *dnstest.Zone
	edge     *httptest.Server
	edgeTLS  *httptest.Server
	ca       *httptest.Server

	setup   Setup
	options Options
}

func newSite(t *testing.T) *site {
	t.Helper()
	w := dnstest.New(t)
	s := &site{world: w, provider: w.Server("ns.provider.org."), ns: w.Server("ns1.cname.example.net.")}
	s.parent = w.Zone("example.net.", s.provider)
	s.zone = w.Zone(testZone+".", s.ns)
	s.zone.Set("_apoxy-verify IN TXT \"domain ownership verification\"", "api.example.com IN A 127.0.0.1", "@ IN CAA 0 issue \"ca.example\"")
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Server", "Caddy")
		w.WriteHeader(http.StatusMisdirectedRequest)
	})
	s.edge, s.edgeTLS = httptest.NewServer(handler), httptest.NewUnstartedServer(handler)
	s.edgeTLS.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return nil, errors.New("nobody is served by that name") // as Caddy does
	}}
	s.edgeTLS.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.edgeTLS.StartTLS()
	t.Cleanup(s.edge.Close)
	t.Cleanup(s.edgeTLS.Close)
	s.ca = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"newNonce":"n","newAccount":"a","newOrder":"o","meta":{"caaIdentities":["ca.example"]}}`)
	}))
	t.Cleanup(s.ca.Close)
	root := filepath.Join(t.TempDir(), "root.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.ca.Certificate().Raw})
	if err := os.WriteFile(root, text, 0o600); err != nil {
		t.Fatal(err)
	}
	s.setup = Setup{
		Zone:          testZone,
		Nameservers:   []Nameserver{{"ns1.cname.example.net", []netip.Addr{s.ns.Addr}}},
		EdgeAddresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")},
		DNS:           []string{":53"},
		Resolvers:     []string{fmt.Sprintf("127.0.0.1:%d", w.Port())},
		HTTPPort:      80, HTTPSPort: 443,
		Authorities: []Authority{{Directory: s.ca.URL, RootFiles: []string{root}}},
		Hostnames:   []string{"api.example.com"},
	}
	s.options = Options{Kernel: t.TempDir(), DNSPort: uint16(w.Port()), HTTPPort: port(s.edge), HTTPSPort: port(s.edgeTLS)}
	return s
}

func port(s *httptest.Server) uint16 {
	return netip.MustParseAddrPort(s.Listener.Addr().String()).Port()
}

func (s *site) examine(t *testing.T) Report {
	t.Helper()
	r, err := Examine(t.Context(), s.setup, s.options)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestARightSetUpHasNothingToMend(t *testing.T) {
	s := newSite(t)
	s.options.Base = admin(t, map[string]string{"/metrics": damagedMetric + " 0\n"}).URL
	r := s.examine(t)
	for _, f := range r.Findings {
		if f.Level != OK || f.Expected != "" || f.Mend != "" {
			t.Errorf("%+v", f)
		}
	}
	seen := map[string]bool{}
	for _, f := range r.Findings {
		seen[f.Check] = true
	}
	for _, check := range []string{"interception", "delegation", "glue", "dns-udp", "dns-tcp", "resolver", "edge", "ca", "clock", "caa", "store"} {
		if !seen[check] {
			t.Errorf("nothing was said of %s", check)
		}
	}
}

func TestEachFaultIsFoundAndHasAMend(t *testing.T) {
	for _, tc := range []struct {
		fault string
		spoil func(*testing.T, *site)
		check string // the finding that must be there
		level Level
		says  string
	}{
		{"the zone is not delegated", func(_ *testing.T, s *site) { s.parent.Remove("cname") },
			"delegation", Wrong, "create `cname.example.net. NS ns1.cname.example.net.`"},
		{"it is delegated to somebody else", func(_ *testing.T, s *site) {
			s.parent.Set("cname IN NS ns.provider.org.")
		}, "delegation", Wrong, "remove ns.provider.org there"},
		{"it is delegated to somebody else as well", func(_ *testing.T, s *site) {
			s.parent.Set("cname IN NS ns.provider.org.", "cname IN NS ns1.cname.example.net.")
		}, "delegation", Wrong, "NS ns.provider.org, ns1.cname.example.net"},
		{"a configured server is not delegated to", func(_ *testing.T, s *site) {
			s.setup.Nameservers = append(s.setup.Nameservers, Nameserver{"ns.provider.org", nil})
		}, "delegation", Note, "`cname.example.net. NS ns.provider.org.`"},
		{"no zone above is found", func(_ *testing.T, s *site) { s.world.Recursor.Behave(refuse) },
			"delegation", Wrong, "register the domain"},
		{"a resolver answers in place of every name server", func(_ *testing.T, s *site) {
			for _, server := range s.world.Servers() {
				server.Behave(func(x dnstest.Exchange) {
					if x.UDP() { // the Recursor asks within
						dnstest.AsResolver(x)
						return
					}
					_ = x.Writer.WriteMsg(x.Honest)
				})
			}
		}, "interception", Wrong, "let through"},
		{"the glue is missing", func(_ *testing.T, s *site) { s.parent.Remove("ns1.cname") },
			"glue", Wrong, "create `ns1.cname.example.net. A 127."},
		{"the glue is old", func(_ *testing.T, s *site) { s.parent.Set("ns1.cname IN A 127.53.200.200") },
			"glue", Wrong, "ns1.cname.example.net has 127.53.200.200"},
		{"a name server has no address", func(_ *testing.T, s *site) {
			s.setup.Nameservers[0] = Nameserver{"ns9.example.net", nil}
		}, "glue", Wrong, "an A record for ns9.example.net"},
		{"a name server's address is another one", func(_ *testing.T, s *site) {
			s.setup.Nameservers = []Nameserver{{"ns.provider.org", []netip.Addr{s.ns.Addr}}}
		}, "glue", Wrong, "correct the A and AAAA records of ns.provider.org"},
		{"a DS record stands above", func(_ *testing.T, s *site) {
			s.provider.Behave(func(x dnstest.Exchange) {
				if x.Request.Question[0].Qtype == dns.TypeDS {
					rr, _ := dns.NewRR(testZone + ". 300 IN DS 1 13 2 " + strings.Repeat("ab", 32))
					x.Honest.Answer, x.Honest.Ns = []dns.RR{rr}, nil
				}
				_ = x.Writer.WriteMsg(x.Honest) // the examination reports what it did not get
			})
		}, "dnssec", Wrong, "remove the DS record"},
		{"UDP is closed", func(_ *testing.T, s *site) { s.ns.Behave(dnstest.OnlyTCP) }, "dns-udp", Wrong, "open port 53 for UDP"},
		{"another server answers", func(_ *testing.T, s *site) { s.ns.Forget(s.zone) }, "dns-udp", Wrong, "does not serve the zone"},
		{"a forwarder answers", func(_ *testing.T, s *site) { s.ns.Behave(dnstest.NotAuthoritative) }, "dns-udp", Wrong, "forwarder"},
		{"a wildcard stands in the zone", func(_ *testing.T, s *site) { s.zone.Set("* IN A 192.0.2.1") }, "dns-udp", Wrong, "NXDOMAIN"},
		{"the verification name is not there", func(_ *testing.T, s *site) { s.zone.Remove("_apoxy-verify") }, "dns-udp", Wrong, "a TXT record"},
		{"a record's name leads elsewhere", func(_ *testing.T, s *site) { s.zone.Set("api.example.com IN A 192.0.2.1") }, "dns-udp", Wrong, "192.0.2.1"},
		{"DNS is answered on a port of its own", func(_ *testing.T, s *site) { s.setup.DNS = []string{"127.0.0.1:5300"} }, "dns", Note, "port 53 alone"},
		{"a resolver is down", func(_ *testing.T, s *site) { s.setup.Resolvers = append(s.setup.Resolvers, "127.0.0.1:1") }, "resolver", Wrong, "correct `resolvers`"},
		{"a resolver cannot reach the zone", func(_ *testing.T, s *site) { s.zone.SetBogus(true) }, "resolver", Wrong, "SERVFAIL"},
		{"the edge's HTTP is closed", func(_ *testing.T, s *site) { s.edge.Close() }, "edge", Wrong, "connection refused"},
		{"the edge's HTTPS is closed", func(_ *testing.T, s *site) { s.edgeTLS.Close() }, "edge", Wrong, "HTTPS"},
		{"the edge's HTTPS speaks no TLS", func(_ *testing.T, s *site) { s.options.HTTPSPort = port(s.edge) }, "edge", Wrong, "TLS handshake fails"},
		{"an edge that is not to be asked", func(_ *testing.T, s *site) { s.edge.Close(); s.setup.EdgeUnchecked = true }, "edge", Note, "edge_check is off"},
		{"an address to ask in its place", func(t *testing.T, s *site) {
			s.setup.EdgeCheck = []netip.Addr{netip.MustParseAddr("127.0.0.9")}
		}, "edge", Wrong, "connection refused"},
		{"an edge that wants the PROXY protocol", func(t *testing.T, s *site) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			go func() {
				for conn, err := l.Accept(); err == nil; conn, err = l.Accept() {
					conn.Close()
				}
			}()
			s.options.HTTPSPort = uint16(l.Addr().(*net.TCPAddr).Port)
		}, "edge", Note, "PROXY protocol"},
		{"the edge host does not exist", func(_ *testing.T, s *site) {
			s.setup.EdgeAddresses, s.setup.EdgeHost = nil, "edge.example.net"
		}, "edge", Wrong, "no address"},
		{"no authority is configured", func(_ *testing.T, s *site) { s.setup.Authorities = nil }, "ca", Wrong, "issuer apoxy"},
		{"the authority cannot be reached", func(_ *testing.T, s *site) { s.ca.Close() }, "ca", Wrong, "HTTPS_PROXY"},
		{"the authority is not trusted", func(_ *testing.T, s *site) { s.setup.Authorities[0].RootFiles = nil }, "ca", Wrong, "trusted_roots"},
		{"the authority's roots are out of reach", func(_ *testing.T, s *site) {
			s.setup.Authorities[0].RootFiles = []string{"/nowhere/root.pem"}
		}, "ca", Note, "where Caddy runs"},
		{"the directory is no directory", func(t *testing.T, s *site) {
			s.setup.Authorities[0].Directory = s.edge.URL
		}, "ca", Wrong, "no ACME directory"},
		{"the clock is slow", func(_ *testing.T, s *site) {
			s.options.Now = func() time.Time { return time.Now().Add(-time.Hour) }
		}, "clock", Wrong, "NTP"},
		{"the clock is fast", func(_ *testing.T, s *site) {
			s.options.Now = func() time.Time { return time.Now().Add(5 * time.Minute) }
		}, "clock", Wrong, "5m"},
		{"CAA names another authority", func(_ *testing.T, s *site) { s.zone.Set(`@ IN CAA 0 issue "other.example"`) }, "caa", Wrong, `caa 0 issue "ca.example"`},
		{"CAA allows one way only", func(_ *testing.T, s *site) {
			s.zone.Set(`@ IN CAA 0 issue "ca.example; validationmethods=http-01"`)
		}, "caa", Wrong, "dns-01"},
		{"CAA with quotation marks inside", func(_ *testing.T, s *site) {
			s.zone.Set(`@ IN CAA 0 issue "\"ca.example\""`)
		}, "caa", Wrong, "quotation marks"},
		{"CAA that is critical and unknown", func(_ *testing.T, s *site) {
			s.zone.Set(`@ IN CAA 128 later "x"`, `@ IN CAA 0 issue "ca.example"`)
		}, "caa", Wrong, "critical"},
		{"CAA that is bound to an account", func(_ *testing.T, s *site) {
			s.zone.Set(`@ IN CAA 0 issue "ca.example; accounturi=https://ca.example/1"`)
		}, "caa", Note, "account"},
		{"CAA of the edge host names another authority", func(_ *testing.T, s *site) {
			s.parent.Set("edge IN A 127.0.0.1", `edge IN CAA 0 issue "other.example"`)
			s.setup.EdgeAddresses, s.setup.EdgeHost = nil, "edge.example.net"
		}, "caa", Wrong, "create `edge.example.net. CAA 0 issue"},
	} {
		t.Run(tc.fault, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			tc.spoil(t, s)
			r := s.examine(t)
			found := slices.ContainsFunc(r.Findings, func(f Finding) bool {
				return f.Check == tc.check && f.Level == tc.level && strings.Contains(f.Seen+"|"+f.Expected+"|"+f.Mend, tc.says)
			})
			if !found {
				t.Errorf("want %s %s with %q, got:\n%s", tc.level, tc.check, tc.says, text(t, r))
			}
			for _, f := range r.Findings {
				if f.Level == Wrong && (f.Seen == "" || f.Expected == "" || f.Mend == "") {
					t.Errorf("a finding that does not say seen, expected and mend: %+v", f)
				}
			}
		})
	}
}

func text(t *testing.T, r Report) string {
	t.Helper()
	var b strings.Builder
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestReportAsTextAndJSON(t *testing.T) {
	r := Report{Zone: testZone, Findings: []Finding{
		ok("dns-udp", "ns1", "%s", "fine"),
		finding(Wrong, "dns-tcp", "ns1", "no answer\x1b[31m", "an answer over TCP", "open TCP 53"),
	}}
	const want = `ok     dns-udp     ns1: fine
WRONG  dns-tcp     ns1: no answer [31m
                   expected  an answer over TCP
                   mend      open TCP 53

1 of 2 checks of cname.example.net found something to mend.
`
	if got := text(t, r); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	var b strings.Builder
	if err := write(&b, r, "json"); err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal([]byte(b.String()), &back); err != nil || back.Findings[1].Mend != "open TCP 53" || back.Findings[0].Level != OK {
		t.Errorf("%v %+v", err, back)
	}
}
