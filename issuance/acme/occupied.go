package acme

import "strings"

// foundAnother reports whether a problem's text says that the CA found TXT records at
// the challenge name, but not ours. It knows the texts of Boulder, Google Trust
// Services, ZeroSSL and Pebble. Of another CA's text the customer reads a less exact
// mend.
func foundAnother(detail string) bool {
	d := strings.ToLower(detail)
	for _, words := range []string{
		"incorrect txt record",
		"correct value not found for dns challenge",
		"did not contain the expected",
		"txt record does not match", "txt record is not correct", "wrong txt record", "unexpected txt record",
	} {
		if strings.Contains(d, words) {
			return true
		}
	}
	return false
}

// occupiedMend is what to do when the CA found other TXT records than ours.
const occupiedMend = "Somebody else answers at that name, often the customer's CDN for a certificate of its own, with records that its panel does not show. " +
	"The customer ends that (at Cloudflare: Universal SSL under SSL/TLS, Edge Certificates) or deletes the TXT records that stand beside the CNAME; " +
	"a change that is seen starts the next try at once"
