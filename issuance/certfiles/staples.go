package certfiles

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/caddyserver/certmagic"
)

// Staples returns the keys under which certmagic may have stored OCSP staples of the
// stored certificate. certmagic names a staple by a hash of the chain's bytes, as
// they are stored or as it encodes them again.
func (s Site) Staples(ctx context.Context) []string {
	chain, err := Unwrap(s.Storage).Load(ctx, s.place().with(extChain))
	if err != nil {
		return nil
	}
	leaf, err := LeafOf(chain)
	if err != nil || len(leaf.OCSPServer) == 0 {
		return nil
	}
	var cert certmagic.Certificate
	if cn := leaf.Subject.CommonName; cn != "" {
		cert.Names = []string{strings.ToLower(cn)}
	} else if len(leaf.DNSNames) > 0 {
		cert.Names = []string{strings.ToLower(leaf.DNSNames[0])}
	}
	var again bytes.Buffer
	for rest := chain; ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		_ = pem.Encode(&again, &pem.Block{Type: b.Type, Bytes: b.Bytes}) // a buffer takes all
	}
	keys := []string{certmagic.StorageKeys.OCSPStaple(&cert, chain)}
	if other := certmagic.StorageKeys.OCSPStaple(&cert, again.Bytes()); other != keys[0] {
		keys = append(keys, other)
	}
	return keys
}

// DeleteKeys deletes keys of storage. It is no error if one does not exist.
func DeleteKeys(ctx context.Context, st certmagic.Storage, keys []string) error {
	var errs []error
	for _, k := range keys {
		if err := st.Delete(ctx, k); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("deleting %s: %w", k, err))
		}
	}
	return errors.Join(errs...)
}

// stapleSuffix is the end of the key under which certmagic stores the staple of a chain.
// It does not depend on the certificate's name.
func stapleSuffix(chain []byte) string {
	return "-" + path.Base(certmagic.StorageKeys.OCSPStaple(&certmagic.Certificate{}, chain))
}
