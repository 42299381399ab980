package caddyapoxy

import (
	"fmt"
	"net/netip"

	"github.com/caddyserver/caddy/v2"

	"github.com/apoxy-dev/caddy-apoxy/internal/specialpurpose"
)

// readNetworks replaces placeholders and reads what private_networks lists.
func readNetworks(listed []string, repl *caddy.Replacer) ([]netip.Prefix, error) {
	var networks []netip.Prefix
	for _, s := range listed {
		n, err := specialpurpose.ParseNetwork(repl.ReplaceAll(s, ""))
		if err != nil {
			return nil, fmt.Errorf("private_networks: %w", err)
		}
		networks = append(networks, n)
	}
	return networks, nil
}

func isNetwork(s string) bool {
	_, err := specialpurpose.ParseNetwork(s)
	return err == nil
}
