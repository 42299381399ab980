package caddyapoxy

import (
	"context"
	"strings"

	"github.com/apoxy-dev/caddy-apoxy/hosts"
	"github.com/apoxy-dev/caddy-apoxy/issuance/certfiles"
)

// Shows says whose certificate a handshake for a hostname is shown: that of the
// record that serves it. Like the permission it waits for the records in the
// first moments of the process.
func (a *App) Shows(ctx context.Context, hostname string) certfiles.Shown {
	rt, err := a.runtime(ctx)
	if err != nil {
		return certfiles.ShowAny
	}
	own, wild := rt.table.Candidates(hostname)
	if own != nil && own.Verified && own.TLS && rt.scheduler.Foreign(own.Hostname, own.UID(), own.Owner()) {
		return certfiles.HideOwn // the certificate of another owner serves nobody
	}
	return shown(strings.HasPrefix(hostname, "*."), own, wild)
}

// shown is the whole policy: own is the record of exactly the name, wild that of
// the wildcard above, nil for none; wildcard: the name itself is a wildcard's.
// One whose own certificate is not ready is left to what is there, the
// wildcard's as a rule: that is better than no handshake.
func shown(wildcard bool, own, wild *hosts.Host) certfiles.Shown {
	verified := own != nil && own.Verified
	switch {
	case wildcard && !verified:
		return certfiles.HideOwn
	case wildcard || wild == nil:
		return certfiles.ShowAny
	case verified && own.TLS && own.TLSReady:
		return certfiles.ShowOwn
	case !verified && wild.Verified:
		return certfiles.HideOwn
	}
	return certfiles.ShowAny
}
