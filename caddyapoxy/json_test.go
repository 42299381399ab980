package caddyapoxy

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// What no Caddyfile can hold is refused as well, with the option, the value and
// what was expected.
func TestWrongJSONIsRefused(t *testing.T) {
	t.Setenv("APOXY_TEST_NETWORK", "10.0.0.0/8")
	const zone = `"zone":{"name":"cname.example.net","nameservers":[{"name":"ns1.example.net"}],"edge":["192.0.2.1"]%s}`
	for _, c := range []struct {
		name, zone, app string
		want            []string // parts of the error; none: it is right
	}{
		{"seconds as a bare number", "", `,"check_interval":1`, []string{"check_interval", "at least 10ms", "got 1ns", `"30s"`}},
		{"a negative interval", "", `,"check_interval":"-30s"`, []string{"check_interval", "got -30s"}},
		{"the shortest interval", "", `,"check_interval":"10ms"`, nil},
		{"minutes as a bare number", "", `,"detach_after":10`, []string{"detach_after", "at least 100ms", "got 10ns"}},
		{"the shortest detach_after", "", `,"detach_after":100000000`, nil},
		{"an hour as a bare number", "", `,"fleet_brake_hold":1`, []string{"fleet_brake_hold", "at least 100ms", "got 1ns"}},
		{"a negative fleet_brake_hold", "", `,"fleet_brake_hold":"-1h"`, []string{"fleet_brake_hold", "got -1h"}},
		{"the shortest fleet_brake_hold", "", `,"fleet_brake_hold":"100ms"`, nil},
		{"a bare number as negative_ttl", `,"negative_ttl":300`, "", []string{"negative_ttl", "300ns", "1s to 24h"}},
		{"a negative_ttl of more than a day", `,"negative_ttl":"48h"`, "", []string{"negative_ttl", "48h", "1s to 24h"}},
		{"a rate limit below off", "", `,"dns_rate_limit":-2`, []string{"dns_rate_limit", "1 to 1000000", "-1 for no limit", "got -2"}},
		{"a rate limit that is none", "", `,"dns_rate_limit":1000001`, []string{"dns_rate_limit", "got 1000001"}},
		{"no rate limit", "", `,"dns_rate_limit":-1`, nil},
		{"an edge that nothing answers for", `,"edge":["www.cname.example.net"]`, "", []string{"edge", `"www.cname.example.net"`, "inside the zone"}},
		{"a zone file inside the zone", "", `,"zone_files":[{"zone":"a.cname.example.net","file":"a.zone"}]`, []string{"zonefile a.cname.example.net", "outside cname.example.net"}},
		{"a network that is none", "", `,"private_networks":["10.0.0.0/8","lan"]`, []string{"private_networks", `"lan"`, "a network such as 10.0.0.0/8"}},
		{"a network with bits behind the prefix", "", `,"private_networks":["10.0.0.1/8"]`, []string{"private_networks", `"10.0.0.1/8"`, "write 10.0.0.0/8"}},
		{"a placeholder that stands for no network", "", `,"private_networks":["{env.APOXY_NO_NETWORK}"]`, []string{"private_networks", "{env.APOXY_NO_NETWORK} is empty"}},
		{"networks and addresses", "", `,"private_networks":["10.0.0.0/8","fd00::/8","192.168.7.53","fd00::53"]`, nil},
		{"a placeholder that stands for a network", "", `,"private_networks":["{env.APOXY_TEST_NETWORK}"]`, nil},
		{"an edge_check that is no address", `,"edge_check":["lb.example.net"]`, "", []string{"edge_check", "off or IP addresses", `"lb.example.net"`}},
		{"an edge_check that is off and on", `,"edge_check":["off","10.0.0.5"]`, "", []string{"edge_check", "either off or IP addresses"}},
		{"an edge_check", `,"edge_check":["10.0.0.5","fd00::5"]`, "", nil},
		{"no edge_check", `,"edge_check":["off"]`, "", nil},
		{"nothing wrong", "", "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := &caddy.Config{
				AppsRaw:    caddy.ModuleMap{"apoxy": json.RawMessage("{" + fmt.Sprintf(zone, c.zone) + c.app + "}")},
				StorageRaw: json.RawMessage(fmt.Sprintf(`{"module":"file_system","root":%q}`, storageDir(t))),
			}
			err := caddy.Validate(config)
			if (err == nil) != (len(c.want) == 0) {
				t.Fatalf("validating: %v", err)
			}
			for _, part := range c.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not hold %q", err, part)
				}
			}
		})
	}
}
