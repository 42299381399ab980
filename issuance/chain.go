package issuance

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"

	"github.com/apoxy-dev/caddy-apoxy/issuance/certfiles"
)

// maxChain is how many certificates of a chain are read.
const maxChain = 10

// Chain reads from storage the certificate that a record is served with, and the chain
// above it, the leaf first: the customer's own where that is shown, else the one that was
// obtained. Empty: there is none. It returns after storedTimeout at the latest.
func (s *Scheduler) Chain(ctx context.Context, hostname, uid string) ([]*x509.Certificate, error) {
	read := s.obtainedChain(hostname)
	if s.ShowsUpload(hostname, uid) {
		read = s.uploadedChain(hostname)
	}
	if read == nil {
		return nil, nil
	}
	chain, err := within(ctx, s.inventory.asking, read)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the certificate of %s: %w", hostname, err)
	}
	return chain, nil
}

type chainReader func(context.Context) ([]*x509.Certificate, error)

// uploadedChain reads the customer's own; nil: there is none.
func (s *Scheduler) uploadedChain(hostname string) chainReader {
	u, storages := s.entries.uploadOf(hostname), s.storages()
	if u == nil || len(storages) == 0 {
		return nil
	}
	return func(ctx context.Context) ([]*x509.Certificate, error) {
		cert, err := certfiles.LoadUpload(ctx, storages[0], u.file(hostname))
		return parseChain(cert.Certificate), err
	}
}

// obtainedChain reads the one that was obtained; nil: there is none.
func (s *Scheduler) obtainedChain(hostname string) chainReader {
	var r dossier
	var cas []*ca
	s.entries.read(hostname, func(e *entry) {
		if e != nil && e.has() {
			r, cas = e.dossier(), s.entries.issuers.cas()
		}
	})
	c := homeOf(cas, r.CA)
	if c == nil {
		return nil
	}
	return func(ctx context.Context) ([]*x509.Certificate, error) {
		have, err := certfiles.At(c.Storage(), r.CA, hostname).Load(ctx)
		if err != nil {
			return nil, err
		}
		var der [][]byte
		for rest := have.Chain; len(der) < maxChain; {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil {
				break
			}
			der = append(der, block.Bytes)
		}
		return parseChain(der), nil
	}
}

// parseChain reads certificates up to the first that cannot be read.
func parseChain(der [][]byte) (out []*x509.Certificate) {
	for _, d := range der[:min(len(der), maxChain)] {
		c, err := x509.ParseCertificate(d)
		if err != nil {
			break
		}
		out = append(out, c)
	}
	return out
}
