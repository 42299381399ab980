package caddyapoxy

import (
	"fmt"
	"net/netip"

	"github.com/apoxy-dev/caddy-apoxy/internal/specialpurpose"
)

// readNetworks reads what private_networks lists.
func readNetworks(listed []string) ([]netip.Prefix, error) {
	var networks []netip.Prefix
	for _, s := range listed {
		n, err := specialpurpose.ParseNetwork(s)
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
