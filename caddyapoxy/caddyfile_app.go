package caddyapoxy

import (
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/apoxy-dev/caddy-apoxy/dnsprovider"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
)

func init() {
	httpcaddyfile.RegisterGlobalOption("apoxy", parseGlobalOption)
}

func parseGlobalOption(d *caddyfile.Dispenser, existing any) (any, error) {
	if existing != nil {
		return nil, d.Err("the global option apoxy stands twice: merge the two blocks into one")
	}
	app := new(App)
	if err := app.UnmarshalCaddyfile(d); err != nil {
		return nil, err
	}
	return httpcaddyfile.App{Name: "apoxy", Value: caddyconfig.JSON(app, nil)}, nil
}

// UnmarshalCaddyfile sets up the app from the global option. Syntax:
//
//	apoxy {
//		zone <name> {
//			nameserver   <name> [<addresses...>]
//			edge         <addresses...>|<hostname>
//			hostmaster   <mail address>
//			negative_ttl <duration>
//			caa          <flag> <tag> <value>
//		}
//		zonefile       <zone> <file>
//		dns            <addresses...>
//		dns_rate_limit <answers a second>|off
//		resolvers      <addresses...>
//		private_networks <networks...>
//		check_interval <duration>
//		detach_after   <duration>
//		fleet_brake_hold <duration>
//		proof          cname|token
//		unproven_ttl   <duration>
//		webhook        <url> { ... }
//		domain_connect { ... }
//		store          <engine> ...
//		node           <name>
//	}
func (a *App) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the option's name
	if d.NextArg() {
		return d.Errf("apoxy takes a block, got %q", d.Val())
	}
	for d.NextBlock(0) {
		var err error
		switch option := d.Val(); option {
		case "zone":
			err = a.parseZone(d)
		case "zonefile":
			var z ZoneFile
			if !d.AllArgs(&z.Zone, &z.File) {
				return d.Errf("zonefile: expected a zone and a file, such as `zonefile customer.test ./customer.test.zone`")
			}
			a.ZoneFiles = append(a.ZoneFiles, z)
		case "dns":
			err = appendArgs(d, &a.DNS, "a listen address such as :53 or 203.0.113.10:53", isListenAddress)
		case "dns_rate_limit":
			err = parseRateLimit(d, &a.DNSRateLimit)
		case "resolvers":
			err = appendArgs(d, &a.Resolvers, "an IP address with or without a port, such as 1.1.1.1 or 127.0.0.1:5353", isResolver)
		case "private_networks":
			err = appendArgs(d, &a.PrivateNetworks, "a network such as 10.0.0.0/8 or fd00::/8, or an IP address", isNetwork)
		case "check_interval":
			err = parseDuration(d, &a.CheckInterval)
		case "detach_after":
			err = parseDuration(d, &a.DetachAfter)
		case "fleet_brake_hold":
			err = parseDuration(d, &a.FleetBrakeHold)
		case "proof":
			if !d.AllArgs(&a.Proof) || checkProof(a.Proof) != nil {
				return d.Errf("proof: expected cname or token, got %q", a.Proof)
			}
		case "unproven_ttl":
			err = parseLimit(d, &a.UnprovenTTL)
		case "webhook":
			err = a.parseWebhook(d)
		case "domain_connect":
			err = a.parseDomainConnect(d)
		case "store":
			err = parseStore(d, &a.StoreRaw)
		case "node":
			if !d.AllArgs(&a.Node) {
				return d.Errf("node: expected one name, such as n1")
			}
			if err := checkNode(a.Node); err != nil {
				return d.WrapErr(err)
			}
		default:
			return d.Errf("apoxy has no option %q: expected zone, zonefile, dns, dns_rate_limit, resolvers, private_networks, check_interval, detach_after, fleet_brake_hold, proof, unproven_ttl, webhook, domain_connect, store or node", option)
		}
		if err != nil {
			return err
		}
		if err := errors.Join(a.checkZones(), a.checkDurations()); err != nil {
			return d.WrapErr(err)
		}
	}
	if a.Zone == nil {
		return d.Err("apoxy: a zone is required, such as `zone cname.example.net { … }`")
	}
	return nil
}

func (a *App) parseZone(d *caddyfile.Dispenser) error {
	if a.Zone != nil {
		return d.Errf("zone: there is one already, %s: further zones are served with zonefile", a.Zone.Name)
	}
	z, edge := new(Zone), *d
	if !d.AllArgs(&z.Name) {
		return d.Err("zone: expected one name, such as cname.example.net")
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		var err error
		switch option := d.Val(); option {
		case "nameserver":
			err = z.parseNameserver(d)
		case "edge":
			edge = *d // here
			err = appendArgs(d, &z.Edge, "IP addresses or one hostname", isAddressOrHost)
		case "edge_check":
			err = appendArgs(d, &z.EdgeCheck, "off or IP addresses", func(s string) bool { return s == edgeCheckOff || isAddress(s) })
		case "hostmaster":
			if !d.AllArgs(&z.Hostmaster) || !strings.Contains(z.Hostmaster, "@") && !hasPlaceholder(z.Hostmaster) {
				return d.Errf("hostmaster: expected one mail address such as hostmaster@example.net, got %q", z.Hostmaster)
			}
		case "negative_ttl":
			err = parseDuration(d, &z.NegativeTTL)
		case "caa":
			err = z.parseCAA(d)
		default:
			return d.Errf("zone has no option %q: expected nameserver, edge, edge_check, hostmaster, negative_ttl or caa", option)
		}
		if err != nil {
			return err
		}
		// Checked after each option, so that the error has the option's line.
		if err := z.checkSoFar(); err != nil {
			return d.WrapErr(err)
		}
	}
	if err := z.check(); errors.Is(err, errEdgeNowhere) {
		return edge.WrapErr(err)
	} else if err != nil {
		return d.WrapErr(err)
	}
	a.Zone = z
	return nil
}

