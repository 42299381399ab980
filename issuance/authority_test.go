package issuance

import (
	"crypto/elliptic"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	acmez "github.com/mholt/acmez/v3/acme"
)

// What an issuer line and the policy ask for is what the CA is asked for.
func TestWhatAnIssuerLineSaysReachesTheCA(t *testing.T) {
	w := newWorld(t)
	w.magic.MustStaple = true
	w.magic.KeySource = certmagic.StandardKeyGenerator{KeyType: certmagic.P384}
	w.is.Set(w.magic.Issuers[0], Authority{
		Directory: w.ca.directory(), Email: "ops@example.net", Profile: "shortlived", Lifetime: 48 * time.Hour,
		ExternalAccount: &acmez.EAB{KeyID: "kid-1", MACKey: base64.RawURLEncoding.EncodeToString([]byte("a key of the CA's"))},
	}, w.magic, nil)
	w.dns.delegate("api.example.com")
	w.s.Want(Want{Hostname: "api.example.com", UID: "u1", DNS01: true})
	w.until("api.example.com", "certified", seen)

	o := w.ca.order(0)
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
	if err := json.Unmarshal(w.ca.bound, &jws); err != nil {
		t.Fatalf("the account was bound to %q: %v", w.ca.bound, err)
	}
	if head, _ := base64.RawURLEncoding.DecodeString(jws.Protected); !strings.Contains(string(head), `"kid-1"`) {
		t.Errorf("the account was bound by %s", head)
	}
}

// chainOf is a chain by the names of its issuers, from the leaf up.
func chainOf(t *testing.T, issuers ...string) acmez.Certificate {
	t.Helper()
	var out acmez.Certificate
	for _, name := range issuers {
		ca := newTestCA(t)
		ca.crt.Subject.CommonName, ca.crt.RawSubject = name, nil
		block, _ := pem.Decode(ca.sign("a.example.com", &ca.key.PublicKey))
		out.ChainPEM = append(out.ChainPEM, pem.EncodeToMemory(block)...)
	}
	return out
}

func TestTheChainIsChosenAsPreferred(t *testing.T) {
	long, short := chainOf(t, "R1", "X1", "Old Root"), chainOf(t, "R1", "New Root")
	yes, no := true, false
	for name, tt := range map[string]struct {
		prefer certmagic.ChainPreference
		want   acmez.Certificate
	}{
		"the CA's first by default":           {certmagic.ChainPreference{}, long},
		"the smallest":                        {certmagic.ChainPreference{Smallest: &yes}, short},
		"the largest":                         {certmagic.ChainPreference{Smallest: &no}, long},
		"by the root":                         {certmagic.ChainPreference{RootCommonName: []string{"Nobody", "New Root"}}, short},
		"by any in it":                        {certmagic.ChainPreference{AnyCommonName: []string{"X1"}}, long},
		"a name in the middle is none's root": {certmagic.ChainPreference{RootCommonName: []string{"X1"}}, long},
	} {
		t.Run(name, func(t *testing.T) {
			if got := choose([]acmez.Certificate{long, short}, tt.prefer); string(got.ChainPEM) != string(tt.want.ChainPEM) {
				t.Error("another chain was chosen")
			}
		})
	}
}
