package ownership

import (
	"strings"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// This file is the rule on tenants: what keeps a hostname, its certificate and
// its proofs from passing to a neighbour. Controller, issuance and API ask here
// and nowhere else. An owner is the value of the label core.apoxy.dev/owner; no
// label is an owner of its own, the empty one, different from every other.

// Party is an owner who has, or was last verified for, a hostname.
type Party struct {
	// Owner is the owner.
	Owner string
	// Unknown: who it is cannot be read any more. That is nobody's own.
	Unknown bool
}

// other reports whether a party, nil for nobody, is somebody else than owner.
func (p *Party) other(owner string) bool {
	return p != nil && (p.Unknown || p.Owner != owner)
}

// Claim is what the rule goes by when it judges a record.
type Claim struct {
	// Hostname and Owner are those of the record.
	Hostname, Owner string
	// Holder is the last verified holder of the hostname, nil if there was none.
	Holder *Party
	// NeighbourRecord is the owner of a record for the hostname that Neighbour
	// returns, NeighbourHolder the last verified holder of that hostname; nil:
	// there is none.
	NeighbourRecord, NeighbourHolder *Party
}

// Contest says why a record that is not verified yet is verified by its own
// token alone.
type Contest struct {
	Reason ContestReason
	// Hostname is the one that another owner has or had.
	Hostname string
}

// ContestReason is the part of the rule that makes a record contested.
type ContestReason uint8

const (
	Uncontested     ContestReason = iota
	HeldBefore                    // another owner was the last verified holder of the hostname
	NeighbourClaims               // another owner has a record for the hostname that shares DNS names with it
	NeighbourHeld                 // another owner was the last verified holder of that one
)

// Neighbour is the one other hostname whose customer creates records at the same
// names: a wildcard and its base share _acme-challenge.X and _apoxy-challenge.X.
func Neighbour(hostname string) string {
	if v1alpha3.IsWildcard(hostname) {
		return v1alpha3.BaseName(hostname)
	}
	return "*." + hostname
}

// Contest judges a claim. Being first exempts nobody, and a record that was
// never verified leaves nothing behind when it goes.
func (c Claim) Contest() Contest {
	switch {
	case c.Holder.other(c.Owner):
		return Contest{HeldBefore, c.Hostname}
	case c.NeighbourRecord.other(c.Owner):
		return Contest{NeighbourClaims, Neighbour(c.Hostname)}
	case c.NeighbourHolder.other(c.Owner):
		return Contest{NeighbourHeld, Neighbour(c.Hostname)}
	}
	return Contest{}
}

// mostCovering bounds the wildcards that Covering lists.
const mostCovering = 8

// Covering lists the wildcards whose DNS records answer for a hostname that has
// none of its own, nearest first: *.X for every X above it that can be registered.
// False: there are too many to go through.
func Covering(hostname string) ([]string, bool) {
	var out []string
	top := registrable(hostname)
	for at := hostname; at != top; {
		_, above, ok := strings.Cut(at, ".")
		if !ok {
			break
		}
		if w := "*." + above; w != hostname {
			if len(out) == mostCovering {
				return out, false
			}
			out = append(out, w)
		}
		at = above
	}
	return out, true
}

// Covers reports whether a wildcard that was last held by holder, nil for nobody,
// is another owner's. Where it stands in DNS by the edge's addresses, every name
// below has these, so they say nothing of who may have a hostname there.
func Covers(holder *Party, owner string) bool { return holder.other(owner) }

// LastHolder is the last verified holder of a hostname: the record that it has,
// if that was ever verified, and otherwise the one that is remembered. Both may
// be nil. A record whose label changed while it was verified is held by its new
// owner; one that changed it later is still held by the owner of before.
func LastHolder(r *v1alpha3.DomainRecord, remembered *Party) *Party {
	if r == nil || !r.Proven() {
		return remembered
	}
	return &Party{Owner: Held(r)}
}

// Held is the owner for whom a record that is or was verified holds, or last
// held, its hostname.
func Held(r *v1alpha3.DomainRecord) string {
	if e := r.Established(); !e.Verified {
		return e.Owner
	}
	return r.Owner()
}

// Provenance is what a stored certificate is to a record of its hostname.
type Provenance uint8

const (
	// ForeignCertificate was issued for a record of another owner. It is of no
	// use to this one, ever.
	ForeignCertificate Provenance = iota
	// InheritedCertificate was issued for another record of the same owner. It
	// counts once the record is verified or one of its own DNS proofs is in place.
	InheritedCertificate
	// OwnCertificate was issued for this very record.
	OwnCertificate
)

// ProvenanceOf tells what a certificate that was issued for one record, by uid
// and owner, is to another.
func ProvenanceOf(certUID, certOwner, uid, owner string) Provenance {
	switch {
	case certUID != "" && certUID == uid:
		return OwnCertificate
	case certUID != "" && certOwner == owner:
		return InheritedCertificate
	}
	return ForeignCertificate
}

// Replacement is the answer to whether a new record may take the place of the
// one that has its hostname.
type Replacement uint8

const (
	MayReplace       Replacement = iota
	ReplacesVerified             // no: the one that is there is verified
	ReplacesOwn                  // no: it has the same owner
)

// Replaces judges whether next may take the place of live, which has the same
// hostname: an unproven claim of another owner blocks nobody.
func Replaces(next, live *v1alpha3.DomainRecord) Replacement {
	switch {
	case live.Owner() == next.Owner():
		return ReplacesOwn
	case live.Verified():
		return ReplacesVerified
	}
	return MayReplace
}
