package acme

import (
	"cmp"
	"crypto/x509"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
	acmez "github.com/mholt/acmez/v3/acme"
)

// Authority is a certificate authority as an issuer line of the configuration
// describes it.
type Authority struct {
	// Directory is the URL of the ACME directory. Default: Let's Encrypt.
	Directory string
	// Email is the contact of the account, which is stored under it. Default: that of
	// the account that was stored last for this CA, or none.
	Email string
	// AccountKeyPEM is the private key of an account that exists at the CA already.
	// Default: an account is registered.
	AccountKeyPEM string
	// ExternalAccount binds a new account to one outside ACME (RFC 8555
	// section 7.3.4). Default: none, but at ZeroSSL one that is made for Email.
	ExternalAccount *acmez.EAB
	// Profile is the certificate profile to ask for. Default: the CA's choice.
	Profile string
	// Lifetime is the lifetime of certificates to ask for. Default: the CA's choice.
	Lifetime time.Duration
	// Timeout is how long the CA may validate or sign before the other CAs are asked,
	// too. Default: 5m.
	Timeout time.Duration
	// PreferredChains chooses among alternate chains. Default: the CA's first.
	PreferredChains certmagic.ChainPreference
	// TrustedRoots are the roots that the CA's HTTPS server is verified against.
	// Default: the system's.
	TrustedRoots *x509.CertPool
	// Proxy is used for requests to the CA. Default: from the environment.
	Proxy func(*http.Request) (*url.URL, error)
	// DisableHTTP01 and DisableTLSALPN01 rule challenges out.
	DisableHTTP01, DisableTLSALPN01 bool
	// Budget is how many orders to place at most. Default: what the CA is known to
	// allow, and any number at an unknown CA.
	Budget Budget
}

// Key is certmagic's name of the issuer: everything of this CA in storage lies in
// folders of that name.
func (a Authority) Key() string {
	return (&certmagic.ACMEIssuer{CA: a.directory()}).IssuerKey()
}

// URL is the URL of the directory.
func (a Authority) URL() string { return a.directory() }

// Name is how a record best names this CA in spec.tls.certificateAuthority: its common
// name or, without one, its host.
func (a Authority) Name() string { return cmp.Or(knownCAs[a.Host()].name, a.Host()) }

// directory is the URL of the directory, with scheme.
func (a Authority) directory() string {
	if a.Directory == "" {
		return certmagic.LetsEncryptProductionCA
	}
	if !strings.Contains(a.Directory, "://") {
		return "https://" + a.Directory
	}
	return a.Directory
}

// Host is the host of the directory's URL, empty if that is no URL.
func (a Authority) Host() string {
	u, err := url.Parse(a.directory())
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// WaitTimeout is Timeout or its default.
func (a Authority) WaitTimeout() time.Duration { return cmp.Or(max(a.Timeout, 0), 5*time.Minute) }

// OrderBudget is Budget or its default.
func (a Authority) OrderBudget() Budget {
	if a.Budget.Orders > 0 {
		return a.Budget
	}
	return knownCAs[a.Host()].budget
}

// Named reports whether spec.tls.certificateAuthority means this CA: by a
// common name such as "letsencrypt", by the directory's URL, its host, or the
// key that storage uses. The empty name means any.
func (a Authority) Named(name string) bool {
	return name == "" || slices.Contains(a.Names(), strings.ToLower(name))
}

// Names are the names that Named accepts, in lower case.
func (a Authority) Names() []string {
	names := []string{strings.ToLower(a.Key()), strings.ToLower(a.directory()), strings.ToLower(a.Host())}
	if k, ok := knownCAs[a.Host()]; ok {
		names = append(names, k.name)
	}
	return names
}

// Methods are the challenge types that the issuer line does not disable, best first.
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

const hostZeroSSL = "acme.zerossl.com"

// knownCA is what is known of a CA beside its directory.
type knownCA struct {
	name     string // by which records may name it
	identity string // its CAA issuer domain name, should its directory not tell any
	budget   Budget
}

// knownCAs are the CAs that something is known of, by the host of their directory. On
// Let's Encrypt's limits see https://letsencrypt.org/docs/rate-limits/: 300 new orders
// per account every 3 hours; staging allows 1,500. A hundredth of that is left unused,
// because two orders may reach the CA closer together than they were counted here.
var knownCAs = map[string]knownCA{
	"acme-v02.api.letsencrypt.org":         {"letsencrypt", "letsencrypt.org", Budget{Orders: 297, Per: 3 * time.Hour}},
	"acme-staging-v02.api.letsencrypt.org": {"letsencrypt-staging", "letsencrypt.org", Budget{Orders: 1485, Per: 3 * time.Hour}},
	hostZeroSSL:                            {"zerossl", "sectigo.com", Budget{}},
	"dv.acme-v02.api.pki.goog":             {"google", "pki.goog", Budget{}},
	"acme.ssl.com":                         {"sslcom", "ssl.com", Budget{}},
}
