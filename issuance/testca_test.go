package issuance

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	acmez "github.com/mholt/acmez/v3/acme"

	"github.com/apoxy-dev/caddy-apoxy/issuance/certfiles"
)

// testCA is an ACME server (RFC 8555 with RFC 9773) in memory. It checks
// nonces, signatures, order states and, through validate, challenges.
type testCA struct {
	t   *testing.T
	srv *httptest.Server
	key *ecdsa.PrivateKey
	crt *x509.Certificate

	// validate decides a challenge; an error is the CA's problem.
	validate func(host, kind, token, keyAuth string) *acmez.Problem
	// inject may answer a request in the CA's place. The path is below the root.
	inject func(path string) *injected
	// replaces, if set, is the answer to orders that name what they replace.
	replaces *acmez.Problem

	// strict gives an order up that is finalized before it is ready. lags are the
	// answers to finalizing of a server that takes a ready order for pending.
	strict bool
	lags   []acmez.Problem

	mu         sync.Mutex
	slow       *slowness
	lifetime   time.Duration
	responder  string // URL of the OCSP responder that certificates name
	identities []string
	offer      []string
	windows    func(notBefore, notAfter time.Time) (start, end time.Time)
	nonces     map[string]bool
	accounts   map[string]*ecdsa.PublicKey
	faults     map[string]acmez.Problem // of accounts
	orders     []*testOrder
	requests   map[string]int // by first path segment
	serial     int64
	bound      []byte // externalAccountBinding of the last registration
}

type injected struct {
	status  int
	header  map[string]string
	problem acmez.Problem
}

// slowness is what a CA takes its time with: "validating", "signing", or "ready":
// to find an order ready whose authorization is.
type slowness struct{ at, retryAfter, host string }

// slows reports whether the CA takes its time with an order, and says so.
func (ca *testCA) slows(w http.ResponseWriter, o *testOrder, at string) bool {
	if s := ca.slow; s == nil || s.at != at || !strings.HasPrefix(o.Host, s.host) {
		return false
	}
	if ca.slow.retryAfter != "" {
		w.Header().Set("Retry-After", ca.slow.retryAfter)
	}
	return true
}

type testOrder struct {
	ID       int
	Host     string
	Replaces string
	Status   string
	Authz    string // status
	Error    *acmez.Problem
	Kind     string // challenge tried
	Begun    bool   // it was begun
	Token    string
	Chain    []byte
	account  string
	Profile  string
	NotAfter *time.Time // asked for
	CSR      *x509.CertificateRequest
	lagging  bool // the next that is asked takes it for pending
}

func newTestCA(t *testing.T) *testCA {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Root 1", Organization: []string{"Test"}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * 24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		SubjectKeyId: []byte{1, 2, 3, 4}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	crt, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	ca := &testCA{t: t, key: key, crt: crt, lifetime: 90 * 24 * time.Hour, nonces: map[string]bool{},
		accounts: map[string]*ecdsa.PublicKey{}, faults: map[string]acmez.Problem{}, requests: map[string]int{}, serial: 100,
		offer:    []string{"http-01", "dns-01", "tls-alpn-01"},
		validate: func(string, string, string, string) *acmez.Problem { return nil }}
	ca.srv = httptest.NewServer(http.HandlerFunc(ca.serve))
	t.Cleanup(ca.srv.Close)
	return ca
}

func (ca *testCA) directory() string { return ca.srv.URL + "/dir" }

// count returns how many requests of a kind came; "" for all.
func (ca *testCA) count(kind string) int {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	if kind != "" {
		return ca.requests[kind]
	}
	n := 0
	for _, c := range ca.requests {
		n += c
	}
	return n
}

func (ca *testCA) order(i int) testOrder {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	return *ca.orders[i]
}

func (ca *testCA) placed() int {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	return len(ca.orders)
}

func (ca *testCA) nonce(w http.ResponseWriter) {
	b := make([]byte, 12)
	rand.Read(b)
	n := base64.RawURLEncoding.EncodeToString(b)
	ca.nonces[n] = true
	w.Header().Set("Replay-Nonce", n)
}

