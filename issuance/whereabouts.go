package issuance

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/caddyserver/certmagic"

	"github.com/apoxy-dev/caddy-apoxy/issuance/certfiles"
)

// whereabouts is where the certificate of a dossier is.
type whereabouts uint8

const (
	unsure      whereabouts = iota // storage could not tell
	there                          // in its place
	replacement                    // another one that counts for the record is in its place
	missing                        // no certificate that a handshake could be shown is there
)

// whereabouts looks where the certificate is. If it is in its place that costs one read.
// An error means that storage could not tell.
func (j *job) whereabouts(ctx context.Context) (whereabouts, error) {
	c := j.home()
	if c == nil {
		return missing, nil // Caddy does not look at the files of issuers that are not configured
	}
	site := j.site(c)
	if site.InPlace(ctx, j.rec.Serial) {
		return there, nil
	}
	have, err := site.Load(ctx)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if site.Compromised(ctx) {
			return there, nil // certmagic has moved its key away; a revoked certificate is replaced anyway (ocsp.go)
		}
		return missing, nil
	case err != nil:
		return unsure, err
	case fmt.Sprintf("%x", have.Leaf.SerialNumber) == j.rec.Serial:
		return there, nil
	case have.Leaf.VerifyHostname(verifiable(j.hostname)) != nil || !j.now().Before(have.Leaf.NotAfter):
		return missing, nil
	}
	p := have.Meta.Provenance
	if p == nil {
		return there, nil // another issuer, such as Caddy's own, has stored it, and handshakes show it
	}
	if (&dossier{UID: p.UID, Owner: p.Owner}).proves(j.want) {
		return replacement, nil
	}
	return missing, nil
}

// home is the CA that the certificate is from. If no issuer line of ours names it, it is
// one whose configuration has an issuer of another kind, such as Caddy's own, with the
// same files; nil: there is none.
func (j *job) home() *ca { return homeOf(j.cas, j.rec.CA) }

// homeOf is home for the CA of a key.
func homeOf(cas []*ca, key string) *ca {
	if c := caOf(cas, key); c != nil {
		return c
	}
	for _, c := range cas {
		if c.cfg != nil && slices.ContainsFunc(c.cfg.Issuers, func(i certmagic.Issuer) bool { return i.IssuerKey() == key }) {
			return c
		}
	}
	return nil
}

// ratio is that of home, 0 without one.
func (j *job) ratio() float64 {
	if c := j.home(); c != nil {
		return c.ratio
	}
	return 0
}

// site is where the certificate of the dossier lies in the storage of an authority.
func (j *job) site(c *ca) certfiles.Site {
	return certfiles.At(c.Storage(), j.rec.CA, j.hostname)
}

// keyFile is where a handshake looks for the certificate of the dossier.
func (j *job) keyFile() string { return certfiles.At(nil, j.rec.CA, j.hostname).KeyFile() }

// goneFrom says where a certificate was expected, and what was seen there.
func goneFrom(cas []*ca, hostname string, r *dossier) string {
	key := certfiles.At(nil, r.CA, hostname).KeyFile()
	if c := homeOf(cas, r.CA); c != nil {
		return certfiles.NameOf(c.Storage()) + " has no readable and unexpired certificate at " + key
	}
	return "it is of " + r.CA + ", for which no issuer is configured any more, so that Caddy does not look at " + key
}

// storageName names the storage of home for messages, empty without one.
func (j *job) storageName() string {
	if c := j.home(); c != nil {
		return certfiles.NameOf(c.Storage())
	}
	return ""
}
