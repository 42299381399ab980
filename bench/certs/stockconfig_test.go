package certs

import (
	"fmt"
	"path/filepath"
	"strings"
)

// stockConfig is stock Caddy's, with these hostnames or, without any, on demand.
func (w *world) stockConfig(name, ask string, hosts ...string) string {
	return w.stockCaddyfile(name, ask, "", "", hosts...)
}

// stockDNS01 gives the configurations of stock Caddy which proves its hostnames
// by DNS-01, in a zone that it serves itself on a port.
func (w *world) stockDNS01(port int) func(name, ask string, hosts ...string) string {
	return func(name, _ string, hosts ...string) string {
		return w.stockCaddyfile(name, "", fmt.Sprintf(`	apoxy {
		zone %s {
			nameserver ns1.%[1]s 127.0.0.1
			edge 127.0.0.1
		}
		dns 127.0.0.1:%d
		store bolt %s
	}
`, stock, port, filepath.Join(w.dir, name, "apoxy.db")), fmt.Sprintf(`			dns apoxy
			resolvers 127.0.0.1:%d
			propagation_timeout -1
`, port), hosts...)
	}
}

func (w *world) stockCaddyfile(name, ask, global, issuer string, hosts ...string) string {
	storage := filepath.Join(w.dir, name, "storage")
	onDemand, site, tlsBlock := "", strings.Join(hosts, ", "), ""
	if len(hosts) == 0 {
		onDemand, site, tlsBlock = fmt.Sprintf("\ton_demand_tls {\n\t\task %s\n\t}\n", ask), "https://", "\t\ton_demand\n"
	}
	return fmt.Sprintf(`{
	admin 127.0.0.1:%d
	http_port %d
	https_port %d
	default_bind 127.0.0.1
	persist_config off
	skip_install_trust
	grace_period 1s
	storage file_system %s
	log {
		level WARN
	}
%s%s}
%s {
	tls {
%s		issuer acme {
			dir %s
			trusted_roots %s
%s		}
	}
	respond "stock"
}
`, w.admin, w.http, w.https, storage, onDemand, global, site, tlsBlock, w.directory, w.trust, issuer)
}
