package caddyapoxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddytls"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
)

func init() {
	caddy.RegisterModule(Permission{})
}

// pendingWait bounds how long a handshake waits for the first look at a record
// that has no proof yet: the visitor may be the first sign of the cutover. How
// many may wait so, the table bounds; the others are refused at once.
const pendingWait = 3 * time.Second

// Permission allows a certificate to be loaded or obtained for a name only
// while the name's record is OwnershipVerified. It answers from memory.
type Permission struct {
	// How long to hold a handshake while the certificate of its name is being
	// issued, instead of refusing it. The name is never allowed before it is
	// verified. Default: 0, not at all.
	Wait caddy.Duration `json:"wait,omitempty"`

	app   *App
	first time.Duration // in place of pendingWait, unless zero
}

// CaddyModule returns the Caddy module information.
func (Permission) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "tls.permission.apoxy", New: func() caddy.Module { return new(Permission) }}
}

// Provision finds the app.
func (p *Permission) Provision(ctx caddy.Context) (err error) {
	if p.Wait < 0 {
		return fmt.Errorf("wait: expected a duration of zero or more, got %s", time.Duration(p.Wait))
	}
	if p.app, err = appFrom(ctx, "tls.permission.apoxy"); err != nil {
		return err
	}
	p.app.permits.Store(true)
	return nil
}

// The refusals are prepared so that a flood of handshakes allocates nothing.
// All wrap caddytls.ErrPermissionDenied.
var (
	errUnknownName  = fmt.Errorf("%w: no DomainRecord has this hostname", caddytls.ErrPermissionDenied)
	errUnverified   = fmt.Errorf("%w: the DomainRecord of this hostname is not OwnershipVerified", caddytls.ErrPermissionDenied)
	errHTTPOnly     = fmt.Errorf("%w: the DomainRecord of this hostname is HTTP-only", caddytls.ErrPermissionDenied)
	errStillIssuing = fmt.Errorf("%w: the certificate of this hostname is still being issued", caddytls.ErrPermissionDenied)
)

// CertificateAllowed returns nil if name is verified, and otherwise an error
// that wraps caddytls.ErrPermissionDenied.
func (p *Permission) CertificateAllowed(ctx context.Context, name string) error {
	rt, err := p.app.runtime(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", caddytls.ErrPermissionDenied, err)
	}
	h, _ := rt.table.Match(name)
	err = decide(h)
	if (err == errUnverified || needsFirst(h, err)) && p.Wait > 0 {
		err = p.wait(ctx, rt, h)
	} else if err == errUnverified {
		rt.hintHandshake(ctx, h.Hostname)
	}
	permissions.count(err)
	return err
}

// decide is the whole policy: h is the record of the name, nil if it has none.
func decide(h *hosts.Host) error {
	switch {
	case h == nil:
		return errUnknownName
	case !h.TLS:
		return errHTTPOnly
	case !h.Verified:
		return errUnverified
	}
	return nil
}

// needsFirst reports whether a name is allowed but its first certificate is
// still on its way, so that waiting spares the visitor a failure. One that has
// just been given TLS is not yet in phase Issuing.
func needsFirst(h *hosts.Host, err error) bool { return err == nil && !h.TLSReady }

// wait holds the handshake while the record is looked at and its certificate
// issued.
func (p *Permission) wait(ctx context.Context, rt *runtime, h *hosts.Host) error {
	hostname, end := h.Hostname, time.Now().Add(time.Duration(p.Wait))
	rt.hintHandshake(ctx, hostname)
	if rt.inTrouble(h) {
		return decide(h) // waiting would not help
	}
	if h.Phase() == v1alpha3.PhasePending || h.Phase() == v1alpha3.PhaseDetached {
		now, err := rt.table.WaitFirst(hostname, min(cmp.Or(p.first, pendingWait), time.Duration(p.Wait)), firstSeen)
		if err != nil {
			return decide(now)
		}
	}
	return p.waitIssued(ctx, rt, hostname, end)
}

// firstSeen reports whether a look has found that a record has a proof.
func firstSeen(h *hosts.Host) bool {
	return h == nil || h.Verified || h.Phase() == v1alpha3.PhaseIssuing
}

// waitIssued holds the handshake until end at most, while the certificate is on
// its way.
func (p *Permission) waitIssued(ctx context.Context, rt *runtime, hostname string, end time.Time) error {
	// All who come for this name meanwhile get this answer: that of a visitor
	// who leaves must be as good as any.
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), end)
	defer cancel()
	now, err := rt.table.Wait(ctx, hostname, func(h *hosts.Host) bool {
		return h == nil || !h.TLS || h.TLSReady || !h.Verified && h.Phase() != v1alpha3.PhaseIssuing || rt.stalled(hostname)
	})
	if errors.Is(err, context.DeadlineExceeded) && now != nil && !now.Verified {
		return errStillIssuing
	}
	return decide(now)
}

// UnmarshalCaddyfile sets up the permission. Syntax:
//
//	permission apoxy {
//		wait <duration>
//	}
func (p *Permission) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the module's name
	if d.NextArg() {
		return d.Errf("permission apoxy takes a block, got %q", d.Val())
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if option := d.Val(); option != "wait" {
			return d.Errf("permission apoxy has no option %q: expected wait", option)
		}
		if err := parseDuration(d, &p.Wait); err != nil {
			return err
		}
	}
	return nil
}

// Interface guards
var (
	_ caddytls.OnDemandPermission = (*Permission)(nil)
	_ caddy.Provisioner           = (*Permission)(nil)
	_ caddyfile.Unmarshaler       = (*Permission)(nil)
)
