package certstorage

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// idSize is how long an ID is, in bytes.
const idSize = 8

// ID names a key of encryption and tells nothing of it.
type ID [idSize]byte

// String is the ID in hexadecimal.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// keySize is that of AES-256, in bytes.
const keySize = 32

// Key encrypts values. It is good for some four thousand million of them (NIST SP
// 800-38D, section 8.3).
type Key struct {
	id   ID
	aead cipher.AEAD
}

// ParseID reads an ID as logs and errors have it.
func ParseID(text string) (ID, error) {
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != idSize {
		return ID{}, fmt.Errorf("%.40q: expected the ID of a key, as errors name it: %d hexadecimal digits", text, 2*idSize)
	}
	return ID(raw), nil
}

// ParseKey reads a key: 32 bytes in base64, standard or for URLs, or in hexadecimal,
// with white space around it as files have. The error does not quote it.
func ParseKey(text string) (Key, error) {
	text = strings.TrimSpace(text)
	var secret []byte
	for _, decode := range []func(string) ([]byte, error){
		hex.DecodeString, base64.StdEncoding.DecodeString, base64.RawStdEncoding.DecodeString,
		base64.URLEncoding.DecodeString, base64.RawURLEncoding.DecodeString,
	} {
		if raw, err := decode(text); err == nil && len(raw) == keySize {
			secret = raw
			break
		}
	}
	if secret == nil {
		return Key{}, fmt.Errorf("the text has %d characters: expected 32 random bytes in base64 or hexadecimal, as `openssl rand -base64 32` makes them", len(text))
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		return Key{}, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return Key{}, err
	}
	sum := sha256.Sum256(append([]byte("caddy-apoxy storage key\x00"), secret...))
	return Key{ID(sum[:idSize]), aead}, nil
}

// ID names the key.
func (k Key) ID() ID { return k.id }

// Keyring is the keys at hand: the first seals, and all open. Without a key values are
// kept as they are.
type Keyring []Key

// NewKeyring refuses a key that stands there twice.
func NewKeyring(keys ...Key) (Keyring, error) {
	for i, k := range keys {
		if slices.ContainsFunc(keys[:i], func(o Key) bool { return o.id == k.id }) {
			return nil, fmt.Errorf("key %s stands there twice", k.id)
		}
	}
	return keys, nil
}

// has tells whether a key is at hand.
func (r Keyring) has(id ID) bool {
	return slices.ContainsFunc(r, func(k Key) bool { return k.id == id })
}

// seals tells whether a value of this header is as seal would make it now.
func (r Keyring) seals(h header) bool {
	return len(r) == 0 && !h.sealed || len(r) > 0 && h.sealed && h.key == r[0].id
}

func (r Keyring) String() string {
	if len(r) == 0 {
		return "none is given"
	}
	ids := make([]string, len(r))
	for i, k := range r {
		ids[i] = k.id.String()
	}
	return "given: " + strings.Join(ids, ", ")
}

// UnknownKeyError says that a value, or a store, needs a key that is not at hand.
type UnknownKeyError struct {
	Key   ID
	given string
}

func (e *UnknownKeyError) Error() string {
	return fmt.Sprintf("encrypted with key %s, which is not among encryption_key (%s): add that key, after the one that is to encrypt, or if nobody has it any more, `lost_key %s`, which gives up what it encrypted", e.Key, e.given, e.Key)
}

// errForged: a value does not open with the key that it names.
var errForged = errors.New("it does not decrypt with the key that it names: it was changed or moved from another key, or is damaged: restore it from a backup")

// seal makes what is kept for a value at key.
func (r Keyring) seal(key string, value []byte, modified time.Time) []byte {
	if len(r) == 0 {
		return append(newHeader(unsealed, modified, len(value)), value...)
	}
	sealing, content := byte(sealed), value
	if small := compacted(value); small != nil {
		sealing, content = sealedCompacted, small
	}
	head := append(newHeader(sealing, modified, len(value)), r[0].id[:]...)
	nonce := make([]byte, nonceSize)
	_, _ = rand.Read(nonce) // never fails
	raw := append(head, nonce...)
	return r[0].aead.Seal(raw, nonce, content, additional(head, key))
}

// open returns the value of what is kept at key, and its header.
func (r Keyring) open(key string, raw []byte) ([]byte, header, error) {
	h, err := parseHeader(raw)
	if err != nil {
		return nil, h, err
	}
	if !h.sealed {
		return raw[plainHeader:], h, nil
	}
	i := slices.IndexFunc(r, func(k Key) bool { return k.id == h.key })
	if i < 0 {
		return nil, h, fmt.Errorf("it is %w", &UnknownKeyError{h.key, r.String()})
	}
	head, nonce := raw[:plainHeader+idSize], raw[plainHeader+idSize:sealedHeader]
	value, err := r[i].aead.Open(nil, nonce, raw[sealedHeader:], additional(head, key))
	if err == nil && h.compact {
		value, err = decoder.DecodeAll(value, nil)
	}
	if err != nil || int64(len(value)) != h.size {
		return nil, h, errForged
	}
	return value, h, nil
}

// additional is what is authenticated beside a value.
func additional(head []byte, key string) []byte {
	return append(slices.Clip(slices.Clone(head)), key...)
}
