package issuance

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// Every class of failure says who must act, or when it is tried again, whole, in the
// status, however long a CA's words are; and that nobody needs to only where it is so.
func TestEveryClassSaysWhoActs(t *testing.T) {
	said := "the certificate authority says: " + strings.Repeat("nonsense. ", 60)
	for class, c := range map[acme.Class]struct {
		again bool // by itself
		ends  string
	}{
		acme.ClassPassing:  {true, "nobody needs to do anything before."},
		acme.ClassCustomer: {true, mends[acme.ClassCustomer] + "."},
		acme.ClassDNS:      {true, mends[acme.ClassDNS] + "."},
		acme.ClassEdge:     {true, mends[acme.ClassEdge] + "."},
		acme.ClassOperator: {true, mends[acme.ClassOperator] + "."},
		acme.ClassCAA:      {true, "adds at api.example.com"},
		acme.ClassLimited:  {true, "nobody needs to do anything before."},
		acme.ClassRefused:  {false, mends[acme.ClassRefused] + "."},
	} {
		s := New(Config{})
		s.entries.loaded = true
		e := s.entries.add("api.example.com")
		e.wanted, e.looked = true, true
		tr := &trouble{Class: class, Message: said, UID: "u1"}
		if c.again {
			tr.Until = s.now().Add(time.Hour).Unix()
		}
		e.set(Want{UID: "u1", DNS01: true}, dossier{Trouble: tr})
		o := s.Observe("api.example.com")
		r := &v1alpha3.DomainRecord{}
		r.Name, r.UID, r.Spec.Name, r.Spec.TLS = "api.example.com", "u1", "api.example.com", &v1alpha3.DomainRecordTLS{}
		settings := ownership.Settings{Zone: ownership.Zone{Name: "cname.example.net"}, Issuers: []ownership.Issuer{{Identities: []string{"ca.test"}, Methods: []string{"dns-01"}}}}
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		r.Status = ownership.Initial(r, ownership.Contest{}, settings, now)
		status := ownership.Evaluate(ownership.Input{Record: r, Settings: settings, Now: now.Add(time.Hour), Observations: ownership.Observations{
			Certificate: o, ACMEChallenge: ownership.DNSObservation{Outcome: ownership.Seen, Chain: []string{"_acme-challenge.api.example.com.cname.example.net."}},
			Target: ownership.TargetObservation{Found: true, Healthy: true}}}).Status
		m := status.Condition(v1alpha3.ConditionTLSReady)
		if m.Status != metav1.ConditionFalse || !strings.HasSuffix(m.Message, c.ends) && !(class == acme.ClassCAA && strings.Contains(m.Message, "ca.test")) {
			t.Errorf("%s ends otherwise than with %q: %s", class, c.ends, m.Message)
		}
		if !strings.Contains(c.ends, "nobody") && strings.Contains(strings.ToLower(m.Message), "nobody needs") {
			t.Errorf("%s says that nobody needs to act: %s", class, m.Message)
		}
	}
}
