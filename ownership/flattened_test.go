package ownership

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// flat is a name that has the edge's addresses, beside a sibling with others.
func flat(sibling ...string) DNSObservation {
	return DNSObservation{Outcome: Seen, Addresses: addrs("203.0.113.10", "2001:db8::10"),
		Sibling: Sibling{Told: true, Addresses: addrs(sibling...)}}
}

func (w *world) problem(reason string) {
	w.t.Helper()
	got := ""
	if p := w.r.Status.DNSRecord(v1alpha3.PurposeTraffic).Problem; p != nil {
		got = p.Reason
	}
	if got != reason {
		w.t.Errorf("the problem at the main record is %q, want %q", got, reason)
	}
}

// The edge's addresses at a name that could have the CNAME: traffic arrives, and
// whether that proves anything depends on who made them.
func TestAddressesAtAnyName(t *testing.T) {
	unsure := flat()
	unsure.Sibling.Told = false
	for _, c := range []struct {
		name         string
		host         string
		tls, covered bool
		o            DNSObservation
		reason       string
		problem      string
		http01       bool
		verified     bool
	}{
		{"the name itself, with TLS", testHost, true, false, flat(), v1alpha3.ReasonAddressConfigured, ProblemFlattenedCNAME, true, false},
		{"the name itself, HTTP-only", testHost, false, false, flat(), v1alpha3.ReasonAddressConfigured, ProblemFlattenedCNAME, false, false},
		{"beside a wildcard that leads elsewhere", testHost, true, false, flat("192.0.2.9"), v1alpha3.ReasonAddressConfigured, ProblemFlattenedCNAME, true, false},
		{"made up by a wildcard", testHost, true, false, flat("203.0.113.10"), v1alpha3.ReasonAddressConfigured, ProblemWildcardAnswers, false, false},
		{"made up by a wildcard that answers with another of the edge's", testHost, true, false, flat("192.0.2.9", "2001:db8::10"), v1alpha3.ReasonAddressConfigured, ProblemWildcardAnswers, false, false},
		{"made up by a wildcard, HTTP-only", testHost, false, false, flat("203.0.113.10"), v1alpha3.ReasonAddressConfigured, ProblemWildcardAnswers, false, false},
		{"perhaps made up by a wildcard", testHost, true, false, unsure, v1alpha3.ReasonAddressConfigured, ProblemWildcardAnswers, false, false},
		{"below another owner's wildcard", testHost, true, true, flat(), v1alpha3.ReasonAddressConfigured, ProblemFlattenedCNAME, false, false},
		{"a wildcard itself", "*.example.com", true, false, flat(), v1alpha3.ReasonAddressConfigured, ProblemFlattenedCNAME, false, false},
		{"a wildcard itself, HTTP-only", "*.example.com", false, false, unsure, v1alpha3.ReasonAddressConfigured, ProblemWildcardAnswers, false, false},
		{"an apex", "example.com", false, false, unsure, v1alpha3.ReasonAddressConfigured, "", false, true},
		{"an apex of its own", testHost, false, false, DNSObservation{Outcome: Seen, Apex: true, Addresses: addrs("203.0.113.10")}, v1alpha3.ReasonAddressConfigured, "", false, true},
		{"a name sold below a suffix of somebody's", "evil.github.io", false, false, flat("203.0.113.10"), v1alpha3.ReasonAddressConfigured, ProblemWildcardAnswers, false, false},
		{"a stray address beside them", testHost, true, false, DNSObservation{Outcome: Seen, Addresses: addrs("203.0.113.10", "192.0.2.7"),
			Sibling: Sibling{Told: true}}, v1alpha3.ReasonCNAMEMismatch, ProblemStrayAddress, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, c.host, c.tls)
			w.obs.Traffic, w.covered = c.o, c.covered
			v := w.look()
			if got := w.r.Status.Condition(cnamc).Reason; got != c.reason {
				t.Errorf("CNAMEConfigured is %q", got)
			}
			w.problem(c.problem)
			if v.HTTP01 != c.http01 || v.WantCertificate != c.http01 || v.Status.Ownership.Verified != c.verified {
				t.Errorf("HTTP-01 %v, wanted %v, verified %v", v.HTTP01, v.WantCertificate, v.Status.Ownership.Verified)
			}
			if m := w.r.Status.Condition(own).Message; !c.verified && !c.http01 && !strings.Contains(m, "_apoxy-challenge.") {
				t.Errorf("OwnershipVerified does not say how to prove: %q", m)
			}
		})
	}
}

