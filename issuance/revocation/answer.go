package revocation

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/apoxy-dev/caddy-apoxy/internal/times"
	"github.com/apoxy-dev/caddy-apoxy/internal/words"
)

// Bounds on one request to a responder. Its URL is in the certificate, so it is a
// stranger's.
const (
	ocspTimeout   = 10 * time.Second // with redirects
	ocspMaxBody   = 64 << 10         // octets; answers have a few thousand
	ocspRedirects = 3
	// ocspSkew is how far the responder's clock may be off.
	ocspSkew = 5 * time.Minute
	// ocspUndated is how long an answer without nextUpdate is valid.
	ocspUndated = 24 * time.Hour
)

// ResponderError means that a responder did not answer, or answered that it cannot. An
// answer about a certificate that is not accepted is another error.
type ResponderError struct {
	// Host is that of the responder.
	Host string
	// Until is when it is asked again; zero: at any time.
	Until time.Time
	err   error
	after time.Time // from its Retry-After; zero: none
}

func (e *ResponderError) Error() string { return e.err.Error() }
func (e *ResponderError) Unwrap() error { return e.err }

// checkResponder parses the URL of a responder. Only http and https are allowed.
func checkResponder(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("asking an OCSP responder: the certificate names %q, expected an http or https URL", words.Cut(raw, 100))
	}
	return u, nil
}

// askResponder asks the responder for the status of leaf (RFC 6960 appendix A.1, by POST)
// and returns its answer if readOCSP accepts it.
func askResponder(ctx context.Context, to *url.URL, proxy func(*http.Request) (*url.URL, error), leaf, issuer *x509.Certificate, now time.Time) (*ocsp.Response, error) {
	body, err := ocsp.CreateRequest(leaf, issuer, nil)
	if err != nil {
		return nil, fmt.Errorf("making an OCSP request: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, ocspTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.String(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("making an OCSP request: %w", err)
	}
	req.Header.Set("Content-Type", "application/ocsp-request")
	req.Header.Set("Accept", "application/ocsp-response")
	client := &http.Client{
		// A certificate is asked about twice a day, so no connection is kept open.
		Transport:     &http.Transport{Proxy: proxy, DisableKeepAlives: true, MaxResponseHeaderBytes: ocspMaxBody},
		CheckRedirect: followResponder,
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, &ResponderError{err: fmt.Errorf("asking the OCSP responder %s: %w", words.Cut(to.Host, 100), err)}
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, &ResponderError{
			err:   fmt.Errorf("asking the OCSP responder %s: status %d", words.Cut(to.Host, 100), resp.StatusCode),
			after: times.RetryAfter(resp.Header.Get("Retry-After"), now, maxPause),
		}
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, ocspMaxBody+1))
	if err != nil {
		return nil, &ResponderError{err: fmt.Errorf("reading the answer of the OCSP responder %s: %w", words.Cut(to.Host, 100), err)}
	}
	if len(raw) > ocspMaxBody {
		return nil, fmt.Errorf("reading the answer of the OCSP responder %s: more than %d octets", words.Cut(to.Host, 100), ocspMaxBody)
	}
	return readOCSP(raw, leaf, issuer, now)
}

// followResponder limits redirects. It refuses one that turns the POST into a GET, which
// would lose the question, and one to another scheme than http and https.
func followResponder(req *http.Request, via []*http.Request) error {
	if len(via) > ocspRedirects {
		return errors.New("too many redirects")
	}
	if req.Method != http.MethodPost {
		return errors.New("redirected in a way that loses the question")
	}
	_, err := checkResponder(req.URL.String())
	return err
}

