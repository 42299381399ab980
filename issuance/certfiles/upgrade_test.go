package certfiles

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	acmez "github.com/mholt/acmez/v3/acme"

	"github.com/apoxy-dev/caddy-apoxy/internal/certtest"
)

// What this room knows of certmagic's inside, asked of certmagic itself: after an
// upgrade of it these tests say what has changed. Beside them stand
// TestStockCertmagicServesWhatIsStored (the three files),
// TestCertmagicPrefersAWildcardInMemoryToStorage (its order of look-ups) and
// TestEventsGoOnToWhoListens (the events of handshakes).

// noting is a storage that notes which locks are taken.
type noting struct {
	*certmagic.FileStorage
	mu    sync.Mutex
	locks []string
}

func (n *noting) note(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.locks = append(n.locks, name)
}

func (n *noting) Lock(ctx context.Context, name string) error {
	n.note(name)
	return n.FileStorage.Lock(ctx, name)
}

func (n *noting) TryLock(ctx context.Context, name string) (bool, error) {
	n.note(name)
	return n.FileStorage.TryLock(ctx, name)
}

// signing is an issuer that signs at once, or fails.
type signing struct{ err error }

func (signing) IssuerKey() string { return ourCA }

func (s signing) Issue(_ context.Context, csr *x509.CertificateRequest) (*certmagic.IssuedCertificate, error) {
	if s.err != nil {
		return nil, s.err
	}
	key, err := certmagic.StandardKeyGenerator{KeyType: certmagic.P256}.GenerateKey()
	if err != nil {
		return nil, err
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(7), DNSNames: csr.DNSNames, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, csr.PublicKey, key)
	return &certmagic.IssuedCertificate{Certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}, err
}

func TestCertmagicObtainsUnderTheLockThatWeTake(t *testing.T) {
	magic := certtest.Magic(t, t.TempDir())
	st := &noting{FileStorage: magic.Storage.(*certmagic.FileStorage)}
	magic.Storage, magic.Issuers = st, []certmagic.Issuer{signing{}}
	if err := magic.ObtainCertSync(t.Context(), "api.example.com"); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(st.locks, issueLock("api.example.com")) {
		t.Errorf("certmagic took %q, not %s", st.locks, issueLock("api.example.com"))
	}
}

func TestCertmagicAnswersTheChallengesThatWePut(t *testing.T) {
	magic := certtest.Magic(t, t.TempDir())
	issuer := certmagic.NewACMEIssuer(magic, certmagic.ACMEIssuer{CA: "https://ca.test/dir"})
	magic.Issuers = []certmagic.Issuer{issuer}
	c := Challenges{Storage: magic.Storage, IssuerKey: issuer.IssuerKey()}
	chal := acmez.Challenge{Type: acmez.ChallengeTypeHTTP01, Token: "token", KeyAuthorization: "token.key",
		Identifier: acmez.Identifier{Type: "dns", Value: "api.example.com"}}
	if err := c.Put(t.Context(), "api.example.com", chal); err != nil {
		t.Fatal(err)
	}
	rec := httptest.NewRecorder()
	req := httptest.NewRequest(http.MethodGet, "http://api.example.com"+chal.HTTP01ResourcePath(), nil)
	issuer.HTTPChallengeHandler(http.NotFoundHandler()).ServeHTTP(rec, req)
	if rec.Code != http.StatusOK || strings.TrimSpace(rec.Body.String()) != chal.KeyAuthorization {
		t.Errorf("it answers %d %q", rec.Code, rec.Body)
	}
}

func TestCertmagicFindsTheAccountThatWeSave(t *testing.T) {
	for _, email := range []string{"ops@example.net", ""} {
		magic := certtest.Magic(t, t.TempDir())
		issuer := certmagic.NewACMEIssuer(magic, certmagic.ACMEIssuer{CA: "https://ca.test/dir", Email: email})
		key := certtest.New(t, "x", 1, 0)
		acct := acmez.Account{Status: acmez.StatusValid, Location: "https://ca.test/account/1", PrivateKey: key.Key}
		if email != "" {
			acct.Contact = []string{"mailto:" + email}
		}
		if err := SaveAccount(t.Context(), magic.Storage, issuer.IssuerKey(), acct); err != nil {
			t.Fatal(err)
		}
		got, err := issuer.GetAccount(t.Context(), key.KeyPEM)
		if err != nil || got.Location != acct.Location {
			t.Errorf("%q: %+v, %v", email, got, err)
		}
	}
}

// The data of its events has the names that ours has.
func TestOurEventsHaveTheDataOfCertmagics(t *testing.T) {
	refused := errors.New("refused")
	for name, tt := range map[string]struct {
		fail error
		want map[string]map[string]any
	}{
		"obtained": {nil, map[string]map[string]any{
			EventObtaining: Try{Hostname: "api.example.com"}.Obtaining(false, ""),
			EventObtained:  Try{Hostname: "api.example.com"}.Obtained(ourCA, nil),
		}},
		"failed": {certmagic.ErrNoRetry{Err: refused}, map[string]map[string]any{
			EventObtaining: Try{Hostname: "api.example.com"}.Obtaining(false, ""),
			EventFailed:    Try{Hostname: "api.example.com"}.Failed([]string{ourCA}, refused),
		}},
	} {
		t.Run(name, func(t *testing.T) {
			magic := certtest.Magic(t, t.TempDir())
			magic.Issuers = []certmagic.Issuer{signing{tt.fail}}
			got := map[string]map[string]any{}
			magic.OnEvent = func(_ context.Context, event string, data map[string]any) error {
				got[event] = data
				return nil
			}
			if err := magic.ObtainCertSync(t.Context(), "api.example.com"); (err == nil) != (tt.fail == nil) {
				t.Fatal(err)
			}
			for event, data := range tt.want {
				if theirs, ours := slices.Sorted(maps.Keys(got[event])), slices.Sorted(maps.Keys(data)); !slices.Equal(theirs, ours) {
					t.Errorf("%s: certmagic tells %q, we %q", event, theirs, ours)
				}
			}
		})
	}
}

func TestCertmagicsMemoryIsReachableAndEvictsAHostname(t *testing.T) {
	w := newShelf(t, nil)
	save(t, certtest.New(t, "api.example.com", 1, time.Hour), w.st, ourCA, "api.example.com")
	cache := cacheOf(w.magic)
	if cache == nil {
		t.Fatal("certmagic.Config has changed: Evict does nothing any more")
	}
	if _, err := w.magic.CacheManagedCertificate(context.Background(), "api.example.com"); err != nil {
		t.Fatal(err)
	}
	if n := len(cache.AllMatchingCertificates("api.example.com")); n != 1 {
		t.Fatalf("%d certificates in memory", n)
	}
	Evict(w.magic, "api.example.com")
	if n := len(cache.AllMatchingCertificates("api.example.com")); n != 0 {
		t.Errorf("%d certificates stay in memory", n)
	}
}
