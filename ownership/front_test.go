package ownership

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// A customer may have something in front on purpose. Nothing is missing once
// ownership and certificate do without the main record.
func TestFrontsOnPurpose(t *testing.T) {
	const (
		missing = "nothing is missing"
		stay    = "To stay behind it, the customer creates "
		perhaps = "Where that is a proxy or load balancer of the customer's"
	)
	behind := func(chain string, a ...string) DNSObservation {
		o := DNSObservation{Outcome: Seen, Addresses: addrs(a...)}
		if chain != "" {
			o.Chain = []string{chain}
		}
		return o
	}
	for _, c := range []struct {
		name           string
		tls, delegated bool
		challenged     bool
		certified      bool
		token          string
		o              DNSObservation
		reason         string
		says           []string
		silent         []string
		tlsReady       []string
	}{
		{name: "a CDN without the delegation", tls: true, o: behind("", "104.16.1.1"), reason: ProblemProxiedByCDN,
			says: []string{stay + testDelegation}, silent: []string{missing},
			tlsReady: []string{"behind Cloudflare", stay + testDelegation}},
		{name: "a CDN with the delegation", tls: true, delegated: true, o: behind("", "104.16.1.1"), reason: ProblemProxiedByCDN,
			says: []string{missing, "Cloudflare", "203.0.113.10", "OwnershipVerified and TLSReady"}, silent: []string{stay}},
		{name: "a CDN by name", tls: true, delegated: true, certified: true, o: behind("d111.cloudfront.net.", "192.0.2.1"), reason: ProblemProxiedByCDN,
			says: []string{missing, "CloudFront"}},
		{name: "a CDN behind another name", tls: true, delegated: true, certified: true, o: behind("lb.example.com.", "104.16.1.1"), reason: ProblemOldTarget,
			says: []string{missing, "Cloudflare"}, silent: []string{"earlier provider"}},
		{name: "a CDN, without TLS", o: behind("", "104.16.1.1"), reason: ProblemProxiedByCDN,
			says: []string{stay + testChallenge}, silent: []string{missing}},
		{name: "a CDN, without TLS, proven", challenged: true, o: behind("", "104.16.1.1"), reason: ProblemProxiedByCDN,
			says: []string{missing, "Wait for OwnershipVerified,"}},
		{name: "a CDN, contested", tls: true, token: "t", o: behind("", "104.16.1.1"), reason: ProblemProxiedByCDN,
			says: []string{stay + "_apoxy-challenge.api.example.com. CNAME "}, silent: []string{missing}},
		{name: "a load balancer", tls: true, delegated: true, certified: true, o: behind("", "192.0.2.1"), reason: ProblemAddressInsteadOfCNAME,
			says: []string{perhaps, missing, "192.0.2.1", "earlier provider's"}},
		{name: "a load balancer by name", tls: true, delegated: true, certified: true, o: behind("lb.example.com.", "192.0.2.1"), reason: ProblemOldTarget,
			says: []string{perhaps, missing, "lb.example.com."}},
		{name: "what is there before anything is proven", tls: true, delegated: true, o: behind("", "192.0.2.1"), reason: ProblemAddressInsteadOfCNAME,
			silent: []string{perhaps, missing}},
		{name: "nor without the delegation", tls: true, certified: true, o: behind("", "192.0.2.1"), reason: ProblemAddressInsteadOfCNAME,
			silent: []string{perhaps, missing}},
		{name: "a CNAME to nothing", tls: true, delegated: true, certified: true,
			o: DNSObservation{Outcome: Seen, Chain: []string{"gone.example.org."}, Dangling: true}, reason: ProblemOldTarget, silent: []string{perhaps, missing}},
		{name: "a misspelt CNAME", tls: true, delegated: true, certified: true, o: cname("api.example.com.cname.exmaple.net."),
			reason: ProblemMisspelt, silent: []string{perhaps, missing}},
		{name: "a stray address", tls: true, delegated: true, certified: true, o: behind("", "203.0.113.10", "192.0.2.1"),
			reason: ProblemStrayAddress, silent: []string{perhaps, missing}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, testHost, c.tls)
			w.token, w.obs.Traffic = c.token, c.o
			if c.delegated {
				w.obs.ACMEChallenge = right(w.r, v1alpha3.PurposeACMEChallenge, "")
			}
			if c.challenged {
				w.obs.Ownership = right(w.r, v1alpha3.PurposeOwnership, "")
			}
			if c.certified {
				w.obs.Certificate = certificateUntil(testEpoch.Add(time.Hour))
			}
			w.look()
			w.problem(c.reason)
			w.is(cnamc, fls, v1alpha3.ReasonCNAMEMismatch)
			for kind, says := range map[string][]string{cnamc: append(c.says, testMain), v1alpha3.ConditionTLSReady: c.tlsReady} {
				if len(says) > 0 {
					w.says(kind, says, c.silent)
				}
			}
			if got := w.r.Status.Condition(v1alpha3.ConditionReady); got.Status != metav1.ConditionFalse {
				t.Errorf("Ready: %+v", got)
			}
		})
	}
}

// says checks what a condition's message has and has not.
func (w *world) says(kind string, says, silent []string) {
	w.t.Helper()
	m := w.r.Status.Condition(kind).Message
	for _, s := range says {
		if !strings.Contains(m, s) {
			w.t.Errorf("%s does not say %q: %q", kind, s, m)
		}
	}
	for _, s := range silent {
		if strings.Contains(m, s) {
			w.t.Errorf("%s says %q: %q", kind, s, m)
		}
	}
}
