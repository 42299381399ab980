package issuance

import (
	"fmt"
	"math"
	"reflect"
	"testing"
	"time"
	"unsafe"

	"github.com/apoxy-dev/caddy-apoxy/internal/times"
	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

const (
	someUID  = "5f0c1f66-6d3c-4f0e-9d5e-0123456789ab"
	otherUID = "00000000-0000-4000-8000-000000000000"
	someCA   = "acme-v02.api.letsencrypt.org-directory"
)

// lasting is a record as a CA with renewal information leaves it.
func lasting(serial, ari string) dossier {
	r := dossier{UID: someUID, Owner: "tenant", CA: someCA, Issuer: "Let's Encrypt E7", Serial: serial, Challenge: "dns-01",
		NotBefore: 1_790_000_000, NotAfter: 1_797_776_000, Renewal: 1_795_184_000}
	if ari != "" {
		r.ARI = &renewalInfo{ID: ari, Start: 1_795_000_000, End: 1_795_400_000, Poll: 1_790_021_600}
	}
	return r
}

func TestEntriesTellWhatTheyWereGiven(t *testing.T) {
	want := Want{Hostname: "a.example.com", UID: someUID, Owner: "tenant", DNS01: true, Since: 1_789_000_000}
	with := func(change func(w *Want)) Want { w := want; change(&w); return w }
	rec := func(change func(r *dossier)) dossier { r := lasting("5a3f", "a2V5.Wj8"); change(&r); return r }
	for _, c := range []struct {
		name string
		want *Want // nil: not wanted
		rec  dossier
		fits bool
	}{
		{"a certificate of the record that wants it", &want, lasting("5a3f", ""), true},
		{"with renewal information", &want, lasting("5a3f", "a2V5.Wj8"), true},
		{"whose serial number has an odd number of digits", &want, lasting("3ff", "a2V5.A_8"), true},
		{"whose serial number begins with a set bit", &want, lasting("ff01", "a2V5.AP8B"), true},
		{"whose serial number is as long as may be", &want, lasting("7fffffffffffffffffffffffffffffffffffffff", ""), true},
		{"one without a record that wants it", nil, lasting("5a3f", "a2V5.Wj8"), true},
		{"none yet", &want, dossier{}, true},
		{"nothing", nil, dossier{}, true},
		{"a Want with a CA and without Since", ptr(with(func(w *Want) { w.CertificateAuthority, w.Since, w.HTTP01, w.DNS01 = "zerossl", 0, true, false })), lasting("5a3f", ""), true},
		{"a Want without tenant", ptr(with(func(w *Want) { w.Owner = "" })), rec(func(r *dossier) { r.Owner = "" }), true},
		{"a uid that is no UUID", ptr(with(func(w *Want) { w.UID = "u1" })), rec(func(r *dossier) { r.UID = "u1" }), false},
		{"a UUID in capitals", ptr(with(func(w *Want) { w.UID = "5F0C1F66-6D3C-4F0E-9D5E-0123456789AB" })), dossier{}, false},
		{"a certificate of another record", &want, rec(func(r *dossier) { r.UID = otherUID }), false},
		{"a certificate of another tenant", &want, rec(func(r *dossier) { r.Owner = "other" }), false},
		{"a serial number with a leading zero", &want, lasting("0a", ""), false},
		{"a serial number that is too long", &want, lasting("1ffffffffffffffffffffffffffffffffffffffff", ""), false},
		{"a serial number that is none", &want, lasting("x", ""), false},
		{"no serial number", &want, lasting("", ""), true},
		{"renewal information of another certificate", &want, lasting("5a3f", "a2V5.Wj9"), false},
		{"an end beyond the 32 bits", &want, rec(func(r *dossier) { r.NotAfter = math.MaxUint32 + 1 }), false},
		{"a time before 1970", &want, rec(func(r *dossier) { r.NotBefore = -1 }), false},
		{"an order", &want, dossier{Order: &acme.Order{CA: someCA, URL: "https://ca.test/1"}}, false},
		{"trouble", &want, dossier{Trouble: &trouble{Class: acme.ClassDNS, Message: "gone", Until: 5}}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := &entry{hostname: "a.example.com", wanted: c.want != nil}
			w := Want{Hostname: e.hostname}
			if c.want != nil {
				w, e.since = *c.want, c.want.Since*1e9
			}
			e.set(w, c.rec)
			if got := e.want(); got != w {
				t.Errorf("want %+v, given %+v", got, w)
			}
			if got := e.dossier(); !reflect.DeepEqual(got, c.rec) {
				t.Errorf("record %+v, given %+v", got, c.rec)
			}
			if (e.loose == nil) != c.fits {
				t.Errorf("packed: %v", e.loose == nil)
			}
			renewal, notAfter := e.times()
			st, poll := e.poll()
			if renewal != c.rec.Renewal || notAfter != c.rec.NotAfter || (c.rec.ARI != nil) != (st == stepARI) || c.rec.ARI != nil && poll.Unix() != c.rec.ARI.Poll {
				t.Errorf("times %d, %d, to be asked %d at %v", renewal, notAfter, st, poll)
			}
			if e.has() != c.rec.has() || e.empty() != c.rec.empty() || e.serialNumber() != c.rec.Serial || e.trouble() != c.rec.Trouble {
				t.Errorf("has %v, empty %v, serial %q, trouble %v", e.has(), e.empty(), e.serialNumber(), e.trouble())
			}
			if c.want == nil {
				return
			}
			ca := &ca{CA: &acme.CA{Key: someCA}}
			if e.proven() != (c.rec.has() && c.rec.proves(w)) || e.replaces(ca) != (c.rec.replaces(w, ca) != "") ||
				e.tenant() != w.Owner || e.asks() != w.CertificateAuthority || e.possible() != (w.DNS01 || w.HTTP01) {
				t.Errorf("proven %v, replaces %v, tenant %q, asks %q, possible %v", e.proven(), e.replaces(ca), e.tenant(), e.asks(), e.possible())
			}
		})
	}
}

