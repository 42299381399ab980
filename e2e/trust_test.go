package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// A name server that answers nobody says nothing about the customer: the
// conditions hold, however long it takes.
func TestOutageOfTheCustomersNameServerChangesNothing(t *testing.T) {
	n := network(t)
	set := settings{detachAfter: 2 * time.Second}
	p := start(t, n, set)
	server := spareProvider(t)
	customer := &domain{name: "outage.com", server: server}
	if err := n.Delegate(customer.name, server); err != nil {
		t.Fatal(err)
	}
	plain, secure := "plain."+customer.name, "secure."+customer.name
	traffic := p.create(t, plain, false).line(t, "Traffic")
	delegation := p.create(t, secure, true).line(t, "ACMEChallenge")
	customer.set(t, traffic, delegation)
	steady := map[string]func(record) error{
		plain:  is("phase=Active", "OwnershipVerified=True/CNAMEConfigured", "CNAMEConfigured=True/CNAMEConfigured"),
		secure: is("phase=Active", "OwnershipVerified=True", "TLSReady=True", "ACMEChallengeDelegationReady=True"),
	}
	for host, holds := range steady {
		p.await(t, host, 30*time.Second, "the proof", holds)
	}

	for _, outage := range []struct {
		name       string
		begin, end func() error
	}{
		{"refused at once", server.Stop, server.Start},
		{"no answer at all", server.Silence, server.Speak},
	} {
		t.Run(outage.name, func(t *testing.T) {
			if err := outage.begin(); err != nil {
				t.Fatal(err)
			}
			down := time.Now()
			looks := 0
			for time.Since(down) < 4*set.detachAfter {
				for host, holds := range steady {
					if err := holds(p.check(t, host)); err != nil {
						t.Fatalf("%v after the name server stopped: %v", time.Since(down).Round(time.Second), err)
					}
					looks++
				}
			}
			t.Logf("the conditions held through %d looks in %v of outage (detach_after %v)", looks, time.Since(down).Round(time.Second), set.detachAfter)
			if status, body, err := p.plain(t.Context(), plain); err != nil || status != http.StatusOK || body != ours {
				t.Errorf("during the outage the host is answered %d %q, %v, want 200", status, body, err)
			}
			r := p.await(t, plain, 20*time.Second, "the message about the outage", func(r record) error {
				if c := r.condition("CNAMEConfigured"); !strings.Contains(c.Message, testnet.SpareAddr) {
					return errorf("the message does not name the server that does not answer: %s", c.Message)
				}
				return nil
			})
			t.Log(r.condition("CNAMEConfigured").Message)

			if err := outage.end(); err != nil {
				t.Fatal(err)
			}
			for host, holds := range steady {
				r := p.await(t, host, 30*time.Second, "the state after the outage", func(r record) error {
					if strings.Contains(r.condition("CNAMEConfigured").Message, testnet.SpareAddr) {
						return errorf("the message still tells of the outage")
					}
					return holds(r)
				})
				t.Log(r.condition("CNAMEConfigured").Message)
			}
		})
	}
}

// A proof that is affirmatively gone for detach_after detaches the record,
// unless an unexpired certificate still stands for it.
func TestWithdrawnProofDetaches(t *testing.T) {
	n := network(t)
	set := settings{detachAfter: 3 * time.Second, checkInterval: time.Second}
	p := start(t, n, set)
	customer := customer(t, n, "withdrawal")
	plain, secure := "plain."+customer.name, "secure."+customer.name
	traffic := p.create(t, plain, false).line(t, "Traffic")
	delegation := p.create(t, secure, true).line(t, "ACMEChallenge")
	customer.set(t, traffic, delegation)
	p.await(t, plain, 30*time.Second, "the proof", is("phase=Active", "OwnershipVerified=True"))
	p.await(t, secure, 30*time.Second, "the certificate", is("phase=Active", "TLSReady=True"))

	customer.set(t)
	gone := time.Now()
	for name, holds := range map[string]func(record) error{
		plain:  is("CNAMEConfigured=False/CNAMENotConfigured"),
		secure: is("ACMEChallengeDelegationReady=False/ACMEChallengeDelegationNotConfigured"),
	} {
		eventually(t, 20*time.Second, "the missing record to be seen", func() error { return holds(p.check(t, name)) })
	}
	eventually(t, 30*time.Second, "the record to be detached", func() error {
		return is("phase=Detached", "OwnershipVerified=False/ProofWithdrawn", "Ready=False")(p.check(t, plain))
	})
	took := time.Since(gone)
	t.Logf("records removed -> Detached: %v (detach_after %v)", took.Round(time.Millisecond), set.detachAfter)
	if took < set.detachAfter {
		t.Errorf("the record was detached %v after its proof went, before detach_after %v", took, set.detachAfter)
	}
	if status, _, err := p.plain(t.Context(), plain); err != nil || status != http.StatusMisdirectedRequest {
		t.Errorf("a detached host is answered %d, %v, want 421", status, err)
	}
	if err := is("phase=Active", "OwnershipVerified=True/TLSCertificateIssued", "TLSReady=True")(p.check(t, secure)); err != nil {
		t.Errorf("an unexpired certificate does not keep ownership: %v", err)
	}

	customer.set(t, traffic, delegation)
	p.await(t, plain, 30*time.Second, "the proof to be back", is("phase=Active", "OwnershipVerified=True"))
}
