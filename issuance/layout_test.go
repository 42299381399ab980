package issuance

import (
	"context"
	"crypto/tls"
	"net"
	"testing"

	"github.com/caddyserver/certmagic"
	acmez "github.com/mholt/acmez/v3/acme"

	"github.com/apoxy-dev/caddy-apoxy/issuance/certfiles"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

func TestAHostnameGetsItByTLSALPN01ThroughCertmagicsOwnHandshake(t *testing.T) {
	w := newWorld(t)
	w.ca.Offer = []string{"tls-alpn-01"}
	w.ca.Validate = func(host, kind, token, keyAuth string) *acmez.Problem {
		server, client := net.Pipe()
		defer client.Close()
		go tls.Server(server, w.magic.TLSConfig()).Handshake()
		conn := tls.Client(client, &tls.Config{ServerName: host, NextProtos: []string{"acme-tls/1"}, InsecureSkipVerify: true})
		if err := conn.Handshake(); err != nil {
			return &acmez.Problem{Type: acmez.ProblemTypeTLS, Detail: err.Error()}
		}
		for _, ext := range conn.ConnectionState().PeerCertificates[0].Extensions {
			if ext.Id.String() == "1.3.6.1.5.5.7.1.31" && ext.Critical {
				return nil
			}
		}
		return &acmez.Problem{Type: acmez.ProblemTypeUnauthorized, Detail: "no acmeIdentifier"}
	}
	w.s.Want(Want{Hostname: "www.example.com", UID: "u1", HTTP01: true})
	if o := w.until("www.example.com", "certified", seen); o.Challenge != "tls-alpn-01" {
		t.Errorf("observed %+v", o)
	}
}

// The account that the scheduler registers is the one that Caddy's own ACME
// issuer finds for the same directory and address.
func TestAccountsAreSharedWithCertmagic(t *testing.T) {
	w := newWorld(t)
	w.dns.delegate("api.example.com")
	w.s.Want(Want{Hostname: "api.example.com", UID: "u1", DNS01: true})
	w.until("api.example.com", "certified", seen)
	registered := w.ca.Count("account")
	theirs := certmagic.NewACMEIssuer(w.magic, certmagic.ACMEIssuer{CA: w.ca.Directory(), Email: "ops@example.net"})
	if err := theirs.PreCheck(context.Background(), []string{"api.example.com"}, false); err != nil {
		t.Fatal(err)
	}
	st, err := certfiles.At(w.magic.Storage, theirs.IssuerKey(), "api.example.com").Load(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if st.Meta.CA != w.ca.Directory() || st.Meta.Account == "" {
		t.Errorf("metadata %+v", st.Meta)
	}
	// Their revocation goes through the same account without registering.
	err = theirs.Revoke(context.Background(), certmagic.CertificateResource{CertificatePEM: w.ca.Order(0).Chain}, 0)
	if err != nil || w.ca.Count("revoke") != 1 || w.ca.Count("account") != registered {
		t.Errorf("revoking: %v, %d registrations", err, w.ca.Count("account"))
	}
}

func TestARenewedCertificateIsServedByTheNextHandshake(t *testing.T) {
	w := newWorld(t)
	w.dns.delegate("api.example.com")
	w.s.Want(Want{Hostname: "api.example.com", UID: "u1", DNS01: true})
	before := w.until("api.example.com", "certified", seen)
	served := func() string {
		server, client := net.Pipe()
		defer client.Close()
		go tls.Server(server, w.magic.TLSConfig()).Handshake()
		conn := tls.Client(client, &tls.Config{ServerName: "api.example.com", InsecureSkipVerify: true})
		if err := conn.Handshake(); err != nil {
			t.Fatal(err)
		}
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.Text(16)
	}
	if got := served(); got != before.SerialNumber {
		t.Fatalf("serves %s, not %s", got, before.SerialNumber)
	}
	w.s.entries.mu.Lock() // its time has come
	e := w.s.entries.of.get("api.example.com")
	r := e.dossier()
	r.Renewal = 1
	e.set(e.want(), r)
	w.s.entries.place(e)
	w.s.entries.mu.Unlock()
	w.s.entries.poke()
	after := w.until("api.example.com", "renewed", func(o ownership.CertificateObservation) bool {
		return o.SerialNumber != before.SerialNumber && o.Work == ownership.WorkNone
	})
	if got := served(); got != after.SerialNumber {
		t.Errorf("serves %s, not %s", got, after.SerialNumber)
	}
	if w.ca.Placed() != 2 {
		t.Errorf("%d orders", w.ca.Placed())
	}
}
