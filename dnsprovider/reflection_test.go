package dnsprovider

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// mostAmplified is how many octets we answer over UDP at most for each octet of
// a question about the operator's own zone, whatever is asked.
const mostAmplified = 5

// TestNoAmplification asks everything, with and without EDNS0: no answer over UDP
// has more than 1232 octets, or 512, or a small multiple of its question.
func TestNoAmplification(t *testing.T) {
	a := mustAuthority(t, mustZone(t, testConfig(), testRecords(), nil)).Limited(0)
	g := newClocked()
	worst, of := 0.0, ""
	for _, owner := range []string{testZone, "api.example.com." + testZone, "_acme-challenge.api.example.com." + testZone,
		"none.example.com." + testZone, "example.com." + testZone, "_apoxy-verify." + testZone, "x._apoxy-verify." + testZone,
		"ns2.dns." + testZone, "a." + testZone, "example.org", "."} {
		for qtype := range uint16(260) {
			for name, edit := range map[string]func(*dns.Msg){
				"plain": func(*dns.Msg) {}, "EDNS0": edns(0, 65535, true), "a client's cookie": withCookie("0123456789abcdef"),
			} {
				req := question(t, owner, qtype, edit)
				got := len(a.answerPooled(g.Guard, req, make([]byte, 0, udpPayload), peer{addr: netip.MustParseAddr("203.0.113.7")}))
				if factor := float64(got) / float64(len(req)); factor > worst {
					worst, of = factor, fmt.Sprintf("%s %s, %s: %d octets for %d", owner, dns.TypeToString[qtype], name, got, len(req))
				}
				if name == "plain" && got > minPayload {
					t.Errorf("%s %s: %d octets without EDNS0", owner, dns.TypeToString[qtype], got)
				}
			}
		}
	}
	t.Logf("the most: %.2f: %s", worst, of)
	if worst > mostAmplified {
		t.Errorf("more than %d octets for one: %s", mostAmplified, of)
	}
}

// BenchmarkReflection is what somebody gets in whose name others ask: a minute of
// questions that bear the address of one victim. It reports what is sent there for
// each question, and for each octet of it. The clock is simulated, the figures are
// the same on every machine.
func BenchmarkReflection(b *testing.B) {
	a := mustAuthority(b, mustZone(b, testConfig(), testRecords(), nil))
	victim := peer{addr: netip.MustParseAddr("203.0.113.7")}
	for _, bc := range []struct {
		name, owner string
		qtype       uint16
	}{
		{"record", "api.example.com." + testZone, dns.TypeA},
		{"nameservers", testZone, dns.TypeNS},
		{"nxdomain", "none." + testZone, dns.TypeA},
		{"refused", "example.org", dns.TypeA},
	} {
		for _, perSecond := range []int{100, 10_000} {
			b.Run(fmt.Sprintf("%s/%d", bc.name, perSecond), func(b *testing.B) {
				req := question(b, bc.owner, bc.qtype, edns(0, 1232, true))
				resp := make([]byte, 0, udpPayload)
				var asked, packets, octets int
				for b.Loop() {
					g := newClocked()
					asked, packets, octets = 60*perSecond, 0, 0
					for i := range asked {
						g.passing = time.Duration(i) * time.Second / time.Duration(perSecond)
						if out := a.answerPooled(g.Guard, req, resp, victim); out != nil {
							packets++
							octets += len(out)
						}
					}
				}
				b.ReportMetric(float64(packets)/float64(asked), "packets/question")
				b.ReportMetric(float64(octets)/float64(asked*len(req)), "octets/octet")
				b.ReportMetric(float64(octets)/60/1024, "KiB/s")
			})
		}
	}
}
