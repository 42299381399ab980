package e2e

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// Name servers that fail for CAA alone, each in its way: no CA may issue, so none
// is asked; nothing else of the record changes meanwhile, and the mend is followed
// by a certificate within a minute.
func TestIssuanceWaitsForServersThatFailForCAA(t *testing.T) {
	n := network(t)
	g := openGate(t, "127.0.0.71", n.CA)
	p := startAt(t, n, settings{}, g)
	d := customer(t, n, "caafails")
	code := func(rcode int) func(dns.ResponseWriter, *dns.Msg) {
		return func(w dns.ResponseWriter, req *dns.Msg) { _ = w.WriteMsg(new(dns.Msg).SetRcode(req, rcode)) }
	}
	ways := []struct {
		label, says string
		answer      func(dns.ResponseWriter, *dns.Msg)
	}{
		{"drops", "no answer", func(dns.ResponseWriter, *dns.Msg) {}},
		{"notimp", "NOTIMP", code(dns.RcodeNotImplemented)},
		{"servfail", "SERVFAIL", code(dns.RcodeServerFailure)},
		{"refuses", "refuses", code(dns.RcodeRefused)},
	}
	var mended atomic.Bool
	var cuts []string
	for i, way := range ways {
		zone, addr := way.label+"."+d.name, fmt.Sprintf("127.0.0.%d", 181+i)
		cuts = append(cuts, way.label+" NS ns."+zone+".", "ns."+way.label+" A "+addr)
		cname, err := dns.NewRR(delegation("api." + zone))
		if err != nil {
			t.Fatal(err)
		}
		set := laxZone(t, addr, zone, "ns."+zone+".", func(w dns.ResponseWriter, req *dns.Msg) bool {
			switch q := req.Question[0]; {
			case q.Qtype == dns.TypeCAA && !mended.Load():
				way.answer(w, req)
			case q.Qtype == dns.TypeTXT && q.Name == cname.Header().Name: // which the zone has no CNAME for
				m := new(dns.Msg).SetReply(req)
				m.Authoritative, m.Answer = true, []dns.RR{cname}
				_ = w.WriteMsg(m)
			default:
				return false
			}
			return true
		})
		set("ns A "+addr, delegation("api."+zone))
	}
	d.set(t, cuts...)
	before := map[string]record{}
	for _, way := range ways {
		host := "api." + way.label + "." + d.name
		p.submit(t, host)
		r := p.await(t, host, 30*time.Second, "what keeps it", func(r record) error {
			if err := is("TLSReady=False/WaitingForDNS", "ACMEChallengeDelegationReady=True")(r); err != nil {
				return err
			}
			if m := r.condition("TLSReady").Message; !strings.Contains(m, way.says) || !strings.Contains(m, "CAA") {
				return fmt.Errorf("TLSReady says %q, want %q", m, way.says)
			}
			return nil
		})
		before[host] = r
	}
	for range 3 {
		for host, was := range before {
			now := p.check(t, host)
			for _, c := range was.Status.Conditions {
				if n := now.condition(c.Type); n.Status != c.Status || n.Reason != c.Reason ||
					n.Message != c.Message && c.Type != "TLSReady" && c.Type != "Ready" {
					t.Errorf("%s: %s changed from %+v to %+v", host, c.Type, c, n)
				}
			}
			if got := len(g.seen(host)); got != 0 {
				t.Errorf("%s: %d requests reached the CA", host, got)
			}
		}
	}
	mended.Store(true)
	began := time.Now()
	for host := range before {
		p.certified(t, host, time.Minute-time.Since(began))
	}
	t.Logf("all were certified %v after the mend", time.Since(began).Round(time.Millisecond))
}
