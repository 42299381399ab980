package testnet

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Network is the running network without the product.
type Network struct {
	// Provider is the name server that the customers' domains are delegated to.
	Provider *Server
	// CA issues certificates of 90 days.
	CA *CA
	// ForeignRoot is the file with the root that the foreign server's
	// certificates chain to; ForeignPEM is its content.
	ForeignRoot string
	ForeignPEM  []byte

	root *Server

	mu          sync.Mutex
	delegations map[string][]string // TLD to its records
}

const (
	caAddr = "127.0.0.60"
	// caResolverAddr is the CAs' own resolver: what others have asked for is
	// not in its cache.
	caResolverAddr = "127.0.0.54"
)

// Start starts every peer. They end with the process.
func Start() (*Network, error) {
	n := &Network{delegations: map[string][]string{
		"com.": nil,
		"net.": {"example NS ns1.provider.org."},
		"org.": {"ns1.provider A " + ProviderAddr, "ns1.spare A " + SpareAddr},
	}}
	var err error
	if n.root, err = StartServer(RootAddr, "ns.root."); err != nil {
		return nil, err
	}
	root := []string{"ns.root. A " + RootAddr}
	for tld, records := range n.delegations {
		root = append(root, tld+" NS ns.root.")
		if err := n.root.SetZone(tld, records...); err != nil {
			return nil, err
		}
	}
	if err := n.root.SetZone(".", root...); err != nil {
		return nil, err
	}
	if n.Provider, err = StartServer(ProviderAddr, "ns1.provider.org."); err != nil {
		return nil, err
	}
	if err := n.DelegateZone(ProductAddr); err != nil {
		return nil, err
	}
	for _, addr := range []string{ResolverAddr, caResolverAddr} {
		if _, err := StartResolver(addr, Trusting, ShortCaches, `local-zone: "test." nodefault`); err != nil {
			return nil, err
		}
	}
	if err := n.startForeign(); err != nil {
		return nil, err
	}
	n.CA, err = StartCA(caAddr, 90*24*time.Hour)
	return n, err
}

func (n *Network) startForeign() error {
	authority, err := NewAuthority("foreign authority")
	if err != nil {
		return err
	}
	n.ForeignPEM, n.ForeignRoot = authority.PEM, filepath.Join(Dir(), "foreign.pem")
	if err := os.WriteFile(n.ForeignRoot, n.ForeignPEM, 0o644); err != nil {
		return fmt.Errorf("writing the foreign root: %w", err)
	}
	return startForeign(authority)
}

// Delegate registers a domain under com, net or org: it makes an empty zone at
// server and points the TLD there.
func (n *Network) Delegate(domain string, server *Server) error {
	label, tld, _ := strings.Cut(strings.TrimSuffix(domain, "."), ".")
	tld += "."
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, ok := n.delegations[tld]; !ok {
		return fmt.Errorf("delegating %q: there is no TLD %q in this network", domain, tld)
	}
	if err := server.SetZone(domain); err != nil {
		return err
	}
	record := label + " NS " + server.name
	if slices.Contains(n.delegations[tld], record) {
		return nil
	}
	records := append(n.delegations[tld], record)
	if err := n.root.SetZone(tld, records...); err != nil {
		return err
	}
	n.delegations[tld] = records
	return nil
}

// DelegateZone makes the operator's own domain delegate Zone to name servers at these
// addresses, with glue: NameServer is ns1, and the others are ns2 and so on.
func (n *Network) DelegateZone(addrs ...string) error {
	var records []string
	for i, addr := range addrs {
		ns := fmt.Sprintf("ns%d", i+1)
		records = append(records, "cname NS "+ns+".example.net.", ns+" A "+addr)
	}
	return n.Provider.SetZone("example.net", records...)
}

func dial(addr string) error {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	return conn.Close()
}