// readOCSP reads an answer and returns it only if it is acceptable (RFC 6960 section
// 3.2): it is about exactly this certificate, signed by its issuer or by a responder
// that the issuer authorized, and valid now.
func readOCSP(raw []byte, leaf, issuer *x509.Certificate, now time.Time) (*ocsp.Response, error) {
	// The package is not given the issuer, because it would refuse an answer that
	// encloses the issuer's own certificate if that is not self-signed. It then checks
	// only the signature by an enclosed certificate; signedFor checks who may sign.
	r, err := ocsp.ParseResponseForCert(raw, leaf, nil)
	if err != nil {
		var refused ocsp.ResponseError
		if errors.As(err, &refused) && (refused.Status == ocsp.TryLater || refused.Status == ocsp.InternalError) {
			return nil, &ResponderError{err: fmt.Errorf("reading an OCSP answer: %w", err)}
		}
		return nil, fmt.Errorf("reading an OCSP answer: %w", err)
	}
	if err := signedFor(r, issuer, now); err != nil {
		return nil, fmt.Errorf("checking the signature of an OCSP answer: %w", err)
	}
	if !about(r, leaf, issuer) {
		return nil, errors.New("checking an OCSP answer: it is about another issuer's certificate")
	}
	end := r.NextUpdate
	if end.IsZero() {
		end = r.ThisUpdate.Add(ocspUndated)
	}
	if r.ThisUpdate.After(now.Add(ocspSkew)) || end.Before(now.Add(-ocspSkew)) {
		return nil, fmt.Errorf("checking an OCSP answer: it holds from %s to %s", times.Stamp(r.ThisUpdate), times.Stamp(end))
	}
	return r, nil
}

// signedFor checks that an answer is signed by the issuer or by a certificate
// that the issuer signed for that purpose (RFC 6960 section 4.2.2.2).
func signedFor(r *ocsp.Response, issuer *x509.Certificate, now time.Time) error {
	d := r.Certificate
	switch {
	case d == nil || d.Equal(issuer):
		return r.CheckSignatureFrom(issuer)
	case !slices.Contains(d.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning):
		return errors.New("the enclosed certificate is not for signing OCSP answers")
	case now.Before(d.NotBefore.Add(-ocspSkew)) || now.After(d.NotAfter.Add(ocspSkew)):
		return errors.New("the enclosed certificate has expired or does not hold yet")
	}
	if err := issuer.CheckSignature(d.SignatureAlgorithm, d.RawTBSCertificate, d.Signature); err != nil {
		return fmt.Errorf("the enclosed certificate is not the issuer's: %w", err)
	}
	return r.CheckSignatureFrom(d)
}

// about reports whether an answer names the certificate's issuer (RFC 6960 section
// 4.1.1, CertID), which the package does not check. The package reads the first single
// response with the certificate's serial number, so that is the one to look at.
func about(r *ocsp.Response, leaf, issuer *x509.Certificate) bool {
	var data struct {
		Version     int `asn1:"optional,default:0,explicit,tag:0"`
		ResponderID asn1.RawValue
		ProducedAt  time.Time `asn1:"generalized"`
		Responses   []asn1.RawValue
	}
	var spki struct {
		Algorithm asn1.RawValue
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(r.TBSResponseData, &data); err != nil {
		return false
	}
	if _, err := asn1.Unmarshal(issuer.RawSubjectPublicKeyInfo, &spki); err != nil {
		return false
	}
	for _, single := range data.Responses {
		var id struct {
			Hash struct {
				OID    asn1.ObjectIdentifier
				Params asn1.RawValue `asn1:"optional"`
			}
			Name, Key []byte
			Serial    *big.Int
		}
		if _, err := asn1.Unmarshal(single.Bytes, &id); err != nil || id.Serial.Cmp(leaf.SerialNumber) != 0 {
			continue
		}
		h := certIDHashes[id.Hash.OID.String()]
		return h != 0 && bytes.Equal(id.Name, sum(h, issuer.RawSubject)) && bytes.Equal(id.Key, sum(h, spki.Key.RightAlign()))
	}
	return false
}

// certIDHashes are the digests that an issuer may be named by, by object identifier.
var certIDHashes = map[string]crypto.Hash{
	"1.3.14.3.2.26":          crypto.SHA1,
	"2.16.840.1.101.3.4.2.1": crypto.SHA256,
	"2.16.840.1.101.3.4.2.2": crypto.SHA384,
	"2.16.840.1.101.3.4.2.3": crypto.SHA512,
}

func sum(h crypto.Hash, b []byte) []byte {
	d := h.New()
	d.Write(b)
	return d.Sum(nil)
}

// NeverIssued reports whether an answer "revoked" means that the responder does not know
// the certificate (RFC 6960 section 2.2). It may be too new to be known.
func NeverIssued(r *ocsp.Response) bool {
	return r.RevocationReason == ocsp.CertificateHold && r.RevokedAt.Unix() == 0
}
