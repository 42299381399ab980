package ownership

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// randomDNS is any observation of one name, right ones among them.
func randomDNS(rng *rand.Rand, r *v1alpha3.DomainRecord, p v1alpha3.DNSPurpose, token string) DNSObservation {
	switch rng.IntN(9) {
	case 0, 1:
		return right(r, p, token)
	case 2:
		return absent
	case 3:
		return DNSObservation{Outcome: Absent, Elsewhere: []string{"api.example.com.example.com."}}
	case 4:
		return cname([]string{"old.example.org.", "shop.example.com.cname.example.net.", "api.example.cname.example.net."}[rng.IntN(3)])
	case 5:
		return DNSObservation{Outcome: Seen, Addresses: addrs([]string{"203.0.113.10", "104.16.1.1", "192.0.2.1"}[rng.IntN(3)])}
	case 6:
		return DNSObservation{Outcome: Seen, Other: []string{`TXT "hello"`}}
	case 7:
		return DNSObservation{Problem: []ZoneProblem{ZoneLame, ZoneBogus, ZoneServFail, ZoneUnreachable, ZoneNotRegistered}[rng.IntN(5)]}
	}
	return unknown
}

func (w *world) randomize(rng *rand.Rand) {
	w.obs.Traffic = randomDNS(rng, w.r, v1alpha3.PurposeTraffic, w.token)
	w.obs.ACMEChallenge = randomDNS(rng, w.r, v1alpha3.PurposeACMEChallenge, w.token)
	w.obs.Ownership = randomDNS(rng, w.r, v1alpha3.PurposeOwnership, w.token)
	w.obs.Target = TargetObservation{Found: rng.IntN(4) > 0, Healthy: rng.IntN(2) > 0, Unknown: rng.IntN(4) == 0}
	w.obs.CAA = CAAObservation{Outcome: Outcome(rng.IntN(3)), Records: []CAARecord{{Tag: "issue", Value: "other.test"}}[:rng.IntN(2)]}
	w.obs.Certificate = CertificateObservation{Outcome: Outcome(rng.IntN(3)), Work: Work(rng.IntN(6)), Message: "words"}
	if w.obs.Certificate.Outcome == Seen {
		c := certificateUntil(w.now.Add(time.Duration(rng.IntN(40)-20) * time.Minute))
		c.Work = w.obs.Certificate.Work
		w.obs.Certificate = c
	}
}

// walk drives a record through random looks and calls check around each.
func walk(t *testing.T, step func(rng *rand.Rand, w *world)) {
	for seed := range uint64(300) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			host := []string{testHost, "example.com", "*.example.com"}[rng.IntN(3)]
			w := newWorld(t, host, rng.IntN(2) == 0)
			w.unchecked = seed%30 > 0 // of these there are many
			if rng.IntN(3) == 0 {
				w.token = v1alpha3.VerifyToken(w.r.UID)
			}
			for range 40 {
				w.now = w.now.Add(time.Duration(rng.IntN(600)) * time.Second)
				step(rng, w)
				if t.Failed() {
					return
				}
			}
		})
	}
}

// Also checks in every look that evaluation is idempotent and the form is kept.
func TestNoSequenceOfCouldNotTellLowersACondition(t *testing.T) {
	rank := map[metav1.ConditionStatus]int{unk: 0, fls: 0, tru: 1}
	walk(t, func(rng *rand.Rand, w *world) {
		w.randomize(rng)
		w.look()
		before := w.r.Status.DeepCopy()
		w.obs = Observations{
			Traffic: unknown, ACMEChallenge: DNSObservation{Problem: ZoneServFail}, Ownership: unknown,
			Certificate: CertificateObservation{Work: Work(rng.IntN(6))}, Target: TargetObservation{Unknown: true},
		}
		for range 1 + rng.IntN(3) {
			w.now = w.now.Add(time.Duration(rng.IntN(48)) * time.Hour)
			w.look()
			for _, c := range before.Conditions {
				now := w.r.Status.Condition(c.Type)
				if rank[now.Status] < rank[c.Status] {
					w.t.Errorf("%s fell from %+v to %+v", c.Type, c, *now)
				}
				if now.Status == c.Status && !now.LastTransitionTime.Equal(&c.LastTransitionTime) {
					w.t.Errorf("%s moved its time without its status", c.Type)
				}
			}
			for i, d := range before.DNSRecords {
				if now := w.r.Status.DNSRecords[i]; now.Configured != d.Configured || len(now.Observed) != len(d.Observed) {
					w.t.Errorf("dnsRecords changed from %+v to %+v", d, now)
				}
			}
		}
	})
}

func TestOwnershipNeverFallsUnderAnUnexpiredCertificate(t *testing.T) {
	walk(t, func(rng *rand.Rand, w *world) {
		w.randomize(rng)
		mayProve := w.token == "" && w.obs.Certificate.Outcome == Seen || w.r.Verified()
		v := w.look()
		if c := w.r.Status.Certificate; w.r.WantsTLS() && c != nil && c.NotAfter.After(w.now) && mayProve {
			if v.Falls || v.Withdrawing {
				w.t.Errorf("falls under a certificate until %v: %+v", c.NotAfter, v)
			}
			w.is(own, tru, v1alpha3.ReasonTLSCertificateIssued)
		}
	})
}

func TestOwnershipFallsOnlyAfterTheWholeWaitAndAnAffirmativeLook(t *testing.T) {
	walk(t, func(rng *rand.Rand, w *world) {
		lastProof, _ := w.r.Annotations["proof"], 0
		w.randomize(rng)
		wasVerified := isTrue(w.r, own)
		v := w.look()
		proven := isTrue(w.r, own) && !v.Withdrawing
		if w.r.Annotations == nil {
			w.r.Annotations = map[string]string{}
		}
		if proven {
			w.r.Annotations["proof"] = w.now.Format(time.RFC3339)
		}
		if wasVerified && !isTrue(w.r, own) {
			at, err := time.Parse(time.RFC3339, lastProof)
			if err != nil || w.now.Sub(at) < w.settings.DetachAfter {
				// The certificate may have expired unseen between two looks.
				if !w.r.WantsTLS() {
					w.t.Errorf("fell %v after the last proof", w.now.Sub(at))
				}
			}
			if w.obs.Ownership.Outcome == CouldNotTell {
				w.t.Errorf("fell although the challenge could not be told")
			}
			if !v.Falls || w.hold {
				w.t.Errorf("fell without saying so: %+v", v)
			}
		}
	})
}

func TestHealthNeverTouchesOwnershipTLSOrPhase(t *testing.T) {
	walk(t, func(rng *rand.Rand, w *world) {
		w.randomize(rng)
		w.look()
		for _, target := range []TargetObservation{{}, {Found: true}, {Found: true, Healthy: true}, {Unknown: true}} {
			w.obs.Target = target
			v := Evaluate(w.input())
			for _, kind := range []string{own, tlsr, cnamc, deleg} {
				a, b := w.r.Status.Condition(kind), v.Status.Condition(kind)
				if (a == nil) != (b == nil) || a != nil && *a != *b {
					w.t.Errorf("%s changed with the target: %+v, %+v", kind, a, b)
				}
			}
			if v.Status.Phase != w.r.Status.Phase && !w.last.Falls {
				w.t.Errorf("phase changed with the target")
			}
		}
	})
}
