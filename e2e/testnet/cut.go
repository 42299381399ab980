package testnet

import (
	"fmt"
	"os/exec"
	"strings"
)

// Cut is a fault of the network: packets that are dropped by nftables. Other packets
// pass, and connections that are open stay so on both ends.
type Cut struct{ table string }

// CutOff drops every packet for which one of the expressions of nft holds, such as
// "ip daddr 127.0.2.0/24". Packets are looked at where they arrive, so that senders
// notice nothing. The name is the cut's own.
func CutOff(name string, expressions ...string) (*Cut, error) {
	var rules strings.Builder
	fmt.Fprintf(&rules, "add table inet %s\nadd chain inet %[1]s in { type filter hook input priority 0; }\n", name)
	for _, e := range expressions {
		fmt.Fprintf(&rules, "add rule inet %s in %s drop\n", name, e)
	}
	return &Cut{name}, nft(rules.String())
}

// Mend lets the packets pass again.
func (c *Cut) Mend() error { return nft("delete table inet " + c.table + "\n") }

func nft(rules string) error {
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("running nft: %w: %s: %s", err, out, rules)
	}
	return nil
}
