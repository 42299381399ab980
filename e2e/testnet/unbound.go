package testnet

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const unboundConfig = `server:
  interface: %[1]s
  access-control: 127.0.0.0/8 allow
  directory: "%[2]s"
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  logfile: ""
  num-threads: 1
  do-ip6: no
  do-not-query-localhost: no
  root-hints: "%[2]s/root.hints"
  infra-host-ttl: 1
  incoming-num-tcp: 100
  infra-keep-probing: yes
  %[3]s
remote-control:
  control-enable: no
`

// Options of resolvers, lines of Unbound's server clause.
const (
	// Trusting resolvers do not validate DNSSEC.
	Trusting = `module-config: "iterator"`
	// ShortCaches bound what a test may have to wait for.
	ShortCaches = "cache-max-ttl: 1\n  cache-max-negative-ttl: 1"
	// OverIPv6 resolvers ask name servers over IPv6, too.
	OverIPv6 = "do-ip6: yes"
)

// StartResolver starts an Unbound on addr, which finds everything from the root
// on. A later option overrides an earlier one.
func StartResolver(addr string, options ...string) (*Process, error) {
	dir := filepath.Join(Dir(), "unbound-"+addr)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("making the directory of the resolver: %w", err)
	}
	for file, text := range map[string]string{
		"root.hints":   fmt.Sprintf(". 3600 NS ns.root.\nns.root. 3600 A %s\n", RootAddr),
		"unbound.conf": fmt.Sprintf(unboundConfig, addr, dir, strings.Join(options, "\n  ")),
	} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
			return nil, fmt.Errorf("writing %s of the resolver: %w", file, err)
		}
	}
	proc, err := Spawn("unbound-"+addr, nil, "unbound", "-d", "-c", filepath.Join(dir, "unbound.conf"))
	if err != nil {
		return nil, err
	}
	return proc, Until(10*time.Second, "the resolver at "+addr, func() error {
		answer, err := Ask(addr, ".", dns.TypeNS)
		if err == nil && answer.Rcode != dns.RcodeSuccess {
			err = fmt.Errorf("it answers %s", dns.RcodeToString[answer.Rcode])
		}
		return err
	})
}
