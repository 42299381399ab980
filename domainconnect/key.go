package domainconnect

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
)

// KeyLabel is the name below the operator's zone at which the public key is published,
// and what links call it.
const KeyLabel = "_dcpubkeyv1"

// keyBits is the size of a new key: every provider takes it, and it fits into two TXT
// records. A key of another size, up to maxKeyBits, is taken if it was put there.
const (
	keyBits    = 2048
	maxKeyBits = 4096
)

// Key signs links (RS256, RFC 7518 section 3.3).
type Key struct {
	private *rsa.PrivateKey
	records []string
}

// NewKey makes a new key.
func NewKey() (*Key, error) {
	private, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	return keyOf(private)
}

// parseKey reads a key in PKCS #8.
func parseKey(der []byte) (*Key, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errors.New("it is no key in PKCS #8") // the library's words may hold parts of it
	}
	private, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("it is a key of another kind, %T: expected RSA", parsed)
	}
	if bits := private.N.BitLen(); bits < keyBits || bits > maxKeyBits {
		return nil, fmt.Errorf("it has %d bits: expected %d to %d", bits, keyBits, maxKeyBits)
	}
	return keyOf(private)
}

func keyOf(private *rsa.PrivateKey) (*Key, error) {
	public, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("encoding the public key: %w", err)
	}
	return &Key{private: private, records: publicKeyRecords(public)}, nil
}

// marshal gives the key in PKCS #8.
func (k *Key) marshal() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.private)
	if err != nil {
		return nil, fmt.Errorf("encoding the key: %w", err)
	}
	return der, nil
}

// Records are the texts of the TXT records that publish the public key, each of 255
// octets at most: "p=1,a=RS256,d=…" and so on.
func (k *Key) Records() []string { return k.records }

// maxText is the longest string of a TXT record (RFC 1035 section 3.3).
const maxText = 255

func publicKeyRecords(public []byte) []string {
	var records []string
	for rest := base64.StdEncoding.EncodeToString(public); rest != ""; {
		text := "p=" + strconv.Itoa(len(records)+1) + ",a=RS256,d="
		n := min(len(rest), maxText-len(text))
		records = append(records, text+rest[:n])
		rest = rest[n:]
	}
	return records
}

// signed is the query string of the parameters with its signature and the key's name.
// PKCS #1 v1.5 has no chance in it: the same gives the same.
func (k *Key) signed(parameters map[string]string) (string, error) {
	query := canonical(parameters)
	sum := sha256.Sum256([]byte(query))
	sig, err := rsa.SignPKCS1v15(nil, k.private, crypto.SHA256, sum[:])
	if err != nil {
		return "", fmt.Errorf("signing a link: %w", err)
	}
	return query + "&sig=" + escape(base64.StdEncoding.EncodeToString(sig)) + "&key=" + KeyLabel, nil
}
