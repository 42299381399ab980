package caddyapoxy

import (
	"crypto/x509"
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddypki"
)

// withPKIRoot adds the root certificate of one of the pki app's authorities to
// the pool, which may be nil. The authority is made if there is none yet.
func withPKIRoot(ctx caddy.Context, pool *x509.CertPool, id string) (*x509.CertPool, error) {
	app, err := ctx.App("pki")
	if err != nil {
		return nil, fmt.Errorf("getting the pki app: %w", err)
	}
	ca, err := app.(*caddypki.PKI).GetCA(ctx, id)
	if err != nil {
		return nil, err
	}
	if pool == nil {
		pool = x509.NewCertPool()
	}
	pool.AddCert(ca.RootCertificate())
	return pool, nil
}
