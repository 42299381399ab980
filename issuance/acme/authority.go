package acme

import (
	"crypto/x509"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
	acmez "github.com/mholt/acmez/v3/acme"
)

// Authority is one configured certificate authority, with everything that an
// issuer line says about it.
type Authority struct {
	// Directory is the URL of the ACME directory. Default: Let's Encrypt.
	Directory string
	// Email identifies the account in storage and is its contact. Empty: the
	// account that was used last with this CA, or one without a contact.
	Email string
	// AccountKeyPEM is the key of an account that exists at the CA already.
	AccountKeyPEM string
	// ExternalAccount binds a new account to one outside ACME (RFC 8555
	// section 7.3.4).
	ExternalAccount *acmez.EAB
	// Profile is asked for with every order. Default: the CA's choice.
	Profile string
	// Lifetime is asked for with every order. Default: the CA's choice.
	Lifetime time.Duration
	// Timeout bounds each wait for the CA to validate or to sign. Default: 5m.
	Timeout time.Duration
	// PreferredChains chooses among alternate chains.
	PreferredChains certmagic.ChainPreference
	// TrustedRoots are accepted for the CA's own endpoint. Default: the system's.
	TrustedRoots *x509.CertPool
	// Proxy is used for requests to the CA. Default: from the environment.
	Proxy func(*http.Request) (*url.URL, error)
	// DisableHTTP01 and DisableTLSALPN01 rule challenges out.
	DisableHTTP01, DisableTLSALPN01 bool
	// Budget bounds new orders. Default: what the CA is known to allow,
	// without bound for an unknown CA.
	Budget Budget
}

// Key is the name under which certmagic keeps everything of this CA in storage.
func (a Authority) Key() string {
	return (&certmagic.ACMEIssuer{CA: a.directory()}).IssuerKey()
}

func (a Authority) directory() string {
	if a.Directory == "" {
		return certmagic.LetsEncryptProductionCA
	}
	if !strings.Contains(a.Directory, "://") {
		return "https://" + a.Directory
	}
	return a.Directory
}

func (a Authority) Host() string {
	u, err := url.Parse(a.directory())
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// OrderBudget is the configured budget or what is known of the CA.
func (a Authority) OrderBudget() Budget {
	if a.Budget.Orders > 0 {
		return a.Budget
	}
	return knownBudgets[a.Host()]
}

// Named reports whether spec.tls.certificateAuthority means this CA: by a
// common name such as "letsencrypt", by the directory's URL, its host, or the
// key that storage uses. The empty name means any.
func (a Authority) Named(name string) bool {
	return name == "" || slices.Contains(a.Names(), strings.ToLower(name))
}

// Names are all those of Named, lower case.
func (a Authority) Names() []string {
	names := []string{strings.ToLower(a.Key()), strings.ToLower(a.directory()), strings.ToLower(a.Host())}
	for name, host := range knownNames {
		if host == a.Host() {
			names = append(names, name)
		}
	}
	return names
}

// Methods are the challenge types that are not ruled out, best first.
func (a Authority) Methods() []string {
	methods := []string{acmez.ChallengeTypeDNS01}
	if !a.DisableHTTP01 {
		methods = append(methods, acmez.ChallengeTypeHTTP01)
	}
	if !a.DisableTLSALPN01 {
		methods = append(methods, acmez.ChallengeTypeTLSALPN01)
	}
	return methods
}

// identities are the CAA issuer domain names of CAs whose directory does not
// tell them.
func (a Authority) identities() []string { return knownIdentities[a.Host()] }

const (
	hostLetsEncrypt = "acme-v02.api.letsencrypt.org"
	hostLEStaging   = "acme-staging-v02.api.letsencrypt.org"
	hostZeroSSL     = "acme.zerossl.com"
	hostGoogle      = "dv.acme-v02.api.pki.goog"
	hostSSLCom      = "acme.ssl.com"
)

var (
	knownNames = map[string]string{
		"letsencrypt":         hostLetsEncrypt,
		"letsencrypt-staging": hostLEStaging,
		"zerossl":             hostZeroSSL,
		"google":              hostGoogle,
		"sslcom":              hostSSLCom,
	}
	// https://letsencrypt.org/docs/rate-limits/: 300 new orders per account
	// every 3 hours; staging allows 1,500. A hundredth is left, because an order
	// may reach the CA sooner after the last than it was counted here.
	knownBudgets = map[string]Budget{
		hostLetsEncrypt: {Orders: 297, Per: 3 * time.Hour},
		hostLEStaging:   {Orders: 1485, Per: 3 * time.Hour},
	}
	knownIdentities = map[string][]string{
		hostLetsEncrypt: {"letsencrypt.org"},
		hostLEStaging:   {"letsencrypt.org"},
		hostZeroSSL:     {"sectigo.com"},
		hostGoogle:      {"pki.goog"},
		hostSSLCom:      {"ssl.com"},
	}
)