func (ca *testCA) serve(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/")
	kind, id, _ := strings.Cut(path, "/")
	ca.mu.Lock()
	defer ca.mu.Unlock()
	ca.requests[kind]++
	ca.nonce(w)
	if ca.inject != nil {
		if in := ca.inject(path); in != nil {
			for k, v := range in.header {
				w.Header().Set(k, v)
			}
			in.problem.Status = in.status
			ca.problem(w, in.problem)
			return
		}
	}
	u := ca.srv.URL
	switch kind {
	case "dir":
		ca.json(w, 200, map[string]any{"newNonce": u + "/nonce", "newAccount": u + "/account", "newOrder": u + "/order",
			"revokeCert": u + "/revoke", "renewalInfo": u + "/ari", "meta": map[string]any{"caaIdentities": ca.identities,
				"profiles": map[string]string{"tlsserver": "https://ca.test/tlsserver", "shortlived": "https://ca.test/shortlived"}}})
		return
	case "nonce":
		return
	case "ari":
		ca.ari(w, id)
		return
	}
	payload, account, ok := ca.verify(w, r)
	if !ok {
		return
	}
	switch kind {
	case "account":
		if id == "" {
			var in struct{ ExternalAccountBinding json.RawMessage }
			json.Unmarshal(payload, &in)
			ca.bound = in.ExternalAccountBinding
			w.Header().Set("Location", u+"/account/"+account)
			ca.json(w, 201, map[string]any{"status": "valid"})
		}
	case "order":
		if id == "" {
			ca.newOrder(w, payload, account)
		} else if o := ca.find(w, id); o != nil {
			ca.showOrder(w, 200, o)
		}
	case "authz":
		if o := ca.find(w, id); o != nil {
			ca.showAuthz(w, o)
		}
	case "chal":
		oid, typ, _ := strings.Cut(id, "/")
		if o := ca.find(w, oid); o != nil {
			ca.challenge(w, o, typ)
		}
	case "finalize":
		if o := ca.find(w, id); o != nil {
			ca.finalize(w, o, payload)
		}
	case "cert":
		if o := ca.find(w, id); o != nil {
			w.Header().Set("Content-Type", "application/pem-certificate-chain")
			w.Write(o.Chain)
		}
	case "revoke":
		w.WriteHeader(200)
	default:
		ca.problem(w, acmez.Problem{Type: acmez.ProblemTypeMalformed, Status: 404, Detail: "no such thing"})
	}
}

// verify checks nonce and signature and returns the payload and account.
func (ca *testCA) verify(w http.ResponseWriter, r *http.Request) (payload []byte, account string, ok bool) {
	fail := func(typ, detail string) ([]byte, string, bool) {
		ca.problem(w, acmez.Problem{Type: typ, Status: 400, Detail: detail})
		return nil, "", false
	}
	var jws struct{ Protected, Payload, Signature string }
	if err := json.NewDecoder(r.Body).Decode(&jws); err != nil {
		return fail(acmez.ProblemTypeMalformed, err.Error())
	}
	raw, _ := base64.RawURLEncoding.DecodeString(jws.Protected)
	var head struct {
		Nonce, URL, KID string
		JWK             struct{ X, Y string }
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return fail(acmez.ProblemTypeMalformed, err.Error())
	}
	if !ca.nonces[head.Nonce] {
		return fail(acmez.ProblemTypeBadNonce, "nonce")
	}
	delete(ca.nonces, head.Nonce)
	if head.URL != ca.srv.URL+r.URL.Path {
		return fail(acmez.ProblemTypeUnauthorized, "url")
	}
	var pub *ecdsa.PublicKey
	if head.KID != "" {
		account = head.KID[strings.LastIndex(head.KID, "/")+1:]
		if p, bad := ca.faults[account]; bad {
			ca.problem(w, p)
			return nil, "", false
		}
		if pub = ca.accounts[account]; pub == nil {
			return fail(acmez.ProblemTypeAccountDoesNotExist, "no such account")
		}
	} else {
		x, _ := base64.RawURLEncoding.DecodeString(head.JWK.X)
		y, _ := base64.RawURLEncoding.DecodeString(head.JWK.Y)
		var err error
		if pub, err = ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, x, y)); err != nil {
			return fail(acmez.ProblemTypeBadPublicKey, err.Error())
		}
		account = fmt.Sprintf("%x", sha256.Sum256(append(x, y...)))[:12]
		ca.accounts[account] = pub
	}
	sig, _ := base64.RawURLEncoding.DecodeString(jws.Signature)
	digest := sha256.Sum256([]byte(jws.Protected + "." + jws.Payload))
	if len(sig) != 64 || !ecdsa.Verify(pub, digest[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])) {
		return fail(acmez.ProblemTypeUnauthorized, "signature")
	}
	payload, _ = base64.RawURLEncoding.DecodeString(jws.Payload)
	return payload, account, true
}

