package ownership

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// What is decided follows from values: other words in the status, such as those of an
// earlier version, make no difference to anything but words.
func TestNoDecisionReadsMessages(t *testing.T) {
	noWords := cmp.Options{
		cmpopts.IgnoreFields(metav1.Condition{}, "Message"),
		cmpopts.IgnoreFields(v1alpha3.DNSProblem{}, "Message"),
	}
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 2))
		w := newWorld(t, testHost, rng.IntN(4) > 0)
		w.unchecked = true
		for range 20 {
			w.now = w.now.Add(time.Duration(rng.IntN([]int{3, 900}[rng.IntN(2)])) * time.Second)
			w.randomize(rng)
			if rng.IntN(2) == 0 { // the certificate's absence is what makes it wait
				w.obs.Certificate = CertificateObservation{Outcome: Absent}
			}
			in := w.input()
			said := Evaluate(in)
			in.Record = in.Record.DeepCopy()
			for i := range in.Record.Status.Conditions {
				in.Record.Status.Conditions[i].Message = "Other words."
			}
			for _, d := range in.Record.Status.DNSRecords {
				if d.Problem != nil {
					d.Problem.Message = "Other words."
				}
			}
			if diff := cmp.Diff(said, Evaluate(in), noWords); diff != "" {
				t.Fatalf("other words in the status change what is decided:\n%s", diff)
			}
			w.look()
		}
	}
}

// A client's words in the status of a record take nothing away from what a
// condition's message promises, which look checks.
func TestMessagesHoldTheRecordBesideAClientsWords(t *testing.T) {
	w := newWorld(t, testHost, true)
	w.look()
	for i := range w.r.Status.DNSRecords {
		w.r.Status.DNSRecords[i].Problem = &v1alpha3.DNSProblem{Reason: ProblemMisspelt, Message: "Mine."}
	}
	w.r.Status.Ownership.Overwritten = true
	w.obs.Traffic, w.obs.ACMEChallenge, w.obs.Ownership = unknown, unknown, unknown
	w.look()
}
