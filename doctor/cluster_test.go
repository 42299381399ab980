package doctor

import (
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/internal/dnstest"
)

func TestNodesAreJudged(t *testing.T) {
	for _, tc := range []struct {
		is, answer string
		want       []string // level and a part of what is seen, of each
	}{
		{"one node", `{"nodes":[{"name":"a","live":true,"answers":true}]}`, nil},
		{"an older server", `null`, nil},
		{"all live", `{"nodes":[{"name":"a","live":true,"answers":true},{"name":"b","live":true,"answers":true,"behind":3}]}`, []string{"ok live", "ok live"}},
		{"one gone", `{"nodes":[{"name":"a","live":true,"answers":true},{"name":"b"}]}`, []string{"ok live", "wrong it is gone"}},
		{"cut off", `{"nodes":[{"name":"a","problem":"it does not hold its lease"},{"name":"b","live":true,"problem":"the node does not answer"}],"problem":"etcd is away"}`,
			[]string{"wrong etcd is away", "wrong it does not hold", "wrong it holds its lease and does not answer"}},
		{"behind", `{"nodes":[{"name":"a","live":true,"answers":true},{"name":"b","live":true,"answers":true,"behind":5000}]}`, []string{"ok live", "wrong it is 5000 changes"}},
		{"not readable", `{`, []string{"note how they are cannot be told"}},
	} {
		t.Run(tc.is, func(t *testing.T) {
			a := admin(t, map[string]string{clusterPath: tc.answer})
			found := judgeNodes(Options{Base: a.URL + "/"}.withDefaults().gatherNodes(t.Context()))
			if len(found) != len(tc.want) {
				t.Fatalf("found %+v", found)
			}
			for i, f := range found {
				level, seen, _ := strings.Cut(tc.want[i], " ")
				if string(f.Level) != level || !strings.Contains(f.Seen, seen) || (f.Level == OK) != (f.Mend == "") {
					t.Errorf("found %+v, want %s", f, tc.want[i])
				}
			}
		})
	}
	if found := judgeNodes(Options{}.withDefaults().gatherNodes(t.Context())); found != nil {
		t.Errorf("without an endpoint: %+v", found)
	}
}

func TestReloadsAreJudgedByTheKernel(t *testing.T) {
	for setting, level := range map[string]Level{"0\n": Note, "1\n": OK} {
		if found := judgeReloads([]byte(setting)); len(found) != 1 || found[0].Level != level {
			t.Errorf("%q: %+v", setting, found)
		}
	}
	if found := judgeReloads(nil); found != nil {
		t.Errorf("where it cannot be told: %+v", found)
	}
}

// A name server that withholds challenges fails the validation of whoever asks it alone.
func TestANameServerWithoutALeaseIsFound(t *testing.T) {
	s := newSite(t)
	s.ns.Behave(dnstest.Fail(dns.RcodeServerFailure))
	r := s.examine(t)
	found := false
	for _, f := range r.Findings {
		if strings.Contains(f.Seen, "SERVFAIL") && strings.Contains(f.Subject, "_acme-challenge") {
			found = f.Level == Wrong && strings.Contains(f.Mend, "lease")
		}
	}
	if !found {
		t.Errorf("found %+v", r.Findings)
	}
}
