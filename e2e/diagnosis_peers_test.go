package e2e

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// Peers of the diagnosis tests, beside those of the network.
const (
	impostorAddr   = "127.0.0.23" // says it is the provider, and is asked by nobody
	brokenAddr     = "127.0.0.24" // a name server whose zone file is broken
	laxAddr        = "127.0.0.25" // a name server that serves what NSD refuses to
	validatingAddr = "127.0.0.55" // a resolver that validates bogus.com
	hoardingAddr   = "127.0.0.56" // a resolver that keeps what it has for the TTL
	sixAddr        = "127.0.0.57" // a resolver that asks over IPv6, too
)

// diagnosed is a record with what the tests of diagnosis look at.
type diagnosed struct {
	record
	Spec struct {
		Name string `json:"name"`
	} `json:"spec"`
	Problems struct {
		DNSRecords []struct {
			Purpose  string `json:"purpose"`
			Required bool   `json:"required"`
			Value    string `json:"value"`
			Problem  *struct {
				Reason  string `json:"reason"`
				Message string `json:"message"`
			} `json:"problem"`
		} `json:"dnsRecords"`
	} `json:"status"`
}

// problem is the reason and message of what is wrong with a DNS record, ""
// without.
func (d diagnosed) problem(purpose string) (reason, message string) {
	for _, r := range d.Problems.DNSRecords {
		if r.Purpose == purpose && r.Problem != nil {
			return r.Problem.Reason, r.Problem.Message
		}
	}
	return "", ""
}

// look has the product look at a record now.
func (p *product) look(t *testing.T, name string) (record, diagnosed) {
	t.Helper()
	var d diagnosed
	if err := call(t.Context(), http.MethodPost, recordsPath+"/"+name+"/check", nil, &d); err != nil {
		t.Fatal(err)
	}
	r, err := p.get(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return r, d
}

// awaitProblem looks until a DNS record has that problem, and returns its message.
func (p *product) awaitProblem(t *testing.T, name, purpose, reason string, limit time.Duration) string {
	t.Helper()
	var message string
	eventually(t, limit, reason+" at the "+purpose+" record of "+name, func() error {
		_, d := p.look(t, name)
		got, m := d.problem(purpose)
		if got != reason {
			return fmt.Errorf("its problem is %q: %s", got, m)
		}
		message = m
		return nil
	})
	return message
}

// add creates a record whose name follows from its hostname, with labels.
func (p *product) add(t *testing.T, hostname string, tls bool, labels map[string]string) record {
	t.Helper()
	body := manifest(hostname, tls)
	metadata := map[string]any{}
	if labels != nil {
		metadata["labels"] = labels
	}
	body["metadata"] = metadata
	var made record
	if err := call(t.Context(), http.MethodPost, recordsPath, body, &made); err != nil {
		t.Fatal(err)
	}
	return p.await(t, made.Metadata.Name, 15*time.Second, "the first look", func(r record) error {
		if status := r.condition("CNAMEConfigured").Status; status == "" || status == "Unknown" {
			return fmt.Errorf("CNAMEConfigured is %q", status)
		}
		return nil
	})
}

// describe is what a support person sees, white space folded.
func (p *product) describe(t *testing.T, name string) string {
	t.Helper()
	out, err := p.caddy(t.Context(), "", "apoxy", "domainrecord", "describe", name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(out), " ")
}

// useResolvers has the running product ask these resolvers.
func (p *product) useResolvers(t *testing.T, addrs ...string) {
	t.Helper()
	p.reconfigure(t, "resolvers "+testnet.ResolverAddr, "resolvers "+strings.Join(addrs, " "))
}

// resolver starts an Unbound on addr until the test ends; see
// testnet.StartResolver.
func resolver(t *testing.T, addr string, options ...string) {
	t.Helper()
	proc, err := testnet.StartResolver(addr, options...)
	if proc != nil {
		t.Cleanup(func() {
			if err := proc.Stop(5 * time.Second); err != nil {
				t.Error(err)
			}
		})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// nameServer starts an NSD on addr until the test ends; its name resolves.
func nameServer(t *testing.T, n *testnet.Network, addr, label string) *testnet.Server {
	t.Helper()
	home := customer(t, n, label)
	kind := "A"
	if strings.Contains(addr, ":") {
		kind = "AAAA"
	}
	home.set(t, "ns "+kind+" "+addr)
	return namedServer(t, addr, "ns."+home.name+".")
}

// namedServer starts an NSD under a host name, which is the caller's matter.
func namedServer(t *testing.T, addr, name string) *testnet.Server {
	t.Helper()
	s, err := testnet.StartServer(addr, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop() }) // the test may have stopped it
	return s
}

// laxZone serves a zone that no name server should, until the test ends:
// records of any types side by side. What before answers, or leaves unanswered,
// and reports to have, is not answered out of the zone.
func laxZone(t *testing.T, addr, zone, server string, before ...func(dns.ResponseWriter, *dns.Msg) bool) (set func(records ...string)) {
	t.Helper()
	zone = dns.Fqdn(zone)
	var records chan []dns.RR = make(chan []dns.RR, 1)
	records <- nil
	mux := dns.NewServeMux()
	mux.HandleFunc(zone, func(w dns.ResponseWriter, req *dns.Msg) {
		for _, f := range before {
			if f(w, req) {
				return
			}
		}
		all := <-records
		records <- all
		m := new(dns.Msg).SetReply(req)
		m.Authoritative = true
		exists := false
		for _, rr := range all {
			if !strings.EqualFold(rr.Header().Name, req.Question[0].Name) {
				continue
			}
			exists = true
			if q := req.Question[0].Qtype; rr.Header().Rrtype == q || rr.Header().Rrtype == dns.TypeCNAME && q != dns.TypeTXT {
				m.Answer = append(m.Answer, rr)
			}
		}
		if !exists {
			m.Rcode = dns.RcodeNameError
		}
		if len(m.Answer) == 0 {
			m.Ns = append(m.Ns, all[0])
		}
		_ = w.WriteMsg(m) // whoever asked will ask again
	})
	udp, err := net.ListenPacket("udp", addr+":53")
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp", addr+":53")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*dns.Server{{PacketConn: udp, Handler: mux}, {Listener: tcp, Handler: mux}} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go func() { _ = s.ActivateAndServe() }() // ends with Shutdown
		<-started
		t.Cleanup(func() { _ = s.Shutdown() })
	}
	set = func(lines ...string) {
		t.Helper()
		text := fmt.Sprintf("$ORIGIN %s\n$TTL 60\n@ SOA %s hostmaster.invalid. 1 3600 600 86400 60\n@ NS %[2]s\n%s\n", zone, server, strings.Join(lines, "\n"))
		parser := dns.NewZoneParser(strings.NewReader(text), "", "")
		var all []dns.RR
		for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
			all = append(all, rr)
		}
		if err := parser.Err(); err != nil {
			t.Fatal(err)
		}
		<-records
		records <- all
	}
	set()
	return set
}