// What an unanswered look leaves of addresses is what was known of them.
func TestAddressesHold(t *testing.T) {
	unsure := flat()
	unsure.Sibling.Told = false
	w := newWorld(t, testHost, true)
	w.obs.Traffic = flat()
	for _, o := range []DNSObservation{flat(), unknown, unsure, {Err: "not looked"}} {
		if w.obs.Traffic = o; !w.look().HTTP01 {
			t.Errorf("%+v ends the order", o)
		}
		w.problem(ProblemFlattenedCNAME)
	}
	w.obs.Traffic = flat("203.0.113.10")
	for _, o := range []DNSObservation{flat("203.0.113.10"), unknown, unsure, {Problem: ZoneServFail, Err: "x"}, unknown} {
		if w.obs.Traffic = o; w.look().HTTP01 {
			t.Errorf("%+v opens what a wildcard made up", o)
		}
		w.is(cnamc, tru, v1alpha3.ReasonAddressConfigured)
	}
	apex := newWorld(t, testHost, false)
	apex.obs.Traffic = DNSObservation{Outcome: Seen, Apex: true, Addresses: addrs("203.0.113.10")}
	apex.look()
	apex.obs.Traffic = unsure
	apex.look()
	apex.problem("")
	apex.is(own, tru, v1alpha3.ReasonCNAMEConfigured)
}

// The certificate proves; afterwards flattened addresses keep a record with TLS,
// and neither a wildcard's nor those of a record without TLS do.
func TestWhatAddressesKeep(t *testing.T) {
	for _, c := range []struct {
		name string
		tls  bool
		o    DNSObservation
		kept bool
	}{
		{"with TLS", true, flat(), true},
		{"a wildcard's", true, flat("203.0.113.10"), false},
		{"HTTP-only", false, flat(), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, testHost, c.tls)
			w.obs.Traffic = right(w.r, v1alpha3.PurposeTraffic, "")
			if c.tls {
				w.obs.Certificate = certificateUntil(testEpoch.Add(time.Minute))
			}
			w.look()
			w.now = testEpoch.Add(time.Hour)
			w.obs.Traffic = c.o
			w.look()
			w.now = testEpoch.Add(2 * time.Hour)
			w.covered = true // it concerns only those who are not verified
			if v := w.look(); v.Status.Ownership.Verified != c.kept {
				t.Errorf("verified: %v", v.Status.Ownership.Verified)
			}
		})
	}
}

func TestCovering(t *testing.T) {
	for host, want := range map[string][]string{
		"example.com":                   {},
		"www.example.com":               {"*.example.com"},
		"a.b.example.co.uk":             {"*.b.example.co.uk", "*.example.co.uk"},
		"*.b.example.com":               {"*.example.com"},
		"1.2.3.4.5.6.7.8.9.example.com": nil,
	} {
		got, all := Covering(host)
		if all != (want != nil) || all && !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v", host, got, all)
		}
	}
}

func TestArrivesByAddresses(t *testing.T) {
	for _, c := range []struct {
		host string
		o    DNSObservation
		want bool
	}{
		{testHost, flat(), true},
		{testHost, flat("203.0.113.10"), false},
		{testHost, DNSObservation{Outcome: Seen, Addresses: []netip.Addr{netip.MustParseAddr("203.0.113.10")}}, false},
		{"example.com", DNSObservation{Outcome: Seen, Addresses: addrs("203.0.113.10")}, true},
	} {
		if got := Arrives(c.host, c.o, testSettings.Zone); got != c.want {
			t.Errorf("%s %+v: %v", c.host, c.o, got)
		}
	}
}

// A certificate that may have been obtained by addresses does not open below another
// owner's wildcard, unless a proof of the record's own stands beside it.
func TestACertificateBelowAnothersWildcard(t *testing.T) {
	for _, c := range []struct {
		name      string
		traffic   DNSObservation
		delegated bool
		opens     bool
	}{
		{"by addresses", flat(), false, false},
		{"by a wildcard's", flat("203.0.113.10"), false, false},
		{"with the delegation", flat(), true, true},
		{"with the CNAME", cname("api.example.com.cname.example.net."), false, true},
		{"with addresses elsewhere", DNSObservation{Outcome: Seen, Addresses: addrs("192.0.2.7")}, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, testHost, true)
			w.covered, w.obs.Traffic, w.obs.Certificate = true, c.traffic, certificateUntil(testEpoch.Add(time.Hour))
			if c.delegated {
				w.obs.ACMEChallenge = right(w.r, v1alpha3.PurposeACMEChallenge, "")
			}
			if v := Evaluate(w.input()); v.Opens != c.opens {
				t.Errorf("opens: %v", v.Opens)
			}
		})
	}
}

