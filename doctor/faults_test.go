package doctor

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/internal/dnstest"
)

// overUDP behaves by b where the examination asks over UDP. The Recursor of the
// world asks within and is told the truth.
func overUDP(b dnstest.Behaviour) dnstest.Behaviour {
	return func(x dnstest.Exchange) {
		if x.UDP() {
			b(x)
			return
		}
		_ = x.Writer.WriteMsg(x.Honest)
	}
}

// authority has the set-up's authority answer so.
func (s *site) authority(answer http.HandlerFunc) { s.ca.Config.Handler = answer }

const directoryFields = `"newNonce":"n","newAccount":"a","newOrder":"o"`

func TestMoreFaultsAndWhatIsNone(t *testing.T) {
	for _, tc := range []struct {
		is    string
		spoil func(*testing.T, *site)
		check string
		level Level
		says  string
	}{
		{"a server of the zone above refuses", func(_ *testing.T, s *site) { s.provider.Behave(overUDP(dnstest.Fail(dns.RcodeRefused))) },
			"delegation", Note, "port 53 is closed from here"},
		{"a resolver answers in place of one of two servers", func(_ *testing.T, s *site) {
			second := s.world.Server("ns2.provider.org.")
			s.parent.Set("@ IN NS ns.provider.org.", "@ IN NS ns2.provider.org.")
			second.Behave(overUDP(dnstest.AsResolver))
		}, "interception", Note, "unless something redirects"},
		{"a name server elsewhere is right", func(_ *testing.T, s *site) {
			s.setup.Nameservers = append(s.setup.Nameservers, Nameserver{"ns.provider.org", []netip.Addr{s.provider.Addr}})
		}, "glue", OK, "127."},
		{"TCP is closed", func(_ *testing.T, s *site) {
			s.ns.Behave(func(x dnstest.Exchange) {
				if _, within := x.Writer.RemoteAddr().(*net.TCPAddr); !within || x.Writer.RemoteAddr().String() == ":0" {
					_ = x.Writer.WriteMsg(x.Honest)
				}
			})
		}, "dns-tcp", Wrong, "open port 53 for TCP"},
		{"UDP answers are cut, and whole over TCP", func(_ *testing.T, s *site) { s.ns.Behave(dnstest.Truncated) }, "dns-udp", OK, "ns1.cname.example.net."},
		{"no DNS is answered", func(_ *testing.T, s *site) { s.ns.Behave(overUDP(dnstest.Garbage)) }, "dns-udp", Wrong, "open port 53 for UDP"},
		{"the zone's server fails", func(_ *testing.T, s *site) { s.ns.Behave(overUDP(dnstest.Fail(dns.RcodeServerFailure))) }, "dns-udp", Wrong, "SERVFAIL"},
		{"a response code without a name", func(_ *testing.T, s *site) {
			s.ns.Behave(overUDP(func(x dnstest.Exchange) { x.Honest.Rcode = 14; _ = x.Writer.WriteMsg(x.Honest) }))
		}, "dns-udp", Wrong, "response code 14"},
		{"a record's name leads to the edge host", func(_ *testing.T, s *site) {
			s.parent.Set("edge IN A 127.0.0.1")
			s.zone.Remove("api.example.com")
			s.zone.Set("api.example.com IN CNAME edge.example.net.")
			s.setup.EdgeAddresses, s.setup.EdgeHost = nil, "edge.example.net"
		}, "dns-udp", OK, "CNAME edge.example.net"},
		{"it leads to another host", func(_ *testing.T, s *site) {
			s.parent.Set("edge IN A 127.0.0.1")
			s.setup.EdgeAddresses, s.setup.EdgeHost = nil, "edge.example.net"
		}, "dns-udp", Wrong, "CNAME edge.example.net"},
		{"an edge with IPv6 alone", func(_ *testing.T, s *site) {
			s.zone.Remove("api.example.com")
			s.zone.Set("api.example.com IN AAAA ::1")
			s.setup.EdgeAddresses = []netip.Addr{netip.MustParseAddr("::1")}
		}, "dns-udp", OK, "::1"},
		{"a resolver says nothing over TCP", func(_ *testing.T, s *site) {
			s.world.Recursor.Behave(func(rw dns.ResponseWriter, _ *dns.Msg) bool {
				_, tcp := rw.RemoteAddr().(*net.TCPAddr)
				return tcp
			})
		}, "resolver", Note, "answers over TCP"},
		{"a resolver is led elsewhere", func(_ *testing.T, s *site) {
			s.world.Recursor.Behave(func(rw dns.ResponseWriter, req *dns.Msg) bool {
				if req.Question[0].Qtype != dns.TypeTXT {
					return false
				}
				m := new(dns.Msg)
				m.SetRcode(req, dns.RcodeNameError)
				return rw.WriteMsg(m) == nil
			})
		}, "resolver", Wrong, "still holds the old answer"},
		{"a server that is no Caddy has the port", func(_ *testing.T, s *site) {
			s.edge.Config.Handler = http.NotFoundHandler()
		}, "edge", Note, "another server has the port"},
		{"a certificate for anybody", func(_ *testing.T, s *site) { s.edgeTLS.TLS.GetConfigForClient = nil }, "edge", Note, "another server has the port"},
		{"the edge host has addresses", func(_ *testing.T, s *site) {
			s.parent.Set("edge IN A 127.0.0.1")
			s.setup.EdgeAddresses, s.setup.EdgeHost = nil, "edge.example.net"
		}, "edge", OK, "421"},
		{"Caddy's own port at the address to ask", func(t *testing.T, s *site) {
			s.setup.EdgeCheck = s.setup.EdgeAddresses
			s.setup.HTTPPort, s.options.HTTPPort = int(port(s.edge)), 1
		}, "edge", OK, "421"},
		{"the authority is in trouble", func(_ *testing.T, s *site) {
			s.authority(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
		}, "ca", Wrong, "try again later"},
		{"the authority limits requests", func(_ *testing.T, s *site) {
			s.authority(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) })
		}, "ca", Wrong, "status 429"},
		{"another page of the authority", func(_ *testing.T, s *site) {
			s.authority(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") })
		}, "ca", Wrong, "correct `dir`"},
		{"the directory is cut", func(_ *testing.T, s *site) {
			s.authority(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "500")
				fmt.Fprint(w, "{"+directoryFields)
			})
		}, "ca", Wrong, "unexpected EOF"},
		{"JSON that is no directory", func(_ *testing.T, s *site) {
			s.authority(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{}`) })
		}, "ca", Wrong, "without the fields"},
		{"a URL that is none", func(_ *testing.T, s *site) { s.setup.Authorities[0].Directory = "https://ca.example:port/" }, "ca", Wrong, "invalid port"},
		{"a root file without a certificate", func(t *testing.T, s *site) {
			file := filepath.Join(t.TempDir(), "empty.pem")
			if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
			s.setup.Authorities[0].RootFiles = []string{file}
		}, "ca", Note, "no certificate in PEM"},
		{"Caddy's own authority is trusted by its root", func(t *testing.T, s *site) {
			root, err := os.ReadFile(s.setup.Authorities[0].RootFiles[0])
			if err != nil {
				t.Fatal(err)
			}
			s.options.Base = admin(t, map[string]string{"/pki/ca/local": fmt.Sprintf(`{"root_certificate":%q}`, root)}).URL
			s.setup.Authorities[0].RootFiles, s.setup.Authorities[0].RootPKI = nil, "local"
		}, "ca", OK, "an ACME directory"},
		{"Caddy's own authority does not exist", func(t *testing.T, s *site) {
			s.options.Base = admin(t, nil).URL
			s.setup.Authorities[0].RootFiles, s.setup.Authorities[0].RootPKI = nil, "local"
		}, "ca", Note, "it has none"},
		{"no authority tells the time", func(_ *testing.T, s *site) {
			s.authority(func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Date"] = nil
				fmt.Fprint(w, "{"+directoryFields+"}")
			})
		}, "clock", Note, "no authority told the time"},
		{"the authority does not tell its CAA name", func(_ *testing.T, s *site) {
			s.authority(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{"+directoryFields+"}") })
		}, "caa", Note, "by hand"},
		{"no CAA record", func(_ *testing.T, s *site) { s.zone.Remove("@", dns.TypeCAA) }, "caa", OK, "no CAA record that restricts"},
		{"the look-up of CAA fails", func(_ *testing.T, s *site) { s.zone.SetBogus(true) }, "caa", Wrong, "mend the delegation"},
		{"the authority's name would draw on a terminal", func(_ *testing.T, s *site) {
			s.authority(func(w http.ResponseWriter, _ *http.Request) {
				fmt.Fprint(w, "{"+directoryFields+`,"meta":{"caaIdentities":["\u001b[31mca"]}}`)
			})
		}, "caa", Wrong, "issue  [31mca"},
		{"stored values are damaged", func(t *testing.T, s *site) {
			s.options.Base = admin(t, map[string]string{"/metrics": damagedMetric + " 2\n"}).URL
		}, "store", Wrong, "2 of them"},
		{"the metrics are out of reach", func(t *testing.T, s *site) {
			gone := httptest.NewServer(nil)
			gone.Close()
			s.options.Base = gone.URL
		}, "store", Note, "connection refused"},
	} {
		t.Run(tc.is, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			tc.spoil(t, s)
			r := s.examine(t)
			if !slices.ContainsFunc(r.Findings, func(f Finding) bool {
				return f.Check == tc.check && f.Level == tc.level && strings.Contains(f.Seen+"|"+f.Expected+"|"+f.Mend, tc.says)
			}) {
				t.Errorf("want %s %s with %q, got:\n%s", tc.level, tc.check, tc.says, text(t, r))
			}
			if strings.ContainsRune(text(t, r), '\x1b') {
				t.Errorf("the report has control characters: %q", text(t, r))
			}
		})
	}
}

func TestTroubleAtADoor(t *testing.T) {
	at := netip.MustParseAddr("203.0.113.10")
	for name, tc := range map[string]struct {
		err   error
		level Level
		says  string
	}{
		"no route":           {&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ENETUNREACH)}, Note, "no route"},
		"no address to dial": {os.NewSyscallError("connect", syscall.EADDRNOTAVAIL), Note, "no route"},
		"reset":              {os.NewSyscallError("read", syscall.ECONNRESET), Note, "PROXY protocol"},
		"timed out":          {os.ErrDeadlineExceeded, Wrong, "no answer"},
		"refused":            {os.NewSyscallError("connect", syscall.ECONNREFUSED), Wrong, "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, overTLS := range []bool{false, true} {
				found := judgeEdge(Setup{HTTPPort: 80, HTTPSPort: 443}, []door{{addr: at, port: 443, tls: overTLS, err: tc.err}})
				if len(found) != 1 || found[0].Level != tc.level || !strings.Contains(found[0].Seen+found[0].Mend, tc.says) {
					t.Errorf("%+v, want %s with %q", found, tc.level, tc.says)
				}
			}
		})
	}
}

// What others say has bounds: addresses of a name, names of an authority.
func TestWhatOthersSayIsBounded(t *testing.T) {
	s := newSite(t)
	var many []string
	for i := range 100 {
		many = append(many, fmt.Sprintf("edge IN A 127.53.199.%d", i))
	}
	s.parent.Set(many...)
	rs, err := resolversOf(s.setup.Resolvers, systemResolvers, 53)
	if err != nil {
		t.Fatal(err)
	}
	if got := resolveAddresses(t.Context(), rs, "edge.example.net"); len(got) != mostAddresses {
		t.Errorf("%d addresses, want %d", len(got), mostAddresses)
	}
	var o office
	o.body.Meta.CAAIdentities = append(slices.Repeat([]string{"ca.example"}, 15), strings.Repeat("x", 254), "beyond.example")
	if got := identities([]office{o}); !slices.Equal(got, []string{"ca.example"}) {
		t.Errorf("%q", got)
	}
	if got := identities([]office{{directory: defaultDirectory}}); !slices.Equal(got, []string{"letsencrypt.org"}) {
		t.Errorf("%q", got)
	}
}

func TestResolversOfTheSystem(t *testing.T) {
	file := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(file, []byte("nameserver 192.0.2.1\nnameserver 2001:db8::1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		configured []string
		file       string
		want       []string
		says       string
	}{
		"the system's":   {nil, file, []string{"192.0.2.1:53", "[2001:db8::1]:53"}, ""},
		"with a port":    {[]string{"192.0.2.2:5353", "2001:db8::2"}, file, []string{"192.0.2.2:5353", "[2001:db8::2]:53"}, ""},
		"no such file":   {nil, file + "x", nil, "name some in `resolvers`"},
		"a placeholder":  {[]string{"{env.RESOLVER}"}, file, nil, "write its address out"},
		"a name is none": {[]string{"dns.example"}, file, nil, `"dns.example"`},
	} {
		t.Run(name, func(t *testing.T) {
			rs, err := resolversOf(tc.configured, tc.file, 53)
			var got []string
			for _, r := range rs {
				got = append(got, r.at.String())
			}
			if !slices.Equal(got, tc.want) || (err == nil) != (tc.says == "") || err != nil && !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%q, %v, want %q, %q", got, err, tc.want, tc.says)
			}
		})
	}
}
