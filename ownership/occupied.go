package ownership

import (
	"slices"
	"strings"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// This file is about challenge names that a CDN or hosting provider occupies: it
// answers there with values for certificates of its own, which its panel does not
// show, beside or in place of what the customer has created.

// texts are the values of the TXT records among what was seen at a name.
func texts(o DNSObservation) (values, rest []string) {
	for _, s := range o.Other {
		kind, value, _ := strings.Cut(s, " ")
		if strings.EqualFold(kind, "TXT") {
			values = append(values, strings.Trim(value, `"`))
		} else {
			rest = append(rest, s)
		}
	}
	return values, rest
}

// occupied reports whether what stands at a challenge name would be taken for the
// answer to a challenge in place of ours.
func occupied(o DNSObservation) bool {
	values, _ := texts(o)
	return len(o.Chain) > 0 && len(values) > 0
}

// isChallengeValue reports whether a TXT value has the form of a DNS-01 answer: a
// SHA-256 digest in base64url without padding (RFC 8555 section 8.4).
func isChallengeValue(s string) bool {
	return len(s) == 43 && !strings.ContainsFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_')
	})
}

// hiddenTXT says who puts TXT records at a challenge name that no panel shows and
// what the customer does about it, "" where that is not the case.
func hiddenTXT(want v1alpha3.DNSRecord, o DNSObservation) string {
	values, _ := texts(o)
	if want.Purpose != v1alpha3.PurposeACMEChallenge {
		return ""
	}
	found := false
	for _, v := range values {
		found = found || isChallengeValue(v)
	}
	switch {
	case !found:
		return ""
	case servedBy(o, ".ns.cloudflare.com."):
		return "If the panel does not show them, Cloudflare, whose name servers serve the zone, answers with them for a certificate of its own: " +
			"the customer disables Universal SSL there (SSL/TLS, Edge Certificates), or deletes the certificate that they are for."
	}
	return "If the panel does not show them, a CDN or hosting provider answers with them for a certificate of its own: " +
		"the customer ends that for this name (at Cloudflare: Universal SSL under SSL/TLS, Edge Certificates)."
}

// servedBy reports whether a name server whose name ends so was asked.
func servedBy(o DNSObservation, suffix string) bool {
	return slices.ContainsFunc(o.Servers, func(s NameServer) bool { return strings.HasSuffix(absolute(s.Name), suffix) })
}