func (z *Zone) parseNameserver(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) == 0 {
		return d.Err("nameserver: expected a name and its addresses, such as `nameserver ns1.example.net 203.0.113.10`")
	}
	for _, arg := range args[1:] {
		if !isAddress(arg) {
			return d.Errf("nameserver %s: expected an IP address, got %q", args[0], arg)
		}
	}
	z.Nameservers = append(z.Nameservers, Nameserver{Name: args[0], Addresses: args[1:]})
	return nil
}

func (z *Zone) parseCAA(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) == 1 && args[0] == "auto" {
		return d.Err("caa: `caa auto` is not part of this version: give the lines, such as `caa 0 issue \"letsencrypt.org\"`")
	}
	if len(args) != 3 {
		return d.Err("caa: expected flag, tag and value, such as `caa 0 issue \"letsencrypt.org\"`")
	}
	if _, err := strconv.ParseUint(args[0], 10, 8); err != nil && !hasPlaceholder(args[0]) {
		return d.Errf("caa: expected a flag from 0 to 255, got %q", args[0])
	}
	z.CAA = append(z.CAA, args[0]+" "+args[1]+" "+strconv.Quote(args[2]))
	return nil
}

// check builds the zone, unless placeholders stand for parts of it.
func (z Zone) check() error {
	if z.hasPlaceholders() {
		return nil
	}
	config, err := z.config(caddy.NewEmptyReplacer())
	if err != nil {
		return err
	}
	if _, err = z.edgeChecked(caddy.NewEmptyReplacer()); err != nil {
		return err
	}
	_, err = dnsprovider.NewZone(config, zoneNames{hosts.New()}, nil)
	return err
}

// checkSoFar is check with something in place of what is required and has not
// been read yet.
func (z Zone) checkSoFar() error {
	if len(z.Nameservers) == 0 {
		z.Nameservers = []Nameserver{{Name: "ns.invalid"}}
	}
	if len(z.Edge) == 0 {
		z.Edge = []string{"192.0.2.1"}
	}
	if err := z.check(); !errors.Is(err, errEdgeNowhere) { // a nameserver may follow
		return err
	}
	return nil
}

// parseStore reads a `store` option, after its name.
func parseStore(d *caddyfile.Dispenser, to *json.RawMessage) error {
	if *to != nil {
		return d.Err("store: there is one already")
	}
	if !d.NextArg() {
		return d.Err("store: expected an engine, such as `store bolt ./apoxy.db`")
	}
	engine := d.Val()
	if engine != "bolt" && engine != "etcd" && engine != "postgres" {
		return d.Errf("store: there is no engine %q: expected bolt or etcd", engine)
	}
	unm, err := caddyfile.UnmarshalModule(d, "apoxy.stores."+engine)
	if err != nil {
		return err
	}
	*to = caddyconfig.JSONModuleObject(unm, "module", engine, nil)
	return nil
}

// appendArgs appends the arguments of an option, each of which must be ok.
func appendArgs(d *caddyfile.Dispenser, to *[]string, expected string, ok func(string) bool) error {
	option, args := d.Val(), d.RemainingArgs()
	if len(args) == 0 {
		return d.Errf("%s: expected %s", option, expected)
	}
	for _, arg := range args {
		if !ok(arg) && !hasPlaceholder(arg) {
			return d.Errf("%s: expected %s, got %q", option, expected, arg)
		}
	}
	*to = append(*to, args...)
	return nil
}

func parseDuration(d *caddyfile.Dispenser, to *caddy.Duration) error {
	option := d.Val()
	var arg string
	if !d.AllArgs(&arg) {
		return d.Errf("%s: expected one duration such as 30s", option)
	}
	v, err := caddy.ParseDuration(arg)
	if err != nil || v < time.Millisecond {
		return d.Errf("%s: expected a duration above zero such as 30s, got %q", option, arg)
	}
	*to = caddy.Duration(v)
	return nil
}

// parseLimit is parseDuration where 0 stands for no limit.
func parseLimit(d *caddyfile.Dispenser, to *caddy.Duration) error {
	if ahead := *d; ahead.NextArg() && ahead.Val() == "0" && !ahead.NextArg() {
		*to = 0
		d.NextArg()
		return nil
	}
	return parseDuration(d, to)
}

func isAddress(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil || hasPlaceholder(s)
}

func isAddressOrHost(s string) bool {
	return isAddress(s) || strings.Contains(s, ".") && !strings.ContainsAny(s, ":/ ")
}

func isResolver(s string) bool {
	if isAddress(s) {
		return true
	}
	_, err := netip.ParseAddrPort(s)
	return err == nil
}

func isListenAddress(s string) bool {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return false
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return false
	}
	return host == "" || isAddress(host)
}