func ptr[T any](v T) *T { return &v }

// A million of them must fit a small machine.
func TestAnEntryIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(entry{}); n > 144 {
		t.Errorf("%d bytes", n)
	}
}

// What is due is moved in batches, so that nobody who asks waits for a million.
func TestNothingHoldsTheLockForAllThatIsDue(t *testing.T) {
	s := New(Config{Now: func() time.Time { return epoch }})
	s.entries.loaded = true
	is := &Issuers{}
	is.list = []issuer{{member: "a", ca: &ca{CA: &acme.CA{Key: "a", Auth: acme.Authority{Directory: "https://a.test"}}}}}
	s.SetIssuers(is)
	s.entries.sorted = epoch
	const n = 3*batch + 7
	for i := range n {
		h := fmt.Sprintf("h%d.example.com", i)
		s.entries.add(h).looked = true
		s.Want(Want{Hostname: h, UID: someUID, DNS01: true})
	}
	if got := s.entries.lanes[laneKey{ca: "a"}].queue.Len(); got != n {
		t.Fatalf("%d wait", got)
	}
	s.SetIssuers(is)
	if o := s.Observe("h5.example.com"); o.Work != ownership.WorkQueued {
		t.Errorf("while it is sorted: %+v", o)
	}
	s.Forget("h5.example.com") // while it stands among what is to be sorted
	rounds := 0
	for ; s.entries.sort(); rounds++ {
		if l := s.entries.lanes[laneKey{ca: "a"}]; l != nil && l.queue.Len() > (rounds+1)*batch {
			t.Fatalf("%d were moved in %d rounds", l.queue.Len(), rounds+1)
		}
	}
	if l := s.entries.lanes[laneKey{ca: "a"}]; rounds < 3 || l == nil || l.queue.Len() != n-1 || len(s.entries.stale) != 0 {
		t.Errorf("after %d rounds %+v, %d lanes still to be sorted", rounds, l, len(s.entries.stale))
	}
	s.DropIssuers(is) // no CA is left
	for s.entries.sort() {
	}
	if s.entries.parked.queue.Len() != n-1 || len(s.entries.lanes) != 0 {
		t.Errorf("%d are parked, %d lanes", s.entries.parked.queue.Len(), len(s.entries.lanes))
	}
}

// A controller tells of each of a million records at the start.
func TestWhatIsSettledDoesNotWakeTheDispatcher(t *testing.T) {
	s := New(Config{Now: func() time.Time { return times.Unix(1_790_000_000) }})
	s.entries.loaded = true
	asleep := func(what string, want bool) {
		t.Helper()
		select {
		case <-s.entries.wake:
			if want {
				t.Errorf("%s wakes it", what)
			}
		default:
			if !want {
				t.Errorf("%s does not wake it", what)
			}
		}
	}
	learn := func(h string, renewal int64) {
		r := lasting("5a3f", "")
		r.Renewal = renewal
		s.entries.learn(&learnt{hostname: h, rec: r, revision: 1})
	}
	w := func(h string) Want { return Want{Hostname: h, UID: someUID, Owner: "tenant", DNS01: true} }
	learn("first.example.com", 1_790_000_100)
	s.Want(w("first.example.com"))
	asleep("what is due before all else", false)
	for i := range 100 {
		h := fmt.Sprintf("h%d.example.com", i)
		learn(h, 1_795_000_000+int64(i))
		s.Want(w(h))
		s.Want(w(h))
	}
	asleep("what is due later", true)
	s.SetIssuers(&Issuers{list: []issuer{{member: "a", ca: &ca{CA: &acme.CA{Key: "a", Auth: acme.Authority{Directory: "https://a.test"}}}}}})
	asleep("a reload", false)
	s.Want(w("new.example.com"))
	asleep("a first issuance", false)
}

func TestForeignIsWhatProvenanceSays(t *testing.T) {
	same := lasting("5a3f", "")
	for name, rec := range map[string]dossier{
		"packed": same, "loose": func() dossier { r := same; r.Trouble = &trouble{Class: acme.ClassDNS, Message: "x"}; return r }(),
		"without uid": func() dossier { r := same; r.UID = ""; return r }(), "none": {},
	} {
		e := &entry{hostname: "a.example.com", slot: -1}
		e.set(Want{}, rec)
		s := New(Config{})
		s.entries.of.add(e)
		for _, uid := range []string{someUID, otherUID, "", "u1"} {
			for _, owner := range []string{"tenant", "other", ""} {
				want := rec.has() && ownership.ProvenanceOf(rec.UID, rec.Owner, uid, owner) == ownership.ForeignCertificate
				if got := s.Foreign(e.hostname, uid, owner); got != want {
					t.Errorf("%s, to %q of %q: %v, want %v", name, uid, owner, got, want)
				}
				if n := testing.AllocsPerRun(10, func() { s.Foreign(e.hostname, uid, owner) }); n != 0 {
					t.Errorf("%s: %v allocations", name, n)
				}
			}
		}
	}
}
