package certfiles

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/caddyserver/certmagic"
)

// This file keeps certificates that customers brought. They lie in Caddy's storage, as
// all others, but in a folder of their own that certmagic does not know: it would show a
// certificate to every name that is in it, and theirs may hold names of others.

// uploadsDir is the folder of uploads in storage.
const uploadsDir = "uploads"

// Upload names one certificate that a customer brought, and the record it is for.
type Upload struct {
	Hostname string // of the record
	UID      string // of the record
	Sum      string // of the chain, see SumOf
}

// SumOf identifies a chain: SHA-256 over its certificates in DER, in hexadecimal.
func SumOf(chain []*x509.Certificate) string {
	h := sha256.New()
	for _, c := range chain {
		h.Write(c.Raw)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// folder has the uploads of one hostname. Old ones are there for a moment only.
func (u Upload) folder() string {
	return path.Join(uploadsDir, certmagic.StorageKeys.Safe(u.Hostname))
}

// key is where the upload lies. Uid and sum are in it, so that neither another record of
// the hostname nor a later upload shares it: what the index names is whole, or not there.
func (u Upload) key() string {
	return path.Join(u.folder(), certmagic.StorageKeys.Safe(u.UID)+"-"+u.Sum[:min(32, len(u.Sum))]+".pem")
}

// Key is the key of storage at which the upload lies, for people to read.
func (u Upload) Key() string { return u.key() }

// uploadMeta is what lies with an upload, so that it can be told whose it is.
type uploadMeta struct {
	Hostname string `json:"hostname"`
	UID      string `json:"uid"`
	Sum      string `json:"sum"`
}

// SaveUpload stores chain and key in one file.
func SaveUpload(ctx context.Context, st certmagic.Storage, u Upload, chain []*x509.Certificate, key crypto.PrivateKey) error {
	keyPEM, err := certmagic.PEMEncodePrivateKey(key)
	if err != nil {
		return fmt.Errorf("encoding the private key: it is a %T", key) // the error itself might tell of the key
	}
	var certs []byte
	for _, c := range chain {
		certs = append(certs, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	meta, err := json.Marshal(uploadMeta(u))
	if err != nil {
		return fmt.Errorf("encoding what is stored with an upload: %w", err)
	}
	whole, err := joinBundle(keyPEM, certs, meta)
	if err != nil {
		return err
	}
	if err := Unwrap(st).Store(ctx, u.key(), whole); err != nil {
		return fmt.Errorf("storing %s: %w", u.key(), err)
	}
	return nil
}

// errDamaged is what is wrong with an upload that cannot be used.
var errDamaged = errors.New("it is not what was stored")

// LoadUpload reads an upload. The error is fs.ErrNotExist if it is not there, or is
// damaged or another's; any other one means that storage failed, which says nothing of
// the upload.
func LoadUpload(ctx context.Context, st certmagic.Storage, u Upload) (tls.Certificate, error) {
	raw, err := Unwrap(st).Load(ctx, u.key())
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("reading %s: %w", u.key(), err)
	}
	cert, err := decodeUpload(raw, u)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("reading %s (%v): %w", u.key(), err, fs.ErrNotExist)
	}
	return cert, nil
}

func decodeUpload(raw []byte, u Upload) (tls.Certificate, error) {
	b, ok := splitBundle(raw)
	var meta uploadMeta
	if !ok || json.Unmarshal(b.meta, &meta) != nil || Upload(meta) != u {
		return tls.Certificate{}, errDamaged
	}
	cert, err := tls.X509KeyPair(b.chain, b.key)
	if err != nil {
		return tls.Certificate{}, errDamaged
	}
	h := sha256.New()
	for _, der := range cert.Certificate {
		h.Write(der)
	}
	if hex.EncodeToString(h.Sum(nil)) != u.Sum {
		return tls.Certificate{}, errDamaged
	}
	if cert.Leaf == nil { // by GODEBUG
		if cert.Leaf, err = x509.ParseCertificate(cert.Certificate[0]); err != nil {
			return tls.Certificate{}, errDamaged
		}
	}
	return cert, nil
}

// DropUploads deletes the uploads of a hostname, but for those that are kept.
func DropUploads(ctx context.Context, st certmagic.Storage, hostname string, kept ...Upload) error {
	st, folder := Unwrap(st), Upload{Hostname: hostname}.folder()
	keys, err := st.List(ctx, folder, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("listing %s: %w", folder, err)
	}
	var gone []string
	for _, key := range keys {
		if strings.HasPrefix(key, folder+"/") && !slices.ContainsFunc(kept, func(u Upload) bool { return u.key() == key }) {
			gone = append(gone, key)
		}
	}
	if len(kept) == 0 {
		gone = append(gone, folder)
	}
	return DeleteKeys(ctx, st, gone)
}

// uploadLock is the lock under which the uploads of a hostname change. It is not that of
// orders, which may be held for long.
func uploadLock(hostname string) string { return "upload_" + hostname }

// LockUploads takes the lock of a hostname's uploads; the returned function releases it.
func LockUploads(ctx context.Context, st certmagic.Storage, hostname string) (unlock func() error, err error) {
	st = Unwrap(st)
	if err := st.Lock(ctx, uploadLock(hostname)); err != nil {
		return nil, fmt.Errorf("locking the uploads of %s in storage: %w", hostname, err)
	}
	return func() error { return st.Unlock(context.WithoutCancel(ctx), uploadLock(hostname)) }, nil
}
