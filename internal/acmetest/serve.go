package acmetest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strings"

	acmez "github.com/mholt/acmez/v3/acme"
)

func (ca *CA) nonce(w http.ResponseWriter) {
	b := make([]byte, 12)
	rand.Read(b)
	n := base64.RawURLEncoding.EncodeToString(b)
	ca.nonces[n] = true
	w.Header().Set("Replay-Nonce", n)
}

// ServeHTTP answers a request, without a network between if a test wants none.
func (ca *CA) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/")
	kind, id, _ := strings.Cut(path, "/")
	ca.Mu.Lock()
	defer ca.Mu.Unlock()
	ca.Requests[kind]++
	ca.nonce(w)
	if ca.Inject != nil {
		if in := ca.Inject(path); in != nil {
			for k, v := range in.Header {
				w.Header().Set(k, v)
			}
			in.Problem.Status = in.Status
			ca.problem(w, in.Problem)
			return
		}
	}
	u := ca.Server.URL
	switch kind {
	case "dir":
		ca.json(w, 200, map[string]any{"newNonce": u + "/nonce", "newAccount": u + "/account", "newOrder": u + "/order",
			"revokeCert": u + "/revoke", "renewalInfo": u + "/ari", "meta": map[string]any{"caaIdentities": ca.Identities,
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
			ca.Bound = in.ExternalAccountBinding
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
func (ca *CA) verify(w http.ResponseWriter, r *http.Request) (payload []byte, account string, ok bool) {
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
	if head.URL != ca.Server.URL+r.URL.Path {
		return fail(acmez.ProblemTypeUnauthorized, "url")
	}
	var pub *ecdsa.PublicKey
	if head.KID != "" {
		account = head.KID[strings.LastIndex(head.KID, "/")+1:]
		if p, bad := ca.Faults[account]; bad {
			ca.problem(w, p)
			return nil, "", false
		}
		if pub = ca.Accounts[account]; pub == nil {
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
		ca.Accounts[account] = pub
	}
	sig, _ := base64.RawURLEncoding.DecodeString(jws.Signature)
	digest := sha256.Sum256([]byte(jws.Protected + "." + jws.Payload))
	if len(sig) != 64 || !ecdsa.Verify(pub, digest[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])) {
		return fail(acmez.ProblemTypeUnauthorized, "signature")
	}
	payload, _ = base64.RawURLEncoding.DecodeString(jws.Payload)
	return payload, account, true
}

func (ca *CA) json(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

func (ca *CA) problem(w http.ResponseWriter, p acmez.Problem) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	json.NewEncoder(w).Encode(p)
}