func (ca *testCA) find(w http.ResponseWriter, id string) *testOrder {
	for _, o := range ca.orders {
		if fmt.Sprint(o.ID) == id {
			return o
		}
	}
	ca.problem(w, acmez.Problem{Type: acmez.ProblemTypeMalformed, Status: 404, Detail: "no such order"})
	return nil
}

func (ca *testCA) newOrder(w http.ResponseWriter, payload []byte, account string) {
	var in acmez.Order
	if err := json.Unmarshal(payload, &in); err != nil || len(in.Identifiers) != 1 {
		ca.problem(w, acmez.Problem{Type: acmez.ProblemTypeMalformed, Status: 400})
		return
	}
	if in.Replaces != "" && ca.replaces != nil {
		ca.problem(w, *ca.replaces)
		return
	}
	o := &testOrder{ID: len(ca.orders) + 1, Host: in.Identifiers[0].Value, Replaces: in.Replaces, Status: acmez.StatusPending,
		Authz: acmez.StatusPending, Token: fmt.Sprintf("token-%d", len(ca.orders)+1), account: account,
		Profile: in.Profile, NotAfter: in.NotAfter}
	ca.orders = append(ca.orders, o)
	ca.showOrder(w, 201, o)
}

func (ca *testCA) showOrder(w http.ResponseWriter, status int, o *testOrder) {
	u, is := ca.srv.URL, o.Status
	switch {
	case o.Status == acmez.StatusReady && (o.lagging || ca.slows(w, o, "ready")):
		o.lagging = false
		is = acmez.StatusPending
	case o.Status == acmez.StatusProcessing && !ca.slows(w, o, "signing"):
		o.Chain = ca.sign(o.Host, o.CSR.PublicKey)
		o.Status, is = acmez.StatusValid, acmez.StatusValid
	}
	out := map[string]any{"status": is, "identifiers": []acmez.Identifier{{Type: "dns", Value: o.Host}},
		"authorizations": []string{fmt.Sprintf("%s/authz/%d", u, o.ID)}, "finalize": fmt.Sprintf("%s/finalize/%d", u, o.ID)}
	if o.Chain != nil {
		out["certificate"] = fmt.Sprintf("%s/cert/%d", u, o.ID)
	}
	w.Header().Set("Location", fmt.Sprintf("%s/order/%d", u, o.ID))
	ca.json(w, status, out)
}

func (ca *testCA) showAuthz(w http.ResponseWriter, o *testOrder) {
	if o.Begun && !ca.slows(w, o, "validating") && o.Authz == acmez.StatusPending {
		ca.decide(o)
	}
	var chals []map[string]any
	for _, typ := range ca.offer {
		c := map[string]any{"type": typ, "url": fmt.Sprintf("%s/chal/%d/%s", ca.srv.URL, o.ID, typ), "token": o.Token, "status": "pending"}
		if typ == o.Kind {
			c["status"] = o.Authz
			if o.Error != nil {
				c["error"] = o.Error
			}
		}
		chals = append(chals, c)
	}
	ca.json(w, 200, map[string]any{"status": o.Authz, "identifier": acmez.Identifier{Type: "dns", Value: strings.TrimPrefix(o.Host, "*.")},
		"wildcard": strings.HasPrefix(o.Host, "*."), "challenges": chals})
}

