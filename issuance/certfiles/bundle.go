package certfiles

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// This file defines the content of the .key files that are stored here: the private
// key in PEM, then the certificate chain, then the metadata in a PEM block of our own.
// A handshake needs no other file, and because storages replace a file as a whole, the
// three always belong together. Readers that do not know this form, such as crypto/tls
// and certmagic, use the first block, the key. The file is as secret as a key file.

const (
	metadataType = "CADDY APOXY METADATA"
	// headerSerial is the certificate's serial number as the index writes it.
	headerSerial = "Serial"
	// headerOCSP is "none" if the certificate names no OCSP responder: then no staple
	// is stored for it.
	headerOCSP = "OCSP"
)

var (
	chainMark    = []byte("-----BEGIN CERTIFICATE-----")
	metadataMark = []byte("-----BEGIN " + metadataType + "-----")
)

// bundle is what a .key file holds.
type bundle struct {
	// key and chain are PEM, meta is what the .json file holds.
	key, chain, meta []byte
	serial           string
	// unstapled reports that the certificate names no OCSP responder.
	unstapled bool
}

// joinBundle makes the content of a .key file of all three. Text that a CA writes
// before the first certificate of the chain is left out. It is an error if that
// certificate cannot be read.
func joinBundle(key, chain, meta []byte) ([]byte, error) {
	leaf, err := LeafOf(chain)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate to store: %w", err)
	}
	headers := map[string]string{headerSerial: fmt.Sprintf("%x", leaf.SerialNumber)}
	if len(leaf.OCSPServer) == 0 {
		headers[headerOCSP] = "none"
	}
	chain = chain[max(bytes.Index(chain, chainMark), 0):]
	out := make([]byte, 0, len(key)+len(chain)+2*len(meta)+256)
	for _, part := range [][]byte{key, chain} {
		if out = append(out, part...); !bytes.HasSuffix(part, []byte("\n")) {
			out = append(out, '\n')
		}
	}
	out = append(out, pem.EncodeToMemory(&pem.Block{Type: metadataType, Headers: headers, Bytes: meta})...)
	if _, ok := splitBundle(out); !ok {
		return nil, errors.New("joining key, certificate and metadata: they cannot be told apart again")
	}
	return out, nil
}

// splitBundle takes the content of a .key file apart; false: it has another form, most
// likely a key alone.
func splitBundle(raw []byte) (bundle, bool) {
	// Our block is the last one. It is not searched for within the chain, because what
	// is there is the CA's.
	at, end := bytes.Index(raw, chainMark), bytes.LastIndex(raw, metadataMark)
	if at <= 0 || end <= at || raw[at-1] != '\n' || raw[end-1] != '\n' {
		return bundle{}, false
	}
	if key, rest := pem.Decode(raw[:at]); key == nil || !strings.HasSuffix(key.Type, "PRIVATE KEY") || len(rest) > 0 {
		return bundle{}, false
	}
	meta, rest := pem.Decode(raw[end:])
	if meta == nil || meta.Type != metadataType || len(rest) > 0 {
		return bundle{}, false
	}
	return bundle{
		key: raw[:at:at], chain: raw[at:end:end], meta: meta.Bytes,
		serial: meta.Headers[headerSerial], unstapled: meta.Headers[headerOCSP] == "none",
	}, true
}

// keyOf returns the private key of a .key file without what follows it.
func keyOf(raw []byte) []byte {
	if b, ok := splitBundle(raw); ok {
		return b.key
	}
	return raw
}

// isKey reports whether raw begins with a private key in PEM.
func isKey(raw []byte) bool {
	block, _ := pem.Decode(raw)
	return block != nil && strings.HasSuffix(block.Type, "PRIVATE KEY")
}

// isLater reports whether the certificate of chain was issued after that of than, or
// than is empty.
func isLater(chain, than []byte) (bool, error) {
	leaf, err := LeafOf(chain)
	if err != nil || len(than) == 0 {
		return err == nil, err
	}
	old, err := LeafOf(than)
	return err == nil && leaf.NotBefore.After(old.NotBefore), err
}
