package caddyapoxy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/apiserver"
	"github.com/apoxy-dev/caddy-apoxy/controller"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
	"github.com/apoxy-dev/caddy-apoxy/issuance"
	"github.com/apoxy-dev/caddy-apoxy/issuance/ownchain"
)

// This file joins the API, the table of records and the scheduler for the certificates
// that customers bring.

// uploads is what the API needs of them.
type uploads struct{ rt *runtime }

// Upload checks a certificate and keeps it for a record.
func (u uploads) Upload(ctx context.Context, r *v1alpha3.DomainRecord, c apiserver.Certificate) error {
	chain, err := ownchain.Check(ownchain.Input{
		Certificates: c.Chain, Key: c.Key, Hostname: r.Spec.Name, Untrusted: c.Untrusted, Now: time.Now(),
	})
	if refused := (*ownchain.Refusal)(nil); errors.As(err, &refused) {
		return &apiserver.InvalidCertificate{Field: refused.Field, Seen: refused.Seen, Expect: refused.Expect}
	}
	if err != nil || c.DryRun {
		return err
	}
	err = u.rt.scheduler.TakeUpload(ctx, r.Spec.Name, string(r.UID), chain)
	if errors.Is(err, issuance.ErrNoIssuers) {
		return fmt.Errorf("%w: %w", apiserver.ErrUnavailable, err)
	}
	return err
}

// Remove removes that of a record.
func (u uploads) Remove(ctx context.Context, r *v1alpha3.DomainRecord, dryRun bool) error {
	if !u.rt.scheduler.HasUpload(r.Spec.Name, string(r.UID)) {
		return apiserver.ErrNoUpload
	}
	if dryRun {
		return nil
	}
	err := u.rt.scheduler.DropUpload(ctx, r.Spec.Name, string(r.UID))
	switch {
	case errors.Is(err, issuance.ErrNoUpload):
		return apiserver.ErrNoUpload
	case errors.Is(err, issuance.ErrNoIssuers):
		return fmt.Errorf("%w: %w", apiserver.ErrUnavailable, err)
	}
	return err
}

// UploadFor is the hostname of the record whose uploaded certificate a handshake for a
// hostname is shown, empty for none. An upload is bound to its record, by hostname and
// uid: whatever other names it is for, it is shown for no other record.
func (a *App) UploadFor(ctx context.Context, hostname string) string {
	rt, err := a.runtime(ctx)
	if err != nil {
		return ""
	}
	own, wild := rt.table.Candidates(hostname)
	return uploadFor(own, wild, rt.scheduler.ShowsUpload)
}

// uploadFor is the whole policy: own is the record of exactly the name, wild that of the
// wildcard above, nil for none. As with certificates that are obtained, a wildcard's is
// shown where the exact record is not verified, or has none ready.
func uploadFor(own, wild *hosts.Host, has func(hostname, uid string) bool) string {
	if own != nil && own.Verified {
		switch {
		case !own.TLS:
			return ""
		case has(own.Hostname, own.UID()):
			return own.Hostname
		case own.TLSReady:
			return ""
		}
	}
	if wild != nil && wild.Verified && wild.TLS && has(wild.Hostname, wild.UID()) {
		return wild.Hostname
	}
	return ""
}

// changed hears of one change of a record: an upload ends with its record.
func (rt *runtime) changed(ch hosts.Change) {
	rt.controller.Changed(ch)
	before := ch.Previous
	if before == nil || ch.Record != nil && ch.Record.UID == before.UID {
		return
	}
	hostname, uid := before.Spec.Name, before.UID
	if rt.scheduler.HasUpload(hostname, string(uid)) {
		rt.work.Go(func() { rt.dropUpload(hostname, uid) })
	}
}

// dropUpload removes the upload of a record that is no more. What fails is removed at the
// next start; it is shown no more in any case.
func (rt *runtime) dropUpload(hostname string, uid types.UID) {
	ctx, cancel := context.WithTimeout(rt.ctx, time.Minute)
	defer cancel()
	if err := rt.scheduler.DropUpload(ctx, hostname, string(uid)); err != nil && !errors.Is(err, issuance.ErrNoUpload) && ctx.Err() == nil {
		rt.logger.Warn("the uploaded certificate of a deleted record is still in storage, and is removed at the next start: " + err.Error())
	}
}

// sweepUploads removes uploads whose records were deleted while nobody was there to see
// it. The table holds all records by now.
func (rt *runtime) sweepUploads(ctx context.Context) error {
	rt.scheduler.SweepUploads(ctx, func(hostname, uid string) bool {
		h, ok := rt.table.Get(hostname)
		return ok && h.IsUID(uid)
	})
	return nil
}

// eventCertificateExpiring is raised 30, 14 and 3 days before the end of a customer's own
// certificate that nothing takes the place of.
const eventCertificateExpiring = "apoxy.certificate_expiring"

// certificateExpiring has the event raised.
func (rt *runtime) certificateExpiring(e issuance.Expiring) {
	h, ok := rt.table.Get(e.Hostname)
	if !ok || !h.IsUID(e.UID) {
		return // it ended with its record
	}
	rt.emit(controller.Transition{
		Event: eventCertificateExpiring, Name: h.Name(), Hostname: e.Hostname, Type: v1alpha3.ConditionTLSReady,
		Reason: "UploadExpiring", Message: e.Message, Once: e.UID + " " + e.Message,
	})
}

// The events of orders that have ended.
const (
	eventCertificateObtained = "apoxy.certificate_obtained"
	eventCertificateFailed   = "apoxy.certificate_failed"
)

// certificateOrdered has the event raised.
func (rt *runtime) certificateOrdered(o issuance.Ordered) {
	h, ok := rt.table.Get(o.Hostname)
	if !ok {
		return // it ended with its record
	}
	t := controller.Transition{
		Event: eventCertificateFailed, Name: h.Name(), Hostname: o.Hostname, Type: v1alpha3.ConditionTLSReady,
		Reason: v1alpha3.ReasonCertificateError, Message: o.Message,
	}
	if o.Obtained {
		t.Event, t.Reason = eventCertificateObtained, v1alpha3.ReasonCertificateIssued
	}
	rt.emit(t)
}

var _ apiserver.Certificates = uploads{}
