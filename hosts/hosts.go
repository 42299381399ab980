// Package hosts is the table of hostnames in memory that every hot path reads:
// the TLS permission, the HTTP handler and the zone. It holds what those need
// of each record and no more. A look-up takes no lock across work, does no I/O
// and does not allocate; a change costs O(1). It knows nothing of Caddy, DNS
// messages or the engine that keeps the records.
//
//	the store ─▶ follow.go ─▶ record.go, decode.go, conditions.go: a Host of each record
//	                │
//	                ▼
//	table.go: shards by hostname, each with two maps (index.go), exact names and wildcards
//	                │
//	                ├─ Get, Lookup     permission, handler, zone
//	                ├─ wait.go         who waits for a change of one hostname
//	                ├─ metrics.go      how many there are in each state
//	                └─ revision.go     how far the store was followed
//
// Each shard has a lock, held for one look-up or one change. The metrics' lock is held
// while they are counted.
package hosts

import "github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"

// Host is what the hot paths know of one record. A Host in the table is never
// modified: a change replaces it.
type Host struct {
	// What a decision reads stands first: with the name itself it fills one
	// line of the processor's cache, so that a look-up costs one miss here.

	// Hostname is spec.name: A-labels, lower case, no final dot; a wildcard
	// begins with "*.".
	Hostname string
	// TTL is what the zone answers with, in seconds.
	TTL uint32
	// Conditions holds the status of every condition, for counting.
	Conditions Conditions
	// TLS: the record wants a certificate.
	TLS bool
	// Verified: the controller has established that the customer controls the
	// hostname. The only gate of serving; no client can write it.
	Verified bool
	// TLSReady, CNAMEConfigured and Ready: the conditions of those names are True.
	TLSReady, CNAMEConfigured, Ready bool
	// name holds Hostname's bytes if they fit.
	name [37]byte

	// Phase of the record.
	Phase v1alpha3.Phase
	// Revision is the store's revision of the record.
	Revision int64
	// Name and UID are those of the record.
	Name, UID string
	// Owner is the tenant of the record, empty without the label.
	Owner string
	// Target is what the record points at.
	Target v1alpha3.TargetKey
	// Redirect is where it leads if it is a redirect; nil for all others.
	Redirect *v1alpha3.TargetRedirect
	// Labels and Annotations of the record, nil if it has none.
	Labels, Annotations map[string]string
	// uid holds UID's bytes if they fit.
	uid [36]byte
	// CAAForbids: TLSReady says that CAA records forbid every certificate.
	CAAForbids bool
	// Objects of 256 bytes begin at the beginning of a line.
	_ [11]byte
}

// Settled reports whether nothing is expected to change soon: a hint about a
// settled host is not worth a look.
func (h *Host) Settled() bool { return h.Phase == v1alpha3.PhaseActive && h.Ready }
