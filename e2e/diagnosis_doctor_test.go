package e2e

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// The doctor finds nothing to mend in a set-up that works, and says what is
// wrong with one that does not.
func TestDiagnosisDoctor(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{})
	customer(t, n, "examined")
	p.add(t, "api.examined.com", true, nil)
	out, err := p.caddy(t.Context(), "", "apoxy", "doctor")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	contains(t, out, "Nothing is wrong with "+testnet.Zone, "api.examined.com."+testnet.Zone)
	for _, check := range []string{"interception", "delegation", "dns-udp", "dns-tcp", "resolver", "edge", "ca", "clock", "caa"} {
		if !strings.Contains(out, "ok     "+check) {
			t.Errorf("the doctor says nothing good of %s:\n%s", check, out)
		}
	}

	t.Cleanup(func() {
		if err := n.Provider.SetZone("example.net", "cname NS "+testnet.NameServer+".", "ns1 A "+testnet.ProductAddr); err != nil {
			t.Error(err)
		}
	})
	if err := n.Provider.SetZone("example.net", "ns1 A "+testnet.ProductAddr); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "the doctor to miss the delegation", func() error {
		out, err := p.caddy(t.Context(), "", "apoxy", "doctor", "-o", "json")
		var report struct {
			Findings []struct{ Level, Check, Mend string }
		}
		if exitStatus(err) != 1 {
			return errorf("exit status %d: %v", exitStatus(err), err)
		}
		if err := json.Unmarshal([]byte(out), &report); err != nil {
			return err
		}
		for _, f := range report.Findings {
			if f.Level == "wrong" && f.Check == "delegation" && strings.Contains(f.Mend, "NS "+testnet.NameServer) {
				return nil
			}
		}
		return errorf("no finding on the delegation: %s", out)
	})
}
