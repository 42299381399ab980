package dns

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/bench"
	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
)

// startOurs runs the whole product with the records in its store, all proven
// and certified. What looks they are due for end at a resolver that nobody is.
func startOurs(b *testing.B, dir string, cores int) *server {
	b.Helper()
	dir = filepath.Join(dir, "ours")
	program := filepath.Join(dir, "caddy")
	if text, err := exec.Command("go", "-C", "../..", "build", "-o", program, "./cmd/caddy").CombinedOutput(); err != nil {
		b.Fatalf("building our command: %v: %s", err, text)
	}
	file := filepath.Join(dir, "apoxy.db")
	fill(b, file)
	ports := freePorts(b, 3)
	config := write(b, filepath.Join(dir, "Caddyfile"), fmt.Sprintf(`{
	admin 127.0.0.1:%d
	persist_config off
	log {
		level WARN
	}
	apoxy {
		zone %s {
			nameserver ns1.%[2]s 203.0.113.53
			edge 203.0.113.10
		}
		resolvers 127.0.0.1:%d
		dns 127.0.0.1:%d
		store bolt %s
	}
}
`, ports[0], bench.Zone, ports[1], ports[2], file))
	s := start(b, "ours", dir, ports[2], cores, program, "run", "--config", config, "--adapter", "caddyfile")
	s.await(b)
	return s
}

// fill writes the records into a store.
func fill(b *testing.B, file string) {
	b.Helper()
	s, err := boltstore.Open(file, boltstore.Options{})
	if err != nil {
		b.Fatal(err)
	}
	for i := 0; i < records; {
		var ops []store.Op
		for ; i < records && len(ops) < 2000; i++ {
			r, put := bench.Record(i), bench.PutOp(i)
			r.Status.Phase = "Active"
			for k := range r.Status.Conditions {
				r.Status.Conditions[k].Status = "True"
			}
			if put.Value, err = json.Marshal(r); err != nil {
				b.Fatal(err)
			}
			ops = append(ops, put, store.Op{Key: "hostnames/" + r.Spec.Name, Value: []byte(r.Name), If: store.Any})
		}
		if _, err := s.Write(b.Context(), ops...); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}

// writeZone writes a zone file of the same names, for the peers.
func writeZone(b *testing.B, dir string) string {
	b.Helper()
	var zone strings.Builder
	fmt.Fprintf(&zone, "$ORIGIN %s.\n$TTL 300\n@ IN SOA ns1.%[1]s. hostmaster.%[1]s. 1 3600 600 604800 300\n@ IN NS ns1.%[1]s.\nns1 IN A 203.0.113.53\n", bench.Zone)
	for i := range records {
		// A challenge's name exists, without a TXT record.
		fmt.Fprintf(&zone, "%s IN A 203.0.113.10\n_acme-challenge.%[1]s IN A 203.0.113.10\n", bench.Hostname(i))
	}
	return write(b, filepath.Join(dir, "zone"), zone.String())
}

// startNSD runs NSD, as many processes answering as there are cores for it.
func startNSD(b *testing.B, dir, file string, cores int) *server {
	b.Helper()
	dir = filepath.Join(dir, "nsd")
	port := freePorts(b, 1)[0]
	config := write(b, filepath.Join(dir, "nsd.conf"), fmt.Sprintf(`server:
	ip-address: 127.0.0.1@%d
	do-ip6: no
	server-count: %d
	reuseport: yes
	username: ""
	chroot: ""
	zonesdir: %[3]q
	database: ""
	pidfile: ""
	zonelistfile: "%[3]s/zone.list"
	xfrdfile: "%[3]s/xfrd.state"
	xfrdir: %[3]q
	rrl-ratelimit: 0
	minimal-responses: yes
	hide-version: yes
remote-control:
	control-enable: no
zone:
	name: %q
	zonefile: %q
`, port, cores, dir, bench.Zone, file))
	s := start(b, "nsd", dir, port, cores, onRootsPath("nsd"), "-d", "-c", config)
	s.await(b)
	return s
}

// startKnot runs Knot with one worker for each core. Where it is not installed it
// is left out: nil.
func startKnot(b *testing.B, dir, file string, cores int) *server {
	b.Helper()
	program := onRootsPath("knotd")
	if _, err := exec.LookPath(program); err != nil {
		b.Log("without Knot, which is not installed (Debian package knot)")
		return nil
	}
	dir = filepath.Join(dir, "knot")
	port := freePorts(b, 1)[0]
	config := write(b, filepath.Join(dir, "knot.conf"), fmt.Sprintf(`server:
  rundir: %[1]q
  listen: 127.0.0.1@%[2]d
  udp-workers: %[3]d
  tcp-workers: %[3]d
  background-workers: 1
  tcp-reuseport: on
database:
  storage: %[1]q
log:
  - target: stderr
    any: error
zone:
  - domain: %[4]s
    file: %[5]q
    semantic-checks: off
    journal-content: none
    zonefile-sync: -1
`, dir, port, cores, bench.Zone, file))
	s := start(b, "knot", dir, port, cores, program, "-c", config)
	s.await(b)
	return s
}

// onRootsPath finds a program where only root looks for it.
func onRootsPath(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	return "/usr/sbin/" + name
}

// await waits until the last record is answered.
func (s *server) await(b *testing.B) {
	b.Helper()
	for end := time.Now().Add(5 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		err := s.answers(kinds[0].owner(records-1), kinds[0].qtype)
		if err == nil {
			err = s.denies("nobody." + bench.Zone + ".")
		}
		if err == nil {
			return
		}
		if time.Now().After(end) {
			b.Fatalf("%s does not answer: %v: %s", s.name, err, s.tail())
		}
	}
}