// Name servers that are out of reach look after look take nothing away from what
// addresses were known to be, and withdraw nothing.
func TestAddressesOutliveTroubleOfTheNameServers(t *testing.T) {
	down := DNSObservation{Problem: ZoneUnreachable, Err: "nobody answers"}
	for name, c := range map[string]struct {
		tls bool
		o   DNSObservation
	}{
		"an apex of its own, HTTP-only": {false, DNSObservation{Outcome: Seen, Apex: true, Addresses: addrs("203.0.113.10")}},
		"an apex of its own, with TLS":  {true, DNSObservation{Outcome: Seen, Apex: true, Addresses: addrs("203.0.113.10")}},
		"flattened, with TLS":           {true, flat()},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, testHost, c.tls)
			w.obs.Traffic = c.o
			if c.tls {
				w.obs.Certificate = certificateUntil(testEpoch.Add(time.Minute))
			}
			w.look()
			w.is(own, tru, w.r.Status.Condition(own).Reason)
			w.now, w.obs.Traffic = testEpoch.Add(time.Hour), down
			for range 3 {
				w.now = w.now.Add(time.Minute)
				v := w.look()
				if v.Withdrawing || v.HTTP01 != c.tls {
					t.Fatalf("withdrawing: %v, HTTP-01: %v: %s", v.Withdrawing, v.HTTP01, w.r.Status.Condition(own).Message)
				}
				w.is(cnamc, tru, v1alpha3.ReasonAddressConfigured)
			}
			w.now = w.now.Add(time.Minute)
			w.obs.Traffic, w.obs.Ownership, w.obs.ACMEChallenge = absent, absent, absent
			if v := w.look(); v.Falls {
				t.Error("it falls with the first look that finds it gone")
			}
		})
	}
}

// A resolver's old answer is waited for where the CNAME is flattened, too, though
// the next look could not tell.
func TestHTTP01WaitsForAStaleResolverOfAFlattenedName(t *testing.T) {
	w := newWorld(t, testHost, true)
	w.obs.Traffic = flat()
	w.obs.Traffic.Stale = []StaleAnswer{{"192.0.2.1", "A 198.51.100.7", testEpoch.Add(200 * time.Second), addrs("198.51.100.7")}}
	if v := w.look(); !v.HTTP01 || v.HTTP01From.IsZero() {
		t.Fatalf("HTTP01=%v from %v", v.HTTP01, v.HTTP01From)
	}
	w.now = testEpoch.Add(30 * time.Second)
	w.obs.Traffic = unknown
	if v := w.look(); !v.HTTP01From.After(w.now) || v.HTTP01From.After(testEpoch.Add(staleMost)) {
		t.Errorf("without an answer it waits until %v", v.HTTP01From)
	}
	if dns, http := Waits(w.r, w.settings, w.now); !dns.IsZero() || !http.After(w.now) {
		t.Errorf("a start waits until %v and %v", dns, http)
	}
	w.now = testEpoch.Add(staleMost)
	if v := w.look(); !v.HTTP01 || !v.HTTP01From.IsZero() {
		t.Errorf("at last HTTP01=%v from %v", v.HTTP01, v.HTTP01From)
	}
}

// A bogus zone hides what addresses were; who is not verified gains nothing by it.
func TestABogusZoneMakesNoApexOfAddresses(t *testing.T) {
	w := newWorld(t, testHost, true)
	w.covered = true
	w.obs.Traffic = flat()
	w.obs.Traffic.Problem = ZoneBogus
	w.look()
	for range 3 {
		w.obs.Traffic = DNSObservation{Problem: ZoneUnreachable, Err: "nobody answers"}
		w.obs.Certificate = certificateUntil(testEpoch.Add(time.Hour))
		if v := w.look(); v.Opens || v.HTTP01 {
			t.Fatalf("opens %v, HTTP-01 %v", v.Opens, v.HTTP01)
		}
	}
}
