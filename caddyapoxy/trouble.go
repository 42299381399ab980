package caddyapoxy

import (
	"github.com/apoxy-dev/caddy-apoxy/hosts"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// stalled reports, from memory, whether the certificate of a hostname is held up
// by something that a handshake cannot wait out: a CA's limit, a failure, CAA.
func (rt *runtime) stalled(hostname string) bool {
	switch rt.scheduler.Observe(hostname).Work {
	case ownership.WorkFailed, ownership.WorkRateLimited, ownership.WorkCAAForbids:
		return true
	}
	return false
}

// inTrouble is stalled, and also true of a hostname that issuance has been kept
// away from because CAA forbids a certificate.
func (rt *runtime) inTrouble(h *hosts.Host) bool { return h.CAAForbids || rt.stalled(h.Hostname) }
