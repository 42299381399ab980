package v1alpha3

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ReplacesAnnotation on a record that is created names the metadata.name of an
// unverified record of another owner that holds the hostname, whose place it is
// to take.
const ReplacesAnnotation = "core.apoxy.dev/replaces"

// Verified reports whether the controller has established that the customer
// controls the hostname. It is the one gate of serving; the conditions tell of
// it, but clients can write those.
func (r *DomainRecord) Verified() bool {
	if o := r.Status.Ownership; o != nil {
		return o.Verified
	}
	return r.Established().Verified
}

// Proven reports whether the record is verified or was at some time.
func (r *DomainRecord) Proven() bool { return r.Established().VerifiedTime != nil }

// Established returns what the controller has established about who controls
// the hostname. Of a status from before the controller kept that apart, it is
// what the conditions say.
func (r *DomainRecord) Established() OwnershipStatus {
	if o := r.Status.Ownership; o != nil {
		return *o
	}
	c := r.Status.Condition(ConditionOwnershipVerified)
	verified := c != nil && c.Status == metav1.ConditionTrue
	if !verified && (c == nil || c.Reason != ReasonProofWithdrawn) {
		return OwnershipStatus{}
	}
	since := c.LastTransitionTime
	if since.IsZero() {
		since = r.CreationTimestamp
	}
	o := OwnershipStatus{Verified: verified, Owner: r.Owner(), VerifiedTime: &since}
	if verified {
		o.Proof = c.Reason
	}
	if d := r.Status.DNSRecord(PurposeOwnership); d != nil {
		o.Token = strings.HasPrefix(d.Value, VerifyToken(r.UID)+".")
	}
	return o
}
