package setup

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Link is what a link says: whose page it opens, and until when.
type Link struct {
	// Name is metadata.name of the record, and UID its metadata.uid: a later record of
	// the same name is another one.
	Name, UID string
	// Expires is when it ends, in whole seconds.
	Expires time.Time
}

// What is wrong with a token. Nothing else is told of it.
var (
	// ErrForged: it was not signed with the key, or is none.
	ErrForged = errors.New("the link is not valid")
	// ErrExpired: it was signed with the key, and has ended.
	ErrExpired = errors.New("the link has expired")
)

// The form of a token: unpadded base64url (RFC 4648 section 5) of
//
//	version 1 | expiry, seconds since 1970, big-endian 8 | length of the uid 1 | uid | name | HMAC-SHA256 32
//
// where the length 0 stands for a uid that is a UUID in its usual form, in 16 octets.
const (
	tokenVersion = 1
	tokenHead    = 1 + 8 + 1
	maxTokenUID  = 128
	maxTokenName = 253
	maxExpires   = 1 << 40

	// KeySize is the size of the key that tokens are signed with, in octets.
	KeySize = sha256.Size
)

// maxToken bounds what is decoded at all, and minToken what may be one.
var (
	maxToken = tokenEncoding.EncodedLen(tokenHead + maxTokenUID + maxTokenName + sha256.Size)
	minToken = tokenEncoding.EncodedLen(tokenHead + 2 + sha256.Size)
)

// tokenEncoding is strict, so that no two texts are the same token.
var tokenEncoding = base64.RawURLEncoding.Strict()

// Sign returns the token of a link.
func Sign(key []byte, l Link) (string, error) {
	switch {
	case len(key) != KeySize:
		return "", fmt.Errorf("signing a link: the key has %d octets, want %d", len(key), KeySize)
	case l.Name == "" || len(l.Name) > maxTokenName:
		return "", fmt.Errorf("signing a link: the record's name has %d octets, want 1 to %d", len(l.Name), maxTokenName)
	case l.UID == "" || len(l.UID) > maxTokenUID:
		return "", fmt.Errorf("signing a link: the record's uid has %d octets, want 1 to %d", len(l.UID), maxTokenUID)
	}
	until := l.Expires.Unix()
	if until <= 0 || until > maxExpires {
		return "", fmt.Errorf("signing a link: the end %s is out of range", l.Expires)
	}
	b := append(make([]byte, 0, tokenHead+len(l.UID)+len(l.Name)+sha256.Size), tokenVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(until))
	if packed, ok := packUID(l.UID); ok {
		b = append(append(b, 0), packed[:]...)
	} else {
		b = append(append(b, byte(len(l.UID))), l.UID...)
	}
	b = append(b, l.Name...)
	return tokenEncoding.EncodeToString(append(b, sum(key, b)...)), nil
}

// Verify reads a token at a time. The error is ErrForged or ErrExpired.
func Verify(key []byte, token string, now time.Time) (Link, error) {
	if len(key) != KeySize || len(token) < minToken || len(token) > maxToken || strings.ContainsAny(token, "\r\n") { // which decoding passes over
		return Link{}, ErrForged
	}
	b, err := tokenEncoding.DecodeString(token)
	if err != nil || len(b) < tokenHead+sha256.Size {
		return Link{}, ErrForged
	}
	said, mac := b[:len(b)-sha256.Size], b[len(b)-sha256.Size:]
	if !hmac.Equal(mac, sum(key, said)) || said[0] != tokenVersion {
		return Link{}, ErrForged
	}
	until := binary.BigEndian.Uint64(said[1:9])
	l, ok := unpack(said[9], said[tokenHead:])
	if !ok || until > maxExpires {
		return Link{}, ErrForged
	}
	l.Expires = time.Unix(int64(until), 0).UTC()
	if !now.Before(l.Expires) {
		return Link{}, ErrExpired
	}
	return l, nil
}

// unpack parts uid and name; n is the uid's length.
func unpack(n byte, rest []byte) (l Link, ok bool) {
	size := int(n)
	if n == 0 {
		size = len(uuid.UUID{})
	}
	if len(rest) <= size {
		return l, false
	}
	l.UID, l.Name = string(rest[:size]), string(rest[size:])
	if n == 0 {
		l.UID = uuid.UUID(rest[:size]).String()
	}
	return l, true
}

// packUID is a uid in 16 octets, if it is a UUID as it is usually written.
func packUID(uid string) (packed uuid.UUID, ok bool) {
	packed, err := uuid.Parse(uid)
	return packed, err == nil && packed.String() == uid
}

func sum(key, said []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(said)
	return h.Sum(nil)
}
