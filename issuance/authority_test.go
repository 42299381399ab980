package issuance

import (
	"crypto/elliptic"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	acmez "github.com/mholt/acmez/v3/acme"

	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
)

// What an issuer line and the policy ask for is what the CA is asked for.
func TestWhatAnIssuerLineSaysReachesTheCA(t *testing.T) {
	w := newWorld(t)
	w.magic.MustStaple = true
	w.magic.KeySource = certmagic.StandardKeyGenerator{KeyType: certmagic.P384}
	w.is.Set(w.magic.Issuers[0], acme.Authority{
		Directory: w.ca.Directory(), Email: "ops@example.net", Profile: "shortlived", Lifetime: 48 * time.Hour,
		ExternalAccount: &acmez.EAB{KeyID: "kid-1", MACKey: base64.RawURLEncoding.EncodeToString([]byte("a key of the CA's"))},
	}, w.magic, nil)
	w.dns.delegate("api.example.com")
	w.s.Want(Want{Hostname: "api.example.com", UID: "u1", DNS01: true})
	w.until("api.example.com", "certified", seen)

	o := w.ca.Order(0)
	if o.Profile != "shortlived" || o.NotAfter == nil || time.Until(*o.NotAfter) > 48*time.Hour || time.Until(*o.NotAfter) < 47*time.Hour {
		t.Errorf("ordered was profile %q until %v", o.Profile, o.NotAfter)
	}
	if pub, ok := o.CSR.PublicKey.(interface{ Params() *elliptic.CurveParams }); !ok || pub.Params().Name != "P-384" {
		t.Errorf("the key is a %T", o.CSR.PublicKey)
	}
	if !slices.ContainsFunc(o.CSR.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(mustStaple.Id) }) {
		t.Error("OCSP must-staple was not asked for")
	}
	var jws struct{ Protected string }
	if err := json.Unmarshal(w.ca.Bound, &jws); err != nil {
		t.Fatalf("the account was bound to %q: %v", w.ca.Bound, err)
	}
	if head, _ := base64.RawURLEncoding.DecodeString(jws.Protected); !strings.Contains(string(head), `"kid-1"`) {
		t.Errorf("the account was bound by %s", head)
	}
}
