package caddyapoxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/apiserver"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
	"github.com/apoxy-dev/caddy-apoxy/issuance"
	"github.com/apoxy-dev/caddy-apoxy/issuance/revocation"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// This file is what the API asks of a runtime beside its store.

// checkHere looks at a record now, and lets a certificate that failed be tried
// again now: who asks for a check has just mended something.
func (rt *runtime) checkHere(ctx context.Context, name string) error {
	if err := rt.waitTold(ctx); err != nil {
		return err
	}
	if err := rt.controller.Check(ctx, name); err != nil {
		return err
	}
	entry, _, err := rt.store.Get(ctx, hosts.Prefix+name)
	if err != nil {
		return fmt.Errorf("reading record %s: %w", name, err)
	}
	var r v1alpha3.DomainRecord
	if err := json.Unmarshal(entry.Value, &r); err != nil {
		return fmt.Errorf("decoding record %s: %w", name, err)
	}
	rt.scheduler.Retry(r.Spec.Name)
	return nil
}

// revoke has the certificate of a hostname revoked.
func (rt *runtime) revoke(ctx context.Context, hostname, reason string) error {
	code, err := revocation.Reason(reason)
	if err != nil {
		return fmt.Errorf("%w: %w", apiserver.ErrRevocationReason, err)
	}
	err = rt.scheduler.Revoke(ctx, hostname, code)
	if errors.Is(err, issuance.ErrNoCertificate) {
		return apiserver.ErrNoCertificate
	}
	return err
}

// prepare fills the status that a new record is answered with, so that it names
// from the first what the customer is to create.
func (rt *runtime) prepare(r, replaced *v1alpha3.DomainRecord) {
	ctx, cancel := context.WithTimeout(rt.ctx, 5*time.Second)
	defer cancel()
	contest, err := rt.controller.Contest(ctx, r, replaced)
	if err != nil {
		rt.logger.Warn("whether a new record needs a token is left to the first look", zap.String("name", r.Name), zap.Error(err))
	}
	r.Status = ownership.Initial(r, contest, rt.settings(), time.Now())
}

// reserved tells whether the configuration in force serves hostname itself.
func (rt *runtime) reserved(hostname string) (by string, yes bool) {
	if a := rt.apps.Current(); a != nil {
		by, yes = a.reservedBy(hostname)
	}
	return by, yes
}