func (ca *testCA) challenge(w http.ResponseWriter, o *testOrder, typ string) {
	o.Kind, o.Begun = typ, true
	if !ca.slows(w, o, "validating") {
		ca.decide(o)
	}
	ca.json(w, 200, map[string]any{"type": typ, "url": fmt.Sprintf("%s/chal/%d/%s", ca.srv.URL, o.ID, typ), "token": o.Token, "status": "processing"})
}

// decide validates the challenge that was begun.
func (ca *testCA) decide(o *testOrder) {
	pub := ca.accounts[o.account]
	point, err := pub.Bytes() // 4, x, y
	if err != nil {
		ca.t.Error(err)
		return
	}
	thumb := sha256.Sum256(fmt.Appendf(nil, `{"crv":"P-256","kty":"EC","x":"%s","y":"%s"}`,
		base64.RawURLEncoding.EncodeToString(point[1:33]), base64.RawURLEncoding.EncodeToString(point[33:])))
	keyAuth := o.Token + "." + base64.RawURLEncoding.EncodeToString(thumb[:])
	if p := ca.validate(strings.TrimPrefix(o.Host, "*."), o.Kind, o.Token, keyAuth); p != nil {
		o.Authz, o.Status, o.Error = acmez.StatusInvalid, acmez.StatusInvalid, p
	} else {
		o.Authz, o.Status = acmez.StatusValid, acmez.StatusReady
	}
}

func (ca *testCA) finalize(w http.ResponseWriter, o *testOrder, payload []byte) {
	if o.Status == acmez.StatusReady && len(ca.lags) > 0 {
		ca.problem(w, ca.lags[0])
		ca.lags, o.lagging = ca.lags[1:], true
		return
	}
	if o.Status != acmez.StatusReady || ca.slows(w, o, "ready") {
		if ca.strict {
			o.Status = acmez.StatusInvalid
		}
		ca.problem(w, acmez.Problem{Type: acmez.ProblemTypeOrderNotReady, Status: 403})
		return
	}
	var in struct{ CSR string }
	json.Unmarshal(payload, &in)
	der, _ := base64.RawURLEncoding.DecodeString(in.CSR)
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil || csr.CheckSignature() != nil || len(csr.DNSNames) != 1 || csr.DNSNames[0] != o.Host {
		ca.problem(w, acmez.Problem{Type: acmez.ProblemTypeBadCSR, Status: 400, Detail: fmt.Sprint(err)})
		return
	}
	o.CSR, o.Status = csr, acmez.StatusProcessing
	ca.showOrder(w, 200, o)
}

func (ca *testCA) sign(host string, pub crypto.PublicKey) []byte {
	ca.serial++
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(ca.serial), DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(ca.lifetime - time.Minute)}
	if ca.responder != "" {
		tmpl.OCSPServer = []string{ca.responder}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, ca.crt, pub, ca.key)
	if err != nil {
		ca.t.Error(err)
	}
	var b bytes.Buffer
	pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: ca.crt.Raw})
	return b.Bytes()
}

func (ca *testCA) ari(w http.ResponseWriter, id string) {
	for i := len(ca.orders) - 1; i >= 0; i-- {
		leaf, err := certfiles.LeafOf(ca.orders[i].Chain)
		if err != nil {
			continue
		}
		if got, _ := acmez.ARIUniqueIdentifier(leaf); got == id {
			start := leaf.NotAfter.Add(-30 * 24 * time.Hour)
			end := start.Add(48 * time.Hour)
			if ca.windows != nil {
				start, end = ca.windows(leaf.NotBefore, leaf.NotAfter)
			}
			w.Header().Set("Retry-After", "21600")
			ca.json(w, 200, map[string]any{"suggestedWindow": map[string]any{"start": start, "end": end}})
			return
		}
	}
	ca.problem(w, acmez.Problem{Type: acmez.ProblemTypeMalformed, Status: 404})
}

func (ca *testCA) json(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

func (ca *testCA) problem(w http.ResponseWriter, p acmez.Problem) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	json.NewEncoder(w).Encode(p)
}
