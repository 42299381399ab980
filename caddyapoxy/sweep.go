package caddyapoxy

import (
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddytls"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/issuance"
)

// manyCertificates is the number above which Caddy's sweep of its storage,
// which lists and parses every certificate, costs more than it finds.
const manyCertificates = 10_000

// warnOfSweep says so if Caddy sweeps a storage with very many certificates. It
// returns at once.
func (a *App) warnOfSweep() {
	app, err := a.ctx.AppIfConfigured("tls")
	if err != nil {
		return // nothing is swept
	}
	if every, sweeps := sweeps(app.(*caddytls.TLS)); sweeps {
		go a.warnIfMany(a.held.scheduler, every)
	}
}

func (a *App) warnIfMany(s *issuance.Scheduler, every time.Duration) {
	n, err := s.Indexed(a.ctx)
	if err == nil && n > manyCertificates { // an error: another configuration asks again
		a.logger.Warn("Caddy lists and reads every certificate in storage; add `storage_clean_interval off` to the global options, "+
			"what is of no use any more is removed without it",
			zap.Int("certificates", n), zap.Duration("interval", every))
	}
}

// sweeps reports whether, and how often, Caddy cleans its storage.
func sweeps(t *caddytls.TLS) (time.Duration, bool) {
	if t.DisableStorageClean {
		return 0, false
	}
	if t.Automation != nil && t.Automation.StorageCleanInterval > 0 {
		return time.Duration(t.Automation.StorageCleanInterval), true
	}
	return 24 * time.Hour, true
}
