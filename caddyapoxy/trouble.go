package caddyapoxy

import (
	"encoding/json"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
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

// inTrouble is stalled, and also true where the record says so of a hostname
// that issuance has been kept away from, such as one that CAA forbids. It reads
// the record, and is for handshakes only that would otherwise be held.
func (rt *runtime) inTrouble(hostname string) bool {
	if rt.stalled(hostname) {
		return true
	}
	h, ok := rt.table.Get(hostname)
	if !ok {
		return false
	}
	entry, _, err := rt.store.Get(rt.ctx, hosts.Prefix+h.Name)
	if err != nil {
		return false
	}
	var r v1alpha3.DomainRecord
	if json.Unmarshal(entry.Value, &r) != nil {
		return false
	}
	c := r.Status.Condition(v1alpha3.ConditionTLSReady)
	return c != nil && c.Reason == v1alpha3.ReasonCAAForbidden
}