// signed signs a zone of these records and returns the signed zone's lines and
// its DS record. Signatures made with spoil do not hold.
func signed(t *testing.T, zone, server string, spoil bool, records ...string) (lines []string, ds string) {
	t.Helper()
	dir := t.TempDir()
	in := func(program string, args ...string) string {
		t.Helper()
		cmd := exec.Command(program, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("running %s: %v: %s", program, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	zone = strings.TrimSuffix(zone, ".")
	text := fmt.Sprintf("$ORIGIN %s.\n$TTL 60\n@ SOA %s hostmaster.invalid. 1 3600 600 86400 60\n@ NS %[2]s\n%s\n", zone, server, strings.Join(records, "\n"))
	if err := os.WriteFile(filepath.Join(dir, "zone"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	key := in("ldns-keygen", "-a", "ECDSAP256SHA256", "-k", zone)
	in("ldns-signzone", "-f", "signed", "zone", key)
	content, err := os.ReadFile(filepath.Join(dir, "signed"))
	if err != nil {
		t.Fatal(err)
	}
	dsText, err := os.ReadFile(filepath.Join(dir, key+".ds"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(content)) {
		fields := strings.Fields(line)
		// The server writes its own SOA, and so that one cannot be signed.
		if len(fields) < 4 || strings.HasPrefix(line, ";") || fields[3] == "SOA" || fields[3] == "RRSIG" && fields[4] == "SOA" {
			continue
		}
		if spoil && fields[3] == "RRSIG" && fields[4] != "DNSKEY" {
			fields[len(fields)-1] = spoiled(fields[len(fields)-1])
		}
		lines = append(lines, strings.Join(fields, " "))
	}
	return lines, strings.TrimSpace(string(dsText))
}

// spoiled changes a letter in the middle of a signature in base64.
func spoiled(signature string) string {
	b := []byte(signature)
	at := len(b) / 2
	if b[at] == 'A' {
		b[at] = 'B'
	} else {
		b[at] = 'A'
	}
	return string(b)
}
