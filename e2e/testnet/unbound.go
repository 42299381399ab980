package testnet

import (
	"fmt"
	"os"
	"path/filepath"
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
  module-config: "iterator"
  root-hints: "%[2]s/root.hints"
  local-zone: "test." nodefault
  cache-max-ttl: 1
  cache-max-negative-ttl: 1
  infra-host-ttl: 1
  infra-keep-probing: yes
remote-control:
  control-enable: no
`

// startResolver starts Unbound, which finds everything from the root on.
func startResolver() (*Process, error) {
	dir := filepath.Join(Dir(), "unbound")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("making the directory of the resolver: %w", err)
	}
	for file, text := range map[string]string{
		"root.hints":   fmt.Sprintf(". 3600 NS ns.root.\nns.root. 3600 A %s\n", RootAddr),
		"unbound.conf": fmt.Sprintf(unboundConfig, ResolverAddr, dir),
	} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
			return nil, fmt.Errorf("writing %s of the resolver: %w", file, err)
		}
	}
	proc, err := Spawn("unbound", nil, "unbound", "-d", "-c", filepath.Join(dir, "unbound.conf"))
	if err != nil {
		return nil, err
	}
	return proc, Until(10*time.Second, "the resolver", func() error {
		answer, err := Ask(ResolverAddr, ".", dns.TypeNS)
		if err == nil && answer.Rcode != dns.RcodeSuccess {
			err = fmt.Errorf("it answers %s", dns.RcodeToString[answer.Rcode])
		}
		return err
	})
}
