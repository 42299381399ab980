package issuance

import (
	"strings"
	"testing"

	"github.com/mholt/acmez/v3/acme"

	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// Which account a record means is found out before the first order, too: by
// registering, and after a restart from storage.
func TestCAAOfAnotherAccountCausesNoOrder(t *testing.T) {
	w := newWorld(t)
	w.ca.identities = []string{"ca.test"}
	forbidden := func(host, value string) {
		t.Helper()
		w.dns.delegate(host)
		w.dns.mu.Lock()
		w.dns.caa[host] = []CAA{{Domain: "example.com", Tag: "issue", Value: value}}
		w.dns.mu.Unlock()
		w.s.Want(Want{Hostname: host, UID: host, DNS01: true})
		o := w.until(host, "forbidden", worked(ownership.WorkCAAForbids))
		if !o.Mended {
			t.Error("the mend is told, and not said to be")
		}
		if want := `add: example.com. CAA 0 issue "ca.test; accounturi=` + w.ca.srv.URL + "/account/"; !strings.Contains(o.Mend, want) {
			t.Errorf("mend %q lacks %q", o.Mend, want)
		}
	}
	forbidden("a.example.com", "ca.test; accounturi="+w.ca.srv.URL+"/account/another")
	w.halt()
	w.start()
	forbidden("b.example.com", "ca.test; accounturi="+w.ca.srv.URL+"/account/another")
	if orders, accounts := w.ca.count("order"), w.ca.count("account"); orders != 0 || accounts != 1 {
		t.Errorf("%d orders and %d registrations", orders, accounts)
	}

	w.ca.mu.Lock()
	var ours string
	for id := range w.ca.accounts {
		ours = w.ca.srv.URL + "/account/" + id
	}
	w.ca.mu.Unlock()
	w.dns.mu.Lock()
	w.dns.caa["b.example.com"][0].Value = "ca.test; accounturi=" + ours + "; validationmethods=dns-01"
	w.dns.mu.Unlock()
	w.s.Retry("b.example.com")
	w.until("b.example.com", "certified", seen)
}

// Of the challenges that can be used the one that CAA permits is taken, and
// without any nothing is ordered.
func TestCAANarrowsTheChallenges(t *testing.T) {
	w := newWorld(t)
	w.ca.identities = []string{"ca.test"}
	w.ca.validate = func(string, string, string, string) *acme.Problem { return nil }
	w.dns.delegate("api.example.com")
	w.dns.caa["api.example.com"] = []CAA{{Domain: "example.com", Tag: "issue", Value: "ca.test; validationmethods=http-01"}}
	w.s.Want(Want{Hostname: "api.example.com", UID: "u1", DNS01: true})
	o := w.until("api.example.com", "forbidden", worked(ownership.WorkCAAForbids))
	if !strings.Contains(o.Message, "permit only the validation methods http-01, and dns-01 is what can be used here") || w.ca.placed() != 0 {
		t.Errorf("%d orders, message %q", w.ca.placed(), o.Message)
	}
	w.s.Want(Want{Hostname: "api.example.com", UID: "u1", DNS01: true, HTTP01: true})
	if o := w.until("api.example.com", "certified", seen); o.Challenge != "http-01" {
		t.Errorf("by %s", o.Challenge)
	}
}
