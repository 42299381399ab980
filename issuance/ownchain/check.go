package ownchain

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/internal/words"
)

// Bounds of what is taken.
const (
	// MaxBytes bounds certificates and key together, in bytes of PEM.
	MaxBytes = 64 << 10
	// maxCertificates bounds how many certificates there are.
	maxCertificates = 10
	// maxNames bounds the names in the certificate.
	maxNames = 1000
	// skew is how far ahead of our clock a certificate may begin.
	skew = 5 * time.Minute
)

// Fields that a Refusal names.
const (
	FieldCertificate = "certificate"
	FieldKey         = "key"
)

// Input is what is to be judged.
type Input struct {
	// Certificates and Key are PEM. Certificates holds the certificate and those above
	// it, in any order; blocks of other types are ignored.
	Certificates, Key []byte
	// Hostname is that of the record: lower case, A-labels; or a wildcard.
	Hostname string
	// Untrusted takes a chain that ends at a root which Roots lacks.
	Untrusted bool
	// Roots are what clients trust. Nil: the system's.
	Roots *x509.CertPool
	Now   time.Time
}

// Chain is what is served of an Input that holds.
type Chain struct {
	// Certificates are the leaf and those above it, each signed by the next one, without
	// the root.
	Certificates []*x509.Certificate
	Key          crypto.Signer
	// Trusted reports whether the chain ends at one of the roots.
	Trusted bool
}

// Refusal says why an Input is not taken. It never holds any part of a key.
type Refusal struct {
	Field  string // FieldCertificate or FieldKey
	Seen   string // what was seen; may be empty
	Expect string // what was expected, and the mend
}

func (r *Refusal) Error() string {
	if r.Seen == "" {
		return r.Field + ": " + r.Expect
	}
	return r.Field + ": " + r.Seen + ": " + r.Expect
}

func refuse(field, seen, expect string, args ...any) *Refusal {
	return &Refusal{Field: field, Seen: seen, Expect: fmt.Sprintf(expect, args...)}
}

// Check judges an Input. The error is a *Refusal.
func Check(in Input) (Chain, error) {
	out, r := check(in)
	if r != nil {
		return Chain{}, r
	}
	return out, nil
}

func check(in Input) (out Chain, r *Refusal) {
	if n := len(in.Certificates) + len(in.Key); n > MaxBytes {
		return out, refuse(FieldCertificate, fmt.Sprintf("%d bytes with the key", n), "expected at most %d", MaxBytes)
	}
	if out.Key, r = parseKey(in.Key); r != nil {
		return out, r
	}
	all, r := parseCertificates(in.Certificates)
	if r != nil {
		return out, r
	}
	leaf, r := leafFor(all, out.Key)
	if r != nil {
		return out, r
	}
	for _, judge := range []func(*x509.Certificate, Input) *Refusal{judgeUse, judgeNames, judgeDates} {
		if r := judge(leaf, in); r != nil {
			return out, r
		}
	}
	if out.Certificates, out.Trusted, r = order(leaf, all, in); r != nil {
		return out, r
	}
	return out, judgeStrength(out.Certificates)
}

// leafFor is the certificate that the key is for.
func leafFor(all []*x509.Certificate, key crypto.Signer) (*x509.Certificate, *Refusal) {
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok {
		return nil, refuse(FieldKey, fmt.Sprintf("a public key of type %T", key.Public()), "expected RSA, ECDSA or Ed25519")
	}
	for _, c := range all {
		if public.Equal(c.PublicKey) {
			return c, nil
		}
	}
	return nil, refuse(FieldKey, "it fits none of the certificates ("+nameAll(all)+")", "expected the private key with which the certificate was requested")
}

// judgeUse refuses what clients do not take for a server's certificate.
func judgeUse(leaf *x509.Certificate, _ Input) *Refusal {
	anyUse := len(leaf.ExtKeyUsage)+len(leaf.UnknownExtKeyUsage) == 0 || slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny)
	switch {
	case leaf.IsCA:
		return refuse(FieldCertificate, nameOf(leaf)+" is a certificate authority's", "expected a server's certificate for this key (basicConstraints CA:FALSE)")
	case !anyUse && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageServerAuth):
		return refuse(FieldCertificate, nameOf(leaf)+" is not for servers", "expected one with the extended key usage serverAuth")
	case leaf.KeyUsage != 0 && leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return refuse(FieldCertificate, nameOf(leaf)+" may sign nothing", "expected one with the key usage digitalSignature, which TLS 1.3 needs")
	}
	return nil
}

// judgeNames refuses a certificate that is not for the hostname. Names of a wildcard's
// record must be covered as a whole, so it takes the wildcard itself.
func judgeNames(leaf *x509.Certificate, in Input) *Refusal {
	if len(leaf.DNSNames) > maxNames {
		return refuse(FieldCertificate, fmt.Sprintf("%d names", len(leaf.DNSNames)), "expected at most %d", maxNames)
	}
	covered := leaf.VerifyHostname(in.Hostname) == nil
	if strings.HasPrefix(in.Hostname, "*.") {
		covered = slices.ContainsFunc(leaf.DNSNames, func(n string) bool { return strings.EqualFold(n, in.Hostname) })
	}
	if covered {
		return nil
	}
	if len(leaf.DNSNames) == 0 {
		return refuse(FieldCertificate, nameOf(leaf)+" has no DNS name among its subject alternative names", "expected %s there: clients do not look at the common name", in.Hostname)
	}
	return refuse(FieldCertificate, "it is for "+list(leaf.DNSNames), "expected one for %s", in.Hostname)
}

// judgeDates refuses a leaf that is not valid now.
func judgeDates(leaf *x509.Certificate, in Input) *Refusal { return judgeDatesOf(leaf, in.Now) }

func judgeDatesOf(c *x509.Certificate, now time.Time) *Refusal {
	switch {
	case !now.Before(c.NotAfter):
		return refuse(FieldCertificate, nameOf(c)+" expired at "+stamp(c.NotAfter), "expected one that is valid now: have it renewed")
	case c.NotBefore.After(now.Add(skew)):
		return refuse(FieldCertificate, nameOf(c)+" is valid from "+stamp(c.NotBefore), "expected one that is valid now; it is %s here", stamp(now))
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// nameOf names a certificate for people.
func nameOf(c *x509.Certificate) string {
	switch {
	case c.Subject.CommonName != "":
		return quoted(c.Subject.CommonName)
	case len(c.DNSNames) > 0:
		return quoted(c.DNSNames[0])
	}
	return quoted(c.Subject.String())
}

// issuerOf names the issuer of a certificate.
func issuerOf(c *x509.Certificate) string {
	if c.Issuer.CommonName != "" {
		return quoted(c.Issuer.CommonName)
	}
	return quoted(c.Issuer.String())
}

func nameAll(all []*x509.Certificate) string {
	var names []string
	for _, c := range all {
		names = append(names, nameOf(c))
	}
	return strings.Join(names, ", ")
}

// list quotes the first of many names.
func list(names []string) string {
	const most = 5
	var out []string
	for _, n := range names[:min(len(names), most)] {
		out = append(out, quoted(n))
	}
	if more := len(names) - most; more > 0 {
		out = append(out, fmt.Sprintf("%d more", more))
	}
	return strings.Join(out, ", ")
}

// quoted quotes what a stranger wrote, and cuts it.
func quoted(s string) string { return fmt.Sprintf("%q", words.Cut(s, 100)) }

func same(a, b *x509.Certificate) bool { return bytes.Equal(a.Raw, b.Raw) }
