package testnet

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Server is a running NSD.
type Server struct {
	addr string
	name string // its host name, absolute
	dir  string
	proc *Process

	mu     sync.Mutex
	serial map[string]uint32 // by zone, of what was last written
}

const nsdConfig = `server:
  ip-address: %[1]s
  port: 53
  server-count: 1
  username: ""
  database: ""
  zonesdir: "%[2]s"
  pidfile: "%[2]s/nsd.pid"
  zonelistfile: "%[2]s/zone.list"
  xfrdfile: "%[2]s/xfrd.state"
  xfrdir: "%[2]s"
  rrl-ratelimit: 0
remote-control:
  control-enable: yes
  control-interface: "%[2]s/nsd.sock"
pattern:
  name: "zones"
  zonefile: "%%s.zone"
`

// StartServer starts an NSD without zones on an address; name is its absolute
// host name, of which the caller publishes the address. Its zones survive Stop
// and Start.
func StartServer(addr, name string) (*Server, error) {
	s := &Server{addr: addr, name: name, dir: filepath.Join(Dir(), "nsd-"+addr), serial: map[string]uint32{}}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return nil, fmt.Errorf("making the directory of a name server: %w", err)
	}
	config := fmt.Sprintf(nsdConfig, addr, s.dir)
	if err := os.WriteFile(s.config(), []byte(config), 0o644); err != nil {
		return nil, fmt.Errorf("writing the configuration of a name server: %w", err)
	}
	return s, s.Start()
}

func (s *Server) config() string { return filepath.Join(s.dir, "nsd.conf") }

// Start starts the server again after Stop.
func (s *Server) Start() error {
	proc, err := Spawn("nsd-"+s.addr, nil, "nsd", "-d", "-c", s.config())
	if err != nil {
		return err
	}
	s.proc = proc
	return Until(10*time.Second, "the name server at "+s.addr, func() error {
		_, err := s.control("status")
		return err
	})
}

// Stop ends the server: the network refuses its queries.
func (s *Server) Stop() error { return s.proc.Stop(5 * time.Second) }

// Silence leaves queries without any answer until Speak.
func (s *Server) Silence() error { return s.proc.Silence() }

// Speak ends Silence.
func (s *Server) Speak() error { return s.proc.Speak() }

func (s *Server) control(args ...string) (string, error) {
	out, err := exec.Command("nsd-control", append([]string{"-c", s.config()}, args...)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("running nsd-control %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// SetZone makes the zone hold exactly these records beside its SOA and the NS
// record of this server. Records are lines of a zone
// file, names relative to the zone. The records are live when it returns.
func (s *Server) SetZone(zone string, records ...string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	zone = dns.Fqdn(zone)
	serial, known := s.serial[zone]
	serial++

	name := strings.TrimSuffix(zone, ".")
	if name == "" {
		name = "."
	}
	var text strings.Builder
	fmt.Fprintf(&text, "$ORIGIN %s\n$TTL 60\n@ SOA %s hostmaster.invalid. %d 3600 600 86400 60\n@ NS %[2]s\n", zone, s.name, serial)
	text.WriteString(strings.Join(records, "\n") + "\n")
	file := filepath.Join(s.dir, name+".zone")
	if err := os.WriteFile(file+".new", []byte(text.String()), 0o644); err != nil {
		return fmt.Errorf("writing zone %s: %w", zone, err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		return fmt.Errorf("writing zone %s: %w", zone, err)
	}
	args := []string{"reload", name}
	if !known {
		args = []string{"addzone", name, "zones"}
	}
	if _, err := s.control(args...); err != nil {
		return err
	}
	s.serial[zone] = serial
	return Until(5*time.Second, "zone "+zone+" to be live", func() error { return s.live(zone, serial) })
}

func (s *Server) live(zone string, serial uint32) error {
	answer, err := Ask(s.addr, zone, dns.TypeSOA)
	if err != nil {
		return err
	}
	for _, rr := range answer.Answer {
		if soa, ok := rr.(*dns.SOA); ok && soa.Serial == serial {
			return nil
		}
	}
	return fmt.Errorf("serial %d of %s is not served yet: %v", serial, zone, answer.Answer)
}

// Ask sends one question to the server at addr, port 53, over UDP.
func Ask(addr, name string, qtype uint16) (*dns.Msg, error) {
	query := new(dns.Msg)
	query.SetQuestion(dns.Fqdn(name), qtype)
	client := dns.Client{Timeout: 2 * time.Second}
	answer, _, err := client.Exchange(query, net.JoinHostPort(addr, "53"))
	if err != nil {
		return nil, fmt.Errorf("asking %s for %s %s: %w", addr, name, dns.TypeToString[qtype], err)
	}
	return answer, nil
}
