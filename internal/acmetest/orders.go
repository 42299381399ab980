package acmetest

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"time"

	acmez "github.com/mholt/acmez/v3/acme"
)

func (ca *CA) find(w http.ResponseWriter, id string) *Order {
	for _, o := range ca.Orders {
		if fmt.Sprint(o.ID) == id {
			return o
		}
	}
	ca.problem(w, acmez.Problem{Type: acmez.ProblemTypeMalformed, Status: 404, Detail: "no such order"})
	return nil
}

func (ca *CA) newOrder(w http.ResponseWriter, payload []byte, account string) {
	var in acmez.Order
	if err := json.Unmarshal(payload, &in); err != nil || len(in.Identifiers) != 1 {
		ca.problem(w, acmez.Problem{Type: acmez.ProblemTypeMalformed, Status: 400})
		return
	}
	if in.Replaces != "" && ca.Replaces != nil {
		ca.problem(w, *ca.Replaces)
		return
	}
	o := &Order{ID: len(ca.Orders) + 1, Host: in.Identifiers[0].Value, Replaces: in.Replaces, Status: acmez.StatusPending,
		Authz: acmez.StatusPending, Token: fmt.Sprintf("token-%d", len(ca.Orders)+1), account: account,
		Profile: in.Profile, NotAfter: in.NotAfter}
	ca.Orders = append(ca.Orders, o)
	ca.showOrder(w, 201, o)
}

func (ca *CA) showOrder(w http.ResponseWriter, status int, o *Order) {
	u, is := ca.Server.URL, o.Status
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

func (ca *CA) showAuthz(w http.ResponseWriter, o *Order) {
	if o.Begun && !ca.slows(w, o, "validating") && o.Authz == acmez.StatusPending {
		ca.decide(o)
	}
	var chals []map[string]any
	for _, typ := range ca.Offer {
		c := map[string]any{"type": typ, "url": fmt.Sprintf("%s/chal/%d/%s", ca.Server.URL, o.ID, typ), "token": o.Token, "status": "pending"}
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

func (ca *CA) challenge(w http.ResponseWriter, o *Order, typ string) {
	o.Kind, o.Begun = typ, true
	if !ca.slows(w, o, "validating") {
		ca.decide(o)
	}
	ca.json(w, 200, map[string]any{"type": typ, "url": fmt.Sprintf("%s/chal/%d/%s", ca.Server.URL, o.ID, typ), "token": o.Token, "status": "processing"})
}

// decide validates the challenge that was begun.
func (ca *CA) decide(o *Order) {
	pub := ca.Accounts[o.account]
	point, err := pub.Bytes() // 4, x, y
	if err != nil {
		ca.T.Error(err)
		return
	}
	thumb := sha256.Sum256(fmt.Appendf(nil, `{"crv":"P-256","kty":"EC","x":"%s","y":"%s"}`,
		base64.RawURLEncoding.EncodeToString(point[1:33]), base64.RawURLEncoding.EncodeToString(point[33:])))
	keyAuth := o.Token + "." + base64.RawURLEncoding.EncodeToString(thumb[:])
	if p := ca.Validate(strings.TrimPrefix(o.Host, "*."), o.Kind, o.Token, keyAuth); p != nil {
		o.Authz, o.Status, o.Error = acmez.StatusInvalid, acmez.StatusInvalid, p
	} else {
		o.Authz, o.Status = acmez.StatusValid, acmez.StatusReady
	}
}

func (ca *CA) finalize(w http.ResponseWriter, o *Order, payload []byte) {
	if o.Status == acmez.StatusReady && len(ca.Lags) > 0 {
		ca.problem(w, ca.Lags[0])
		ca.Lags, o.lagging = ca.Lags[1:], true
		return
	}
	if o.Status != acmez.StatusReady || ca.slows(w, o, "ready") {
		if ca.Strict {
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

func (ca *CA) sign(host string, pub crypto.PublicKey) []byte {
	ca.Serial++
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(ca.Serial), DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(ca.Lifetime - time.Minute)}
	if ca.Responder != "" {
		tmpl.OCSPServer = []string{ca.Responder}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, ca.Cert, pub, ca.Key)
	if err != nil {
		ca.T.Error(err)
	}
	var b bytes.Buffer
	pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: ca.Cert.Raw})
	return b.Bytes()
}

func (ca *CA) ari(w http.ResponseWriter, id string) {
	for i := len(ca.Orders) - 1; i >= 0; i-- {
		block, _ := pem.Decode(ca.Orders[i].Chain)
		if block == nil {
			continue
		}
		leaf, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			continue
		}
		if got, _ := acmez.ARIUniqueIdentifier(leaf); got == id {
			start := leaf.NotAfter.Add(-30 * 24 * time.Hour)
			end := start.Add(48 * time.Hour)
			if ca.Windows != nil {
				start, end = ca.Windows(leaf.NotBefore, leaf.NotAfter)
			}
			w.Header().Set("Retry-After", "21600")
			ca.json(w, 200, map[string]any{"suggestedWindow": map[string]any{"start": start, "end": end}})
			return
		}
	}
	ca.problem(w, acmez.Problem{Type: acmez.ProblemTypeMalformed, Status: 404})
}
