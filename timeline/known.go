package timeline

// known are the words that are kept as one byte, by their place. A word is only ever
// added, at the end: values in stores depend on the places.
var known = [...]string{
	// What events are of.
	"Phase", "Certificate", "OwnershipVerified", "TLSReady", "ACMEChallengeDelegationReady", "CNAMEConfigured", "TargetReady", "Ready",
	// What those were and are.
	"True", "False", "Unknown", "Pending", "Issuing", "Active", "Detached",
	// Why.
	"TLSCertificateIssued", "ApoxyChallengeConfigured", "OwnershipNotVerified", "ProofWithdrawn",
	"CertificateIssued", "WaitingForDNS", "CertificateError", "RateLimited", "CAAForbidden", "CertificateExpired",
	"ACMEChallengeDelegationConfigured", "ACMEChallengeDelegationNotConfigured", "ACMEChallengeDelegationMismatch",
	"AddressConfigured", "CNAMENotConfigured", "CNAMEMismatch", "UploadExpiring", "Revoked", "Check", "Created",
}

// places are the places of known words, from 1.
var places = func() map[string]uint64 {
	m := make(map[string]uint64, len(known))
	for i, w := range known {
		m[w] = uint64(i + 1)
	}
	return m
}()
