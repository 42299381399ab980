package revocation

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
)

// signer is a certificate with its key.
type signer struct {
	crt *x509.Certificate
	key crypto.Signer
}

// certify signs a template with a new key; by itself without a parent.
func certify(t testing.TB, parent *signer, tmpl x509.Certificate) signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if tmpl.SerialNumber == nil {
		tmpl.SerialNumber = big.NewInt(time.Now().UnixNano())
	}
	if tmpl.NotAfter.IsZero() {
		tmpl.NotBefore, tmpl.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	}
	s := signer{key: key}
	above := signer{&tmpl, key}
	if parent != nil {
		above = *parent
	}
	der, err := x509.CreateCertificate(rand.Reader, &tmpl, above.crt, key.Public(), above.key)
	if err != nil {
		t.Fatal(err)
	}
	if s.crt, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return s
}

func authority(t testing.TB, parent *signer, name string) signer {
	return certify(t, parent, x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature})
}

// hierarchy is a leaf below an intermediate below a root.
type hierarchy struct{ root, issuer, leaf signer }

func newHierarchy(t testing.TB) hierarchy {
	h := hierarchy{root: authority(t, nil, "Root")}
	h.issuer = authority(t, &h.root, "Issuer")
	h.leaf = certify(t, &h.issuer, x509.Certificate{DNSNames: []string{"api.example.com"}})
	return h
}

// answer is an answer about the leaf: good and of now unless changed.
func (h hierarchy) answer(t testing.TB, as signer, about *x509.Certificate, change func(*ocsp.Response)) []byte {
	t.Helper()
	r := ocsp.Response{SerialNumber: h.leaf.crt.SerialNumber, ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour)}
	if change != nil {
		change(&r)
	}
	raw, err := ocsp.CreateResponse(about, as.crt, r, as.key)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestOnlyAnAnswerAboutThisCertificateByItsIssuerCounts(t *testing.T) {
	h := newHierarchy(t)
	issuer := h.issuer.crt
	delegate := func(parent *signer, change func(*x509.Certificate)) signer {
		tmpl := x509.Certificate{Subject: pkix.Name{CommonName: "Responder"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
		if change != nil {
			change(&tmpl)
		}
		return certify(t, parent, tmpl)
	}
	enclosing := func(s signer) func(*ocsp.Response) { return func(r *ocsp.Response) { r.Certificate = s.crt } }
	own := delegate(&h.issuer, nil)
	unfit := delegate(&h.issuer, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
	past := delegate(&h.issuer, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	})
	roots := delegate(&h.root, nil)
	stranger := authority(t, nil, "Issuer")
	for name, tt := range map[string]struct {
		raw  []byte
		want string // of the error; empty: it counts
	}{
		"signed by the issuer":                           {h.answer(t, h.issuer, issuer, nil), ""},
		"with the issuer's certificate enclosed":         {h.answer(t, h.issuer, issuer, enclosing(h.issuer)), ""},
		"identified by SHA-256":                          {h.answer(t, h.issuer, issuer, func(r *ocsp.Response) { r.IssuerHash = crypto.SHA256 }), ""},
		"signed by a responder of the issuer's":          {h.answer(t, own, issuer, enclosing(own)), ""},
		"signed by another of the issuer's certificates": {h.answer(t, unfit, issuer, enclosing(unfit)), "not for signing"},
		"signed by the certificate itself":               {h.answer(t, h.leaf, issuer, enclosing(h.leaf)), "not for signing"},
		"signed by a responder of before":                {h.answer(t, past, issuer, enclosing(past)), "has expired"},
		"signed by a responder of the root's":            {h.answer(t, roots, issuer, enclosing(roots)), "not the issuer's"},
		"signed by a stranger of the issuer's name":      {h.answer(t, stranger, issuer, nil), "signature"},
		"signed by a stranger who encloses himself":      {h.answer(t, stranger, issuer, enclosing(stranger)), "not for signing"},
		"signed by a stranger who encloses the issuer":   {h.answer(t, stranger, issuer, enclosing(h.issuer)), "bad signature"},
		"about another certificate":                      {h.answer(t, h.issuer, issuer, func(r *ocsp.Response) { r.SerialNumber = big.NewInt(7) }), "no response matching"},
		"about another issuer's certificate":             {h.answer(t, h.issuer, h.root.crt, nil), "another issuer's"},
		"not of now but of before":                       {h.answer(t, h.issuer, issuer, func(r *ocsp.Response) { r.NextUpdate = time.Now().Add(-10 * time.Minute) }), "it holds from"},
		"undated and of long ago":                        {h.answer(t, h.issuer, issuer, func(r *ocsp.Response) { r.ThisUpdate, r.NextUpdate = time.Now().Add(-25*time.Hour), time.Time{} }), "it holds from"},
		"of a time to come":                              {h.answer(t, h.issuer, issuer, func(r *ocsp.Response) { r.ThisUpdate = time.Now().Add(10 * time.Minute) }), "it holds from"},
		"a refusal":                                      {ocsp.UnauthorizedErrorResponse, "unauthorized"},
		"a request to try later":                         {ocsp.TryLaterErrorResponse, "try later"},
		"garbage":                                        {[]byte("<html>It works!</html>"), "asn1"},
		"nothing":                                        {nil, "asn1"},
		"cut short":                                      {h.answer(t, h.issuer, issuer, nil)[:100], "asn1"},
		"with a tail":                                    {append(h.answer(t, h.issuer, issuer, nil), 0), "trailing"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := readOCSP(tt.raw, h.leaf.crt, issuer, time.Now())
			if tt.want == "" && (err != nil || r.Status != ocsp.Good) || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%+v, %v; want %q", r, err, tt.want)
			}
		})
	}
}

