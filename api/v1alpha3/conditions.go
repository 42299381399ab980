package v1alpha3

import "slices"

// Condition types of a DomainRecord.
const (
	// ConditionOwnershipVerified gates serving; nothing else does.
	ConditionOwnershipVerified = "OwnershipVerified"
	// ConditionTLSReady: an unexpired certificate is stored and ready to serve.
	ConditionTLSReady = "TLSReady"
	// ConditionACMEChallengeDelegationReady: _acme-challenge.N is a CNAME into
	// the zone that is exactly right.
	ConditionACMEChallengeDelegationReady = "ACMEChallengeDelegationReady"
	// ConditionCNAMEConfigured: the hostname resolves to the zone now.
	ConditionCNAMEConfigured = "CNAMEConfigured"
	// ConditionTargetReady: the backend is healthy.
	ConditionTargetReady = "TargetReady"
	// ConditionReady: everything that serving needs is True.
	ConditionReady = "Ready"
)

// ConditionTypes are the conditions that the controller writes, in the order in
// which a status has them; Ready goes by those before it.
func ConditionTypes() []string {
	return []string{
		ConditionOwnershipVerified, ConditionTLSReady, ConditionACMEChallengeDelegationReady,
		ConditionCNAMEConfigured, ConditionTargetReady, ConditionReady,
	}
}

// IsConditionType reports whether the controller writes conditions of a type.
func IsConditionType(t string) bool { return slices.Contains(ConditionTypes(), t) }

// Reasons of OwnershipVerified.
const (
	ReasonTLSCertificateIssued     = "TLSCertificateIssued"
	ReasonApoxyChallengeConfigured = "ApoxyChallengeConfigured"
	ReasonOwnershipNotVerified     = "OwnershipNotVerified"
	ReasonProofWithdrawn           = "ProofWithdrawn"
)

// Reasons of TLSReady.
const (
	ReasonCertificateIssued  = "CertificateIssued"
	ReasonWaitingForDNS      = "WaitingForDNS"
	ReasonIssuing            = "Issuing"
	ReasonCertificateError   = "CertificateError"
	ReasonRateLimited        = "RateLimited"
	ReasonCAAForbidden       = "CAAForbidden"
	ReasonCertificateExpired = "CertificateExpired"
)

// Reasons of ACMEChallengeDelegationReady.
const (
	ReasonACMEChallengeDelegationConfigured    = "ACMEChallengeDelegationConfigured"
	ReasonACMEChallengeDelegationNotConfigured = "ACMEChallengeDelegationNotConfigured"
	ReasonACMEChallengeDelegationMismatch      = "ACMEChallengeDelegationMismatch"
)

// Reasons of CNAMEConfigured; the first is also one of OwnershipVerified for
// HTTP-only records.
const (
	ReasonCNAMEConfigured    = "CNAMEConfigured"
	ReasonAddressConfigured  = "AddressConfigured"
	ReasonCNAMENotConfigured = "CNAMENotConfigured"
	ReasonCNAMEMismatch      = "CNAMEMismatch"
)

// Reasons of TargetReady.
const (
	ReasonTargetHealthy   = "TargetHealthy"
	ReasonTargetNotFound  = "TargetNotFound"
	ReasonTargetUnhealthy = "TargetUnhealthy"
)

// ReasonReady is the reason of Ready while True; otherwise Ready carries the
// reason of the first condition that is not.
const ReasonReady = "Ready"

// ConditionReasons are the reasons that a condition of a type can have, nil for a type
// that the controller does not write.
func ConditionReasons(t string) []string {
	switch t {
	case ConditionOwnershipVerified:
		return []string{ReasonTLSCertificateIssued, ReasonApoxyChallengeConfigured, ReasonCNAMEConfigured, ReasonOwnershipNotVerified, ReasonProofWithdrawn}
	case ConditionTLSReady:
		return []string{ReasonCertificateIssued, ReasonWaitingForDNS, ReasonIssuing, ReasonCertificateError, ReasonRateLimited, ReasonCAAForbidden, ReasonCertificateExpired}
	case ConditionACMEChallengeDelegationReady:
		return []string{ReasonACMEChallengeDelegationConfigured, ReasonACMEChallengeDelegationNotConfigured, ReasonACMEChallengeDelegationMismatch}
	case ConditionCNAMEConfigured:
		return []string{ReasonCNAMEConfigured, ReasonAddressConfigured, ReasonCNAMENotConfigured, ReasonCNAMEMismatch}
	case ConditionTargetReady:
		return []string{ReasonTargetHealthy, ReasonTargetNotFound, ReasonTargetUnhealthy}
	case ConditionReady:
		return []string{ReasonReady, ReasonOwnershipNotVerified, ReasonProofWithdrawn, ReasonCNAMENotConfigured, ReasonCNAMEMismatch, ReasonTargetNotFound, ReasonTargetUnhealthy,
			ReasonWaitingForDNS, ReasonIssuing, ReasonCertificateError, ReasonRateLimited, ReasonCAAForbidden, ReasonCertificateExpired}
	}
	return nil
}
