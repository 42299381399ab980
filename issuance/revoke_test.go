package issuance

import (
	"context"
	"errors"
	"testing"

	acmez "github.com/mholt/acmez/v3/acme"

	"github.com/apoxy-dev/caddy-apoxy/internal/acmetest"
	"github.com/apoxy-dev/caddy-apoxy/issuance/certfiles"
	"github.com/apoxy-dev/caddy-apoxy/issuance/revocation"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

func TestARevokedCertificateIsGoneAndReplaced(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	if err := w.s.Revoke(ctx, "api.example.com", acmez.ReasonKeyCompromise); !errors.Is(err, ErrNoCertificate) {
		t.Errorf("without one: %v", err)
	}
	w.dns.delegate("api.example.com")
	w.s.Want(Want{Hostname: "api.example.com", UID: "u1", DNS01: true})
	before := w.until("api.example.com", "certified", seen)
	if _, err := w.magic.CacheManagedCertificate(ctx, "api.example.com"); err != nil {
		t.Fatal(err)
	}
	if err := w.s.Revoke(ctx, "api.example.com", acmez.ReasonKeyCompromise); err != nil {
		t.Fatal(err)
	}
	if certfiles.InMemory(w.magic, "api.example.com") {
		t.Error("it stays in memory")
	}
	w.until("api.example.com", "replaced", func(o ownership.CertificateObservation) bool {
		return seen(o) && o.SerialNumber != before.SerialNumber
	})
	if w.ca.Count("revoke") != 1 {
		t.Errorf("%d revocations", w.ca.Count("revoke"))
	}
}

func TestARefusedRevocationLeavesEverythingInPlace(t *testing.T) {
	w := newWorld(t)
	w.dns.delegate("api.example.com")
	w.s.Want(Want{Hostname: "api.example.com", UID: "u1", DNS01: true})
	before := w.until("api.example.com", "certified", seen)
	w.ca.Mu.Lock()
	w.ca.Inject = func(path string) *acmetest.Answer {
		if path == "revoke" {
			return &acmetest.Answer{Status: 403, Problem: acmez.Problem{Type: acmez.ProblemTypeUnauthorized, Detail: "not yours"}}
		}
		return nil
	}
	w.ca.Mu.Unlock()
	if err := w.s.Revoke(context.Background(), "api.example.com", 0); err == nil {
		t.Error("no error")
	}
	if o := w.s.Observe("api.example.com"); o != before {
		t.Errorf("observed %+v", o)
	}
}

func TestRevocationReasons(t *testing.T) {
	if code, err := revocation.Reason("keyCompromise"); code != 1 || err != nil {
		t.Errorf("keyCompromise: %d, %v", code, err)
	}
	if _, err := revocation.Reason("boredom"); err == nil {
		t.Error("boredom is taken")
	}
}
