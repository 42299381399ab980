package issuance

import (
	"strings"
	"testing"

	acmez "github.com/mholt/acmez/v3/acme"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// Which account a record means is found out before the first order, too: by
// registering, and after a restart from storage.
func TestCAAOfAnotherAccountCausesNoOrder(t *testing.T) {
	w := newWorld(t)
	w.ca.Identities = []string{"ca.test"}
	forbidden := func(host, value string) {
		t.Helper()
		w.dns.delegate(host)
		w.dns.mu.Lock()
		w.dns.caa[host] = caaSet(value)
		w.dns.mu.Unlock()
		w.s.Want(Want{Hostname: host, UID: host, DNS01: true})
		o := w.until(host, "forbidden", worked(ownership.WorkCAAForbids))
		if !o.FoundHere {
			t.Error("the mend is told, and not said to be")
		}
		if want := `add: example.com. CAA 0 issue "ca.test; accounturi=` + w.ca.Server.URL + "/account/"; !strings.Contains(o.Mend, want) {
			t.Errorf("mend %q lacks %q", o.Mend, want)
		}
	}
	forbidden("a.example.com", "ca.test; accounturi="+w.ca.Server.URL+"/account/another")
	w.halt()
	w.start()
	forbidden("b.example.com", "ca.test; accounturi="+w.ca.Server.URL+"/account/another")
	if orders, accounts := w.ca.Count("order"), w.ca.Count("account"); orders != 0 || accounts != 1 {
		t.Errorf("%d orders and %d registrations", orders, accounts)
	}

	w.ca.Mu.Lock()
	var ours string
	for id := range w.ca.Accounts {
		ours = w.ca.Server.URL + "/account/" + id
	}
	w.ca.Mu.Unlock()
	w.dns.mu.Lock()
	w.dns.caa["b.example.com"] = caaSet("ca.test; accounturi=" + ours + "; validationmethods=dns-01")
	w.dns.mu.Unlock()
	w.s.Retry("b.example.com")
	w.until("b.example.com", "certified", seen)
}

// Of the challenges that can be used the one that CAA permits is taken, and
// without any nothing is ordered.
func TestCAANarrowsTheChallenges(t *testing.T) {
	w := newWorld(t)
	w.ca.Identities = []string{"ca.test"}
	w.ca.Validate = func(string, string, string, string) *acmez.Problem { return nil }
	w.dns.delegate("api.example.com")
	w.dns.caa["api.example.com"] = caaSet("ca.test; validationmethods=http-01")
	w.s.Want(Want{Hostname: "api.example.com", UID: "u1", DNS01: true})
	o := w.until("api.example.com", "forbidden", worked(ownership.WorkCAAForbids))
	if !strings.Contains(o.Message, "permit only the validation methods http-01, and dns-01 is what can be used here") || w.ca.Placed() != 0 {
		t.Errorf("%d orders, message %q", w.ca.Placed(), o.Message)
	}
	w.s.Want(Want{Hostname: "api.example.com", UID: "u1", DNS01: true, HTTP01: true})
	if o := w.until("api.example.com", "certified", seen); o.Challenge != "http-01" {
		t.Errorf("by %s", o.Challenge)
	}
}

// What the status says of a CAA record set and what an order does about it are one
// verdict, whatever the set, the account, the ways that can be gone and the CA.
func TestTheStatusJudgesCAAAsAnOrderDoes(t *testing.T) {
	w := newWorld(t)
	w.ca.Identities = []string{"ca.test"}
	if _, err := w.s.authorities()[0].CaaIdentities(t.Context()); err != nil {
		t.Fatal(err)
	}
	acct, err := w.s.accountOf(t.Context(), w.s.authorities()[0])
	if err != nil {
		t.Fatal(err)
	}
	long := "ca.test; x=" + strings.Repeat("y", 250)
	values := []string{"", "ca.test", "ca.test.", "CA.test", "other.test", `"ca.test"`, "ca.test; accounturi=" + acct.Location,
		"ca.test; accounturi=" + acct.Location + "2", "other.test; accounturi=" + acct.Location, "ca.test; validationmethods=dns-01",
		"ca.test; validationmethods=http-01", "ca.test; validationmethods=dns-01, http-01", "ca.test; validationmethods=tls-alpn-01; accounturi=" + acct.Location,
		"ca.test; x", "ca.test; x=y;", long + "; validationmethods=http-01", long + "; accounturi=" + acct.Location + "2", long + "; accounturi=" + acct.Location}
	settings := ownership.Settings{Zone: ownership.Zone{Name: "cname.example.net"}, Issuers: w.s.CAAIssuers()}
	forbidden := 0
	for _, a := range values {
		for _, b := range values {
			for i, tags := range [][2]string{{"issue", "issue"}, {"issue", "issuewild"}, {"issue", "issuemail"}, {"issue", "later"}} {
				for _, host := range []string{"api.example.com", "*.example.com"} {
					set := ownership.CAAObservation{Outcome: ownership.Seen, Domain: "example.com", Records: []ownership.CAARecord{
						{Tag: tags[0], Value: a}, {Tag: tags[1], Value: b, Flag: uint8(i%2) * 128}}}
					if agree(t, w, settings, host, set) {
						forbidden++
					}
				}
			}
		}
	}
	if forbidden < 500 {
		t.Errorf("only %d of the cases forbid anything", forbidden)
	}
}

// agree compares, for each way that can be gone, and reports whether any is forbidden.
func agree(t *testing.T, w *world, settings ownership.Settings, host string, set ownership.CAAObservation) (forbidden bool) {
	t.Helper()
	w.dns.mu.Lock()
	w.dns.caa[host] = set
	w.dns.mu.Unlock()
	for _, way := range []struct{ dns01, http01 bool }{{true, false}, {false, true}, {true, true}} {
		var methods []string
		for _, m := range w.s.authorities()[0].methods {
			if m == acmez.ChallengeTypeDNS01 && way.dns01 || m != acmez.ChallengeTypeDNS01 && way.http01 && !strings.HasPrefix(host, "*.") {
				methods = append(methods, m)
			}
		}
		if len(methods) == 0 {
			continue
		}
		_, f := w.s.permitted(t.Context(), w.s.authorities()[0], Want{Hostname: host, UID: "u1"}, methods, false)
		r := &v1alpha3.DomainRecord{}
		r.Spec.Name, r.Spec.TLS = host, &v1alpha3.DomainRecordTLS{}
		told := ownership.DiagnoseCAA(r, set, settings.Issuers, way.dns01, way.http01)
		if (f == nil) != (told == nil) || f != nil && (f.Class != acme.ClassCAA || !strings.HasSuffix(told.Message, f.Mend) || !strings.Contains(told.Message, strings.TrimPrefix(f.Message, "those "))) {
			t.Fatalf("%s %+v by %v: an order says %v, the status %v", host, set.Records, methods, f, told)
		}
		forbidden = forbidden || told != nil
	}
	return forbidden
}
