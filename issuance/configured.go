package issuance

import (
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
)

// ca is a CA in one configuration.
type ca struct {
	*acme.CA
	cfg      *certmagic.Config
	ratio    float64  // of lifetime remaining at renewal; 0: the scheduler's own rule
	identity string   // of its account, as the issuer line says
	names    []string // what records may call it, lower case
	methods  []string // challenge types that are not ruled out, best first
}

func newCA(a acme.Authority, cfg *certmagic.Config, ratio float64, log *zap.Logger) *ca {
	return &ca{CA: acme.NewCA(a, func() certmagic.Storage { return cfg.Storage }, log), cfg: cfg, ratio: ratio,
		identity: a.Identity(), names: a.Names(), methods: a.Methods()}
}
