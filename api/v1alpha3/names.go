package v1alpha3

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// First labels of the names that customers and the zone use.
const (
	// ACMEChallengeLabel is RFC 8555 section 8.4's.
	ACMEChallengeLabel = "_acme-challenge"
	// ApoxyChallengeLabel stands in the customer's zone, for ownership.
	ApoxyChallengeLabel = "_apoxy-challenge"
	// ApoxyVerifyLabel stands in the operator's zone: what ApoxyChallengeLabel
	// points at.
	ApoxyVerifyLabel = "_apoxy-verify"
	// WildcardLabel stands in the operator's zone for the * of a wildcard. No
	// hostname has an underscore, so none collides with it.
	WildcardLabel = "_wildcard"
)

// ChallengeNegativeTTL is how long resolvers remember that a challenge name, or a
// value at it, is not in the operator's zone (RFC 2308 section 5).
const ChallengeNegativeTTL = 2 * time.Second

// ZoneLabel is what stands for a normalized hostname below the operator's zone:
// the hostname itself, or for *.example.com _wildcard.example.com.
func ZoneLabel(hostname string) string {
	if base, ok := strings.CutPrefix(hostname, "*."); ok {
		return WildcardLabel + "." + base
	}
	return hostname
}

// TrafficName is the name in the zone that a hostname's main record points at,
// absolute with the final dot: N.Z.
func TrafficName(hostname, zone string) string {
	return ZoneLabel(hostname) + "." + absolute(zone)
}

// ChallengeName is the name in the zone that holds a hostname's DNS-01 values:
// _acme-challenge.N.Z. A wildcard shares its base's: the customer has one
// _acme-challenge for both (RFC 8555 section 8.4), and it can lead to one place
// only.
func ChallengeName(hostname, zone string) string {
	return ACMEChallengeLabel + "." + BaseName(hostname) + "." + absolute(zone)
}

// VerifyName is what _apoxy-challenge.N points at: _apoxy-verify.Z.
func VerifyName(zone string) string { return ApoxyVerifyLabel + "." + absolute(zone) }

// TokenVerifyName is what _apoxy-challenge.N points at where an earlier owner
// of the hostname is remembered: TOKEN._apoxy-verify.Z.
func TokenVerifyName(token, zone string) string { return token + "." + VerifyName(zone) }

// VerifyToken is the token of a record: one DNS label of 32 hexadecimal digits
// that follows from its uid, the uid's own digits where it is a UUID.
func VerifyToken(uid types.UID) string {
	digits := strings.ToLower(strings.ReplaceAll(string(uid), "-", ""))
	if b, err := hex.DecodeString(digits); err == nil && len(b) == 16 {
		return digits
	}
	sum := sha256.Sum256([]byte(uid))
	return hex.EncodeToString(sum[:16])
}

// OwnerTrafficName is where the customer's main record stands, absolute with
// the final dot. A wildcard's is the wildcard itself.
func OwnerTrafficName(hostname string) string { return hostname + "." }

// OwnerACMEChallengeName is where the customer delegates the ACME challenge:
// _acme-challenge.N, for a wildcard that of its base (RFC 8555 section 8.4).
func OwnerACMEChallengeName(hostname string) string {
	return ACMEChallengeLabel + "." + BaseName(hostname) + "."
}

// OwnerApoxyChallengeName is where the customer proves ownership:
// _apoxy-challenge.N, for a wildcard that of its base.
func OwnerApoxyChallengeName(hostname string) string {
	return ApoxyChallengeLabel + "." + BaseName(hostname) + "."
}

// RecordName is the metadata.name that a record gets when none is given: the
// hostname, or for *.example.com example.com--wildcard, which no hostname is.
func RecordName(hostname string) string {
	if base, ok := strings.CutPrefix(hostname, "*."); ok {
		return base + wildcardNameSuffix
	}
	return hostname
}

func absolute(zone string) string { return strings.TrimSuffix(zone, ".") + "." }
