package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"time"
)

const (
	// secretPrefix begins a symmetric secret, and asymmetricPrefix a key for
	// signatures of the other kind (Standard Webhooks, "Signature scheme").
	secretPrefix     = "whsec_"
	asymmetricPrefix = "whsk_"
	// MaxSecret bounds a secret's text, in bytes.
	MaxSecret = 512
	// StrongSecret is the least that a secret should have, in bytes (Standard
	// Webhooks: 24 to 64).
	StrongSecret = 24
)

// Secret is what an endpoint's deliveries are signed with. It is never printed.
type Secret struct {
	keys [][]byte
}

// The errors of ParseSecret; none quotes the secret.
var (
	errSecretEmpty      = errors.New("it is empty: expected whsec_ and base64, as `echo whsec_$(openssl rand -base64 32)` makes it")
	errSecretLong       = errors.New("it has more than " + strconv.Itoa(MaxSecret) + " bytes: expected whsec_ and base64 of 24 to 64 bytes, as `echo whsec_$(openssl rand -base64 32)` makes it")
	errSecretBase64     = errors.New("what follows whsec_ is not base64: expected whsec_ and base64, as `echo whsec_$(openssl rand -base64 32)` makes it")
	errSecretAsymmetric = errors.New("whsk_ begins a private key for asymmetric signatures, which are not made here: expected whsec_ and base64, as `echo whsec_$(openssl rand -base64 32)` makes it")
)

// ParseSecret reads a secret: whsec_ and base64, or any other text. Libraries differ in
// what a text without the prefix means, its bytes or what it decodes to: deliveries are
// then signed with both where it is base64. Errors do not quote it.
func ParseSecret(text string) (Secret, error) {
	encoded, prefixed := strings.CutPrefix(text, secretPrefix)
	switch {
	case encoded == "":
		return Secret{}, errSecretEmpty
	case len(text) > MaxSecret:
		return Secret{}, errSecretLong
	case strings.HasPrefix(text, asymmetricPrefix):
		return Secret{}, errSecretAsymmetric
	}
	decoded, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(encoded, "="))
	switch {
	case prefixed && (err != nil || len(decoded) == 0):
		return Secret{}, errSecretBase64
	case prefixed:
		return Secret{keys: [][]byte{decoded}}, nil
	case err != nil || len(decoded) == 0:
		return Secret{keys: [][]byte{[]byte(text)}}, nil
	}
	return Secret{keys: [][]byte{[]byte(text), decoded}}, nil
}

// Weak tells whether the secret has fewer bytes than it should.
func (s Secret) Weak() bool { return len(s.keys) > 0 && len(s.keys[0]) < StrongSecret }

// String implements fmt.Stringer, and GoString fmt.GoStringer, so that no log shows it.
func (Secret) String() string { return "(secret)" }

// GoString implements fmt.GoStringer.
func (Secret) GoString() string { return "(secret)" }

// Sign returns the header webhook-signature: "v1," and base64 of HMAC-SHA256 over
// id.timestamp.body for each key, separated by spaces.
func Sign(secrets []Secret, id string, at time.Time, body []byte) string {
	var signatures []string
	for _, s := range secrets {
		for _, key := range s.keys {
			mac := hmac.New(sha256.New, key)
			mac.Write([]byte(id + "." + strconv.FormatInt(at.Unix(), 10) + "."))
			mac.Write(body)
			signatures = append(signatures, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
		}
	}
	return strings.Join(signatures, " ")
}