func TestAnUnfitResponderIsAskedWithinBounds(t *testing.T) {
	t.Setenv("NO_PROXY", "*")
	h := newHierarchy(t)
	good := h.answer(t, h.issuer, h.issuer.crt, nil)
	mux := http.NewServeMux()
	mux.HandleFunc("/good", func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.Header.Get("Content-Type") == "application/ocsp-request" {
			w.Write(good)
		}
	})
	mux.HandleFunc("/oversize", func(w http.ResponseWriter, _ *http.Request) { w.Write(append(good, make([]byte, ocspMaxBody)...)) })
	mux.HandleFunc("/trickle", func(w http.ResponseWriter, r *http.Request) {
		for tick := time.NewTicker(50 * time.Millisecond); ; {
			select {
			case <-r.Context().Done():
				tick.Stop()
				return
			case <-tick.C:
				w.Write([]byte{0x30})
				w.(http.Flusher).Flush()
			}
		}
	})
	mux.HandleFunc("/down", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "120")
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	mux.HandleFunc("/busy", func(w http.ResponseWriter, _ *http.Request) { w.Write(ocsp.TryLaterErrorResponse) })
	mux.Handle("/moved", http.RedirectHandler("/good", http.StatusTemporaryRedirect))
	mux.Handle("/see-other", http.RedirectHandler("/good", http.StatusSeeOther))
	mux.Handle("/round", http.RedirectHandler("/round", http.StatusTemporaryRedirect))
	mux.Handle("/away", http.RedirectHandler("file:///etc/passwd", http.StatusTemporaryRedirect))
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	for name, tt := range map[string]struct {
		path  string
		want  string // of the error; empty: it counts
		fault bool   // the responder's own
	}{
		"good":                               {"/good", "", false},
		"moved":                              {"/moved", "", false},
		"moved so that the question is lost": {"/see-other", "loses the question", true},
		"moved round and round":              {"/round", "too many redirects", true},
		"moved out of http":                  {"/away", "expected an http or https URL", true},
		"oversize":                           {"/oversize", "more than 65536 octets", false},
		"slow without an end":                {"/trickle", "deadline exceeded", true},
		"down":                               {"/down", "status 503", true},
		"busy":                               {"/busy", "try later", true},
	} {
		t.Run(name, func(t *testing.T) {
			to, err := checkResponder(srv.URL + tt.path)
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			_, err = askResponder(context.Background(), to, nil, h.leaf.crt, h.issuer.crt, time.Now())
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%v; want %q", err, tt.want)
			}
			var fault *ResponderError
			if errors.As(err, &fault) != tt.fault {
				t.Errorf("%v is the responder's own fault: %v", err, !tt.fault)
			}
			if took := time.Since(began); took > ocspTimeout+5*time.Second {
				t.Errorf("it took %v", took)
			}
			if tt.path == "/down" && (fault == nil || time.Until(fault.after) < time.Minute) {
				t.Errorf("the time that it asked for is lost: %+v", fault)
			}
		})
	}
}

func TestOnlyHTTPRespondersAreAsked(t *testing.T) {
	for raw, ok := range map[string]bool{
		"http://ocsp.example.com": true, "https://ocsp.example.com/x": true, "HTTP://ocsp.example.com": true,
		"ldap://ocsp.example.com": false, "file:///etc/passwd": false, "http:///x": false, "": false, "ocsp.example.com": false, "http://[": false,
	} {
		if _, err := checkResponder(raw); (err == nil) != ok {
			t.Errorf("%q: %v", raw, err)
		}
	}
}

func TestACertificateThatAResponderDoesNotKnowIsNotTakenForRevoked(t *testing.T) {
	unknown := &ocsp.Response{Status: ocsp.Revoked, RevocationReason: ocsp.CertificateHold, RevokedAt: time.Unix(0, 0)}
	held := &ocsp.Response{Status: ocsp.Revoked, RevocationReason: ocsp.CertificateHold, RevokedAt: time.Now()}
	if !NeverIssued(unknown) || NeverIssued(held) {
		t.Errorf("%v, %v", NeverIssued(unknown), NeverIssued(held))
	}
}

func FuzzOCSPAnswer(f *testing.F) {
	h := newHierarchy(f)
	f.Add(h.answer(f, h.issuer, h.issuer.crt, nil))
	f.Add(ocsp.TryLaterErrorResponse)
	stranger := newHierarchy(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		if r, err := readOCSP(raw, h.leaf.crt, stranger.issuer.crt, time.Now()); err == nil {
			t.Errorf("an answer of nobody's counts: %+v", r)
		}
	})
}
