package ownchain

import (
	"crypto/x509"
	"strings"

	"github.com/apoxy-dev/caddy-apoxy/internal/words"
)

// order brings the certificates into the order in which they are served: the leaf, then
// each one's issuer. The root, and what belongs to none of them, is left out.
func order(leaf *x509.Certificate, all []*x509.Certificate, in Input) (chain []*x509.Certificate, trusted bool, _ *Refusal) {
	if chain = verified(leaf, all, in); chain != nil {
		return chain, true, nil
	}
	chain, top := climb(leaf, all)
	for _, c := range chain[1:] {
		if r := judgeDatesOf(c, in.Now); r != nil {
			return nil, false, r
		}
	}
	if !in.Untrusted {
		return nil, false, whyUntrusted(chain, top, in)
	}
	for _, c := range chain {
		if len(c.OCSPServer) > 0 {
			return nil, false, refuse(FieldCertificate, nameOf(c)+" names the OCSP responder "+quoted(c.OCSPServer[0])+", and its root is not known",
				"expected none: the server would send requests to whatever an unknown authority names; have it issued without")
		}
	}
	return chain, false, nil
}

// verified is the chain to a trusted root, without that; nil: there is none. Where there
// are several the shortest is taken.
func verified(leaf *x509.Certificate, all []*x509.Certificate, in Input) []*x509.Certificate {
	between := x509.NewCertPool()
	for _, c := range all {
		if !same(c, leaf) {
			between.AddCert(c)
		}
	}
	now := in.Now
	if now.Before(leaf.NotBefore) { // within skew
		now = leaf.NotBefore
	}
	paths, err := leaf.Verify(x509.VerifyOptions{Roots: in.Roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	if err != nil {
		return nil
	}
	best := paths[0]
	for _, p := range paths[1:] {
		if len(p) < len(best) {
			best = p
		}
	}
	if len(best) == 1 { // the leaf itself is trusted
		return best
	}
	return best[:len(best)-1]
}

// climb goes from the leaf upwards for as long as there are issuers. top is the root that
// it came to, nil if that is not there. It ends, because no certificate is taken twice.
func climb(leaf *x509.Certificate, all []*x509.Certificate) (chain []*x509.Certificate, top *x509.Certificate) {
	chain = []*x509.Certificate{leaf}
	if selfSigned(leaf) {
		return chain, leaf
	}
	used := map[*x509.Certificate]bool{leaf: true}
	for at := leaf; ; {
		next := (*x509.Certificate)(nil)
		for _, c := range all {
			if !used[c] && !same(c, leaf) && at.CheckSignatureFrom(c) == nil {
				next = c
				break
			}
		}
		if next == nil {
			return chain, nil
		}
		if selfSigned(next) {
			return chain, next
		}
		used[next], at = true, next
		chain = append(chain, next)
	}
}

func selfSigned(c *x509.Certificate) bool {
	return string(c.RawSubject) == string(c.RawIssuer) && c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil
}

// whyUntrusted says why a chain leads to no root that clients trust. top is as of climb.
func whyUntrusted(chain []*x509.Certificate, top *x509.Certificate, in Input) *Refusal {
	last := chain[len(chain)-1]
	if top != nil {
		return refuse(FieldCertificate, "its root "+nameOf(top)+" is none that clients trust", "expected a certificate of a public authority; say --untrusted (in the API: ?untrusted=true) where all clients know that root")
	}
	_, err := last.Verify(x509.VerifyOptions{Roots: in.Roots, CurrentTime: in.Now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	said := ""
	if err != nil && !strings.Contains(err.Error(), "unknown authority") {
		said = " (" + words.Cut(err.Error(), 150) + ")"
	}
	where := ""
	if len(last.IssuingCertificateURL) > 0 {
		where = "; it is at " + quoted(last.IssuingCertificateURL[0])
	}
	return refuse(FieldCertificate, "the chain ends at "+nameOf(last)+said, "expected the certificate of its issuer %s after it%s; or, if all clients know that one, say --untrusted (in the API: ?untrusted=true)", issuerOf(last), where)
}

// judgeStrength refuses keys and signatures that clients refuse, or should.
func judgeStrength(chain []*x509.Certificate) *Refusal {
	for _, c := range chain {
		if weak := weakness(c.PublicKey); weak != "" {
			return refuse(FieldCertificate, nameOf(c)+" has a weak key, "+weak, strong)
		}
		switch c.SignatureAlgorithm {
		case x509.SHA1WithRSA, x509.ECDSAWithSHA1, x509.DSAWithSHA1, x509.MD5WithRSA, x509.MD2WithRSA, x509.UnknownSignatureAlgorithm:
			return refuse(FieldCertificate, nameOf(c)+" is signed with "+c.SignatureAlgorithm.String(), "expected SHA-256 or better: have it issued anew")
		}
	}
	return nil
}
