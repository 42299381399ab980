package ownership

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

func TestContest(t *testing.T) {
	alice, bob, nobody, unknown := &Party{Owner: "alice"}, &Party{Owner: "bob"}, &Party{}, &Party{Owner: "alice", Unknown: true}
	for _, c := range []struct {
		name                              string
		hostname, owner                   string
		holder, neighbour, neighboursHeld *Party
		want                              Contest
	}{
		{"alone", testHost, "alice", nil, nil, nil, Contest{}},
		{"held before by herself", testHost, "alice", alice, nil, nil, Contest{}},
		{"held before by another", testHost, "alice", bob, nil, nil, Contest{HeldBefore, testHost}},
		{"held before by the empty owner", testHost, "alice", nobody, nil, nil, Contest{HeldBefore, testHost}},
		{"the empty owner after another", testHost, "", alice, nil, nil, Contest{HeldBefore, testHost}},
		{"the empty owner after itself", testHost, "", nobody, nil, nil, Contest{}},
		{"held before by who knows whom", testHost, "alice", unknown, nil, nil, Contest{HeldBefore, testHost}},
		{"beside her own wildcard", "example.com", "alice", nil, alice, alice, Contest{}},
		{"beside another's wildcard", "example.com", "alice", nil, bob, nil, Contest{NeighbourClaims, "*.example.com"}},
		{"a wildcard beside another's base", "*.example.com", "alice", nil, bob, nil, Contest{NeighbourClaims, "example.com"}},
		{"beside a wildcard without an owner", "example.com", "alice", nil, nobody, nil, Contest{NeighbourClaims, "*.example.com"}},
		{"beside a record that cannot be read", "example.com", "alice", nil, unknown, nil, Contest{NeighbourClaims, "*.example.com"}},
		{"another held the wildcard", "example.com", "alice", nil, nil, bob, Contest{NeighbourHeld, "*.example.com"}},
		{"another held the wildcard that is now hers and unproven", "example.com", "alice", nil, alice, bob, Contest{NeighbourHeld, "*.example.com"}},
		{"the hostname's own holder comes first", "example.com", "alice", bob, bob, bob, Contest{HeldBefore, "example.com"}},
	} {
		got := Claim{Hostname: c.hostname, Owner: c.owner, Holder: c.holder, NeighbourRecord: c.neighbour, NeighbourHolder: c.neighboursHeld}.Contest()
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestProvenanceOf(t *testing.T) {
	for _, c := range []struct {
		certUID, certOwner, uid, owner string
		want                           Provenance
	}{
		{"1", "alice", "1", "alice", OwnCertificate},
		{"1", "alice", "1", "bob", OwnCertificate}, // relabelled
		{"1", "alice", "2", "alice", InheritedCertificate},
		{"1", "", "2", "", InheritedCertificate},
		{"1", "alice", "2", "bob", ForeignCertificate},
		{"1", "", "2", "alice", ForeignCertificate},
		{"1", "alice", "2", "", ForeignCertificate},
		{"", "", "2", "", ForeignCertificate}, // for whom it was issued is not known
		{"", "", "", "", ForeignCertificate},
	} {
		if got := ProvenanceOf(c.certUID, c.certOwner, c.uid, c.owner); got != c.want {
			t.Errorf("ProvenanceOf(%q, %q, %q, %q) = %d, want %d", c.certUID, c.certOwner, c.uid, c.owner, got, c.want)
		}
	}
}

// owned is a record of an owner, "" for none.
func owned(host, owner string, known v1alpha3.OwnershipStatus) *v1alpha3.DomainRecord {
	r := newRecord(host, false)
	if owner != "" {
		r.Labels = map[string]string{v1alpha3.OwnerLabel: owner}
	}
	r.Status.Ownership = &known
	return r
}

func TestLastHolder(t *testing.T) {
	at := metav1.NewTime(testEpoch)
	remembered := &Party{Owner: "carol"}
	for _, c := range []struct {
		name string
		r    *v1alpha3.DomainRecord
		want Party
	}{
		{"no record", nil, Party{Owner: "carol"}},
		{"a record that was never verified", owned(testHost, "alice", v1alpha3.OwnershipStatus{}), Party{Owner: "carol"}},
		{"a verified record", owned(testHost, "alice", v1alpha3.OwnershipStatus{Verified: true, Owner: "alice", VerifiedTime: &at}), Party{Owner: "alice"}},
		{"one that changed hands while verified", owned(testHost, "bob", v1alpha3.OwnershipStatus{Verified: true, Owner: "alice", VerifiedTime: &at}), Party{Owner: "bob"}},
		{"one that changed hands after it fell", owned(testHost, "bob", v1alpha3.OwnershipStatus{Owner: "alice", VerifiedTime: &at}), Party{Owner: "alice"}},
	} {
		if got := LastHolder(c.r, remembered); *got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
	if got := LastHolder(nil, nil); got != nil {
		t.Errorf("nobody: %+v", got)
	}
}

func TestReplaces(t *testing.T) {
	at := metav1.NewTime(testEpoch)
	next := owned(testHost, "bob", v1alpha3.OwnershipStatus{})
	for _, c := range []struct {
		name string
		live *v1alpha3.DomainRecord
		want Replacement
	}{
		{"unverified, of another owner", owned(testHost, "alice", v1alpha3.OwnershipStatus{}), MayReplace},
		{"unverified, without an owner", owned(testHost, "", v1alpha3.OwnershipStatus{}), MayReplace},
		{"detached, of another owner", owned(testHost, "alice", v1alpha3.OwnershipStatus{VerifiedTime: &at, Owner: "alice"}), MayReplace},
		{"verified, of another owner", owned(testHost, "alice", v1alpha3.OwnershipStatus{Verified: true, VerifiedTime: &at}), ReplacesVerified},
		{"unverified, of the same owner", owned(testHost, "bob", v1alpha3.OwnershipStatus{}), ReplacesOwn},
	} {
		if got := Replaces(next, c.live); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// What a client writes into a status is shown until the next look and believed
// by nobody.
func TestAForgedStatusOpensNothing(t *testing.T) {
	forge := func(w *world, now time.Time) {
		future := metav1.NewTime(now.Add(1000 * time.Hour))
		known := w.r.Status.Ownership
		var proven world
		proven.r = newRecord(testHost, w.r.WantsTLS())
		s := Evaluate(Input{Record: proven.r, Settings: w.settings, Now: now, Observations: Observations{
			Traffic: right(proven.r, v1alpha3.PurposeTraffic, ""), ACMEChallenge: right(proven.r, v1alpha3.PurposeACMEChallenge, ""),
			Ownership: right(proven.r, v1alpha3.PurposeOwnership, ""), Certificate: certificateUntil(future.Time),
			Target: TargetObservation{Found: true, Healthy: true},
		}}).Status
		for i := range s.Conditions {
			s.Conditions[i].LastTransitionTime = future
		}
		for i := range s.DNSRecords {
			s.DNSRecords[i].LastTransitionTime = &future
		}
		w.r.Status = s
		w.r.Status.Ownership = known.DeepCopy()
		w.r.Status.Ownership.Overwritten = true
	}
	untold := Observations{Traffic: unknown, ACMEChallenge: unknown, Ownership: unknown, Target: TargetObservation{Unknown: true}}
	for _, tls := range []bool{false, true} {
		w := newWorld(t, testHost, tls)
		w.look()
		forge(w, w.now)
		seen := w.obs
		w.obs = untold
		for range 3 {
			if v := w.look(); v.Opens || w.r.Verified() {
				t.Fatalf("tls %v: a forged status and a look that could not tell verify the record: %+v", tls, w.r.Status)
			}
			if !w.r.Status.Ownership.Overwritten {
				t.Errorf("tls %v: a look that could not tell has put it right", tls)
			}
			w.now = w.now.Add(24 * time.Hour)
		}
		w.obs = seen
		w.look()
		w.is(own, fls, v1alpha3.ReasonOwnershipNotVerified)
		w.is(ready, fls, v1alpha3.ReasonOwnershipNotVerified)
		for _, c := range w.r.Status.Conditions {
			if c.LastTransitionTime.After(w.now) {
				t.Errorf("tls %v: %s has a time in the future: %v", tls, c.Type, c.LastTransitionTime)
			}
		}
		if w.r.Status.Ownership.Overwritten {
			t.Errorf("tls %v: a look that could tell has not put it right", tls)
		}
	}

	// A forged time delays no detachment, and a forged False ends no service.
	w := newWorld(t, testHost, false)
	w.obs.Traffic = right(w.r, v1alpha3.PurposeTraffic, "")
	w.look()
	w.r.Status.Conditions[0].Status, w.r.Status.Conditions[0].Reason = fls, v1alpha3.ReasonProofWithdrawn
	w.look()
	w.is(own, tru, v1alpha3.ReasonCNAMEConfigured)
	w.obs.Traffic = absent
	w.look()
	forge(w, w.now)
	w.now = w.now.Add(10 * time.Minute)
	w.look()
	if w.r.Verified() {
		t.Error("a forged time keeps a record verified")
	}
}

func TestTheTokenFormAlwaysCounts(t *testing.T) {
	w := newWorld(t, testHost, false)
	token := v1alpha3.VerifyToken(w.r.UID)
	w.obs.Ownership = right(w.r, v1alpha3.PurposeOwnership, token)
	w.look()
	w.is(own, tru, v1alpha3.ReasonApoxyChallengeConfigured)
	d := w.r.Status.DNSRecord(v1alpha3.PurposeOwnership)
	if want := v1alpha3.TokenVerifyName(token, testSettings.Zone.Name); d.Value != want || d.Required || !d.Configured {
		t.Errorf("%+v, want the token's form that was seen, not required", d)
	}
	w.obs.Ownership = unknown
	w.look()
	w.is(own, tru, v1alpha3.ReasonApoxyChallengeConfigured)
}

func TestProofTokenAsksEveryUnverifiedRecord(t *testing.T) {
	w := newWorld(t, testHost, false)
	w.settings.ProofToken = true
	w.obs.Traffic = right(w.r, v1alpha3.PurposeTraffic, "")
	w.obs.Ownership = right(w.r, v1alpha3.PurposeOwnership, "")
	w.look()
	w.is(own, fls, v1alpha3.ReasonOwnershipNotVerified)
	if d := w.r.Status.DNSRecord(v1alpha3.PurposeOwnership); !d.Required {
		t.Errorf("no token is asked for: %+v", d)
	}
	w.obs.Ownership = right(w.r, v1alpha3.PurposeOwnership, v1alpha3.VerifyToken(w.r.UID))
	w.look()
	w.is(own, tru, v1alpha3.ReasonApoxyChallengeConfigured)

	// The option takes nothing from those who were verified before it.
	w = newWorld(t, testHost, false)
	w.obs.Traffic = right(w.r, v1alpha3.PurposeTraffic, "")
	w.look()
	w.settings.ProofToken = true
	for range 3 {
		w.now = w.now.Add(time.Hour)
		w.look()
		w.is(own, tru, v1alpha3.ReasonCNAMEConfigured)
	}
}

func TestExpires(t *testing.T) {
	s := testSettings
	r := newRecord(testHost, false)
	if at := Expires(r, s); !at.IsZero() {
		t.Errorf("without a limit it expires at %v", at)
	}
	s.UnprovenTTL = time.Hour
	if at := Expires(r, s); !at.Equal(testEpoch.Add(time.Hour)) {
		t.Errorf("it expires at %v", at)
	}
	r.Status = Initial(r, Contest{}, s, testEpoch)
	if at := NextLook(r, Activity{}, Settings{UnprovenTTL: 10 * time.Second, Zone: s.Zone}, testEpoch, 0); !at.Equal(testEpoch.Add(10 * time.Second)) {
		t.Errorf("it is looked at %v", at)
	}
	known := v1alpha3.OwnershipStatus{VerifiedTime: &r.CreationTimestamp}
	r.Status.Ownership = &known
	if at := Expires(r, s); !at.IsZero() {
		t.Errorf("one that was verified once expires at %v", at)
	}
}
