package domainconnect

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// maxURL is the longest URL that providers are sure to take.
const maxURL = 8000

// Offer is what a DNS provider offers for one zone.
type Offer struct {
	// SyncUX is the prefix of the page where customers agree; https.
	SyncUX string
}

// Request is what a customer is asked to agree to.
type Request struct {
	// Zone is the customer's zone and Host the name below it, relative; both without
	// the final dot. Host is not empty.
	Zone, Host string
	// Groups are the template's records that are to be created.
	Groups []string
	// Token is that of the record, for GroupOwnership.
	Token string
}

// URL returns the page at the DNS provider where the customer agrees, signed. The same
// request gives the same URL always.
func (s Service) URL(o Offer, k *Key, r Request) (string, error) {
	signed, err := k.signed(parameters(r))
	if err != nil {
		return "", err
	}
	u := strings.TrimSuffix(o.SyncUX, "/") + s.path() + "/apply?" + signed
	if len(u) > maxURL {
		return "", fmt.Errorf("making a Domain Connect URL: it would have %d octets, more than the %d that providers take", len(u), maxURL)
	}
	return u, nil
}

func parameters(r Request) map[string]string {
	p := map[string]string{"domain": r.Zone, "host": r.Host, variableToken: r.Token}
	if len(r.Groups) > 0 {
		p["groupId"] = strings.Join(r.Groups, ",")
	}
	return p
}

// canonical is the text that is signed: the parameters but sig and key, encoded as RFC
// 3986 has it, in the order of their names.
func canonical(parameters map[string]string) string {
	pairs := make([]string, 0, len(parameters))
	for _, name := range slices.SortedFunc(maps.Keys(parameters), func(a, b string) int { return strings.Compare(escape(a), escape(b)) }) {
		pairs = append(pairs, escape(name)+"="+escape(parameters[name]))
	}
	return strings.Join(pairs, "&")
}

// escape is url.QueryEscape with %20 for a space, as RFC 3986 has it.
func escape(s string) string {
	return strings.ReplaceAll(url.QueryEscape(s), "+", "%20")
}
