package dnsprovider

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// Config describes the operator's zone.
type Config struct {
	// Name of the zone: Z. Case and a final dot do not matter.
	Name string
	// Nameservers of the zone, as they stand in its NS set; at least one.
	Nameservers []Nameserver
	// EdgeAddrs is what every record's name answers: A and AAAA. Exactly one of
	// EdgeAddrs and EdgeHost is given.
	EdgeAddrs []netip.Addr
	// EdgeHost is the hostname that every record's name is a CNAME of instead.
	EdgeHost string
	// Hostmaster is the mailbox in the SOA. Default: hostmaster@Name.
	Hostmaster string
	// NegativeTTL is SOA MINIMUM: how long resolvers remember that a name or a
	// type is not there; whole seconds up to a day. Default: 300 s.
	NegativeTTL time.Duration
	// CAA are the zone's CAA records in presentation form: 0 issue "ca.example".
	// They stand at the zone's name and at each record's.
	CAA []string
	// Serial gives the SOA's serial number. It is called for every SOA that is
	// sent, so it must be cheap, and must never fall; where several servers
	// share the records they should share it too. Default: the Unix time at
	// which the zone was made.
	Serial func() uint32
	// OnQuery is told of each query for an unsettled record's name, or for its
	// challenge name: a hint that something out there has begun to look. Proven is
	// that whoever asked gets what is sent to its address: it came over TCP or
	// brought a DNS cookie of ours. Else anybody may have asked in its name. The
	// hostname is borrowed for the call, which must not block. Nil: nobody is.
	OnQuery func(hostname []byte, proven bool)
	// Current reports whether this server knows of every challenge value that others put
	// into the zone. While it does not, names that begin with _acme-challenge are
	// answered SERVFAIL, so that resolvers ask another of the zone's name servers (RFC
	// 1034 section 5.3.3, step 4d). It is asked at each such query. Nil: it
	// does always.
	Current func() bool
	// Texts are TXT records at a name of their own. Nil: there are none.
	Texts *Texts
}

// Nameserver is one name server of the zone.
type Nameserver struct {
	Name string
	// Addrs are answered where the name lies inside the zone, and needed there.
	Addrs []netip.Addr
}

const (
	defaultNegativeTTL = 300 * time.Second
	maxNegativeTTL     = 24 * time.Hour
	// structureTTL is the TTL of what describes the zone itself: SOA, NS and the
	// name servers' addresses.
	structureTTL = 3600
	// verifyTTL is the TTL of the TXT at and below _apoxy-verify.
	verifyTTL = 300
	// challengeNegativeTTL is the TTL of the SOA that says that a challenge is not
	// there (RFC 2308 section 5).
	challengeNegativeTTL = uint32(v1alpha3.ChallengeNegativeTTL / time.Second)
	// apexCAATTL is the TTL of CAA at the zone's name.
	apexCAATTL = 300
)

// The parts of a name that records do not bring.
const (
	challengePrefix = "_acme-challenge."
	wildcardPrefix  = "_wildcard."
	verifyLabel     = "_apoxy-verify"
	verifyText      = "domain ownership verification"
)

// hostName checks and normalizes a hostname: lower case, no final dot.
func hostName(name string) (string, error) {
	n := strings.TrimSuffix(strings.ToLower(name), ".")
	wire, err := packName(n)
	if err != nil || n == "" {
		return "", fmt.Errorf("%q is no domain name", name)
	}
	var w wireName
	var buf [maxNameOctets + 1]byte
	if !w.set(wire) {
		return "", fmt.Errorf("%q is no domain name", name)
	}
	if _, ok := w.relative(buf[:], 0); !ok {
		return "", fmt.Errorf("%q is no hostname: letters, digits, - and _ only", name)
	}
	return n, nil
}

// mailbox turns hostmaster@example.net into the name that SOA RNAME holds
// (RFC 1035 section 8).
func mailbox(addr string) (string, error) {
	local, domain, ok := strings.Cut(addr, "@")
	if !ok || local == "" || strings.ContainsAny(addr, " \t\"\\();") {
		return "", fmt.Errorf("%q is no mailbox: want local@domain", addr)
	}
	host, err := hostName(domain)
	if err != nil {
		return "", err
	}
	return strings.ReplaceAll(local, ".", `\.`) + "." + host + ".", nil
}

func (c *Config) edge() error {
	switch {
	case len(c.EdgeAddrs) == 0 && c.EdgeHost == "":
		return errors.New("edge: missing: give the addresses, or one hostname, that records answer with")
	case len(c.EdgeAddrs) > 0 && c.EdgeHost != "":
		return errors.New("edge: give addresses or one hostname, not both")
	}
	seen := map[netip.Addr]bool{}
	for _, addr := range c.EdgeAddrs {
		switch {
		case !addr.IsValid() || addr.Zone() != "" || addr.IsUnspecified() || addr.IsMulticast():
			return fmt.Errorf("edge: %v is no address that a client could reach", addr)
		case seen[addr.Unmap()]:
			return fmt.Errorf("edge: %v is given twice", addr)
		}
		seen[addr.Unmap()] = true
	}
	return nil
}

// caa parses the CAA records.
func (c *Config) caa() ([]dns.RR, error) {
	var out []dns.RR
	for _, text := range c.CAA {
		if strings.ContainsAny(text, "\r\n;()$") && !strings.Contains(text, `"`) || strings.ContainsAny(text, "\r\n") {
			return nil, fmt.Errorf(`caa: %q: want FLAGS TAG "VALUE"`, text)
		}
		rr, err := dns.NewRR(". 300 IN CAA " + text)
		if caa, ok := rr.(*dns.CAA); err != nil || !ok || !isCAATag(caa.Tag) {
			return nil, fmt.Errorf(`caa: %q: want FLAGS TAG "VALUE", as in 0 issue "letsencrypt.org"`, text)
		} else if err := checkCAAValue(caa.Tag, caa.Value); err != nil {
			return nil, fmt.Errorf("caa: %q: %w", text, err)
		}
		out = append(out, rr)
	}
	return out, nil
}

// isCAATag says whether tag is letters and digits alone (RFC 8659 section 4.1).
func isCAATag(tag string) bool {
	return tag != "" && !strings.ContainsFunc(tag, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9')
	})
}

func (c *Config) negativeTTL() (uint32, error) {
	ttl := c.NegativeTTL
	if ttl == 0 {
		ttl = defaultNegativeTTL
	}
	if ttl < time.Second || ttl > maxNegativeTTL || ttl%time.Second != 0 {
		return 0, fmt.Errorf("negative_ttl: %v: want whole seconds from 1s to 24h", ttl)
	}
	return uint32(ttl / time.Second), nil
}
