package ownership

import (
	"net/netip"
	"strings"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// addressInstead names the mistake in addresses that stand where the CNAME
// should.
func addressInstead(want v1alpha3.DNSRecord, o DNSObservation, z Zone) *v1alpha3.DNSProblem {
	if len(o.Addresses) == 0 || len(o.Chain) > 0 {
		return nil
	}
	ours, foreign := split(o.Addresses, z)
	list := quoteAll(addresses(o.Addresses))
	if cdn := cdnOfAddresses(foreign); cdn != "" {
		return problem(ProblemProxiedByCDN, "%s answers with %s: those addresses are %s's, which proxies the name. "+
			"The customer switches the proxy off for it (\"DNS only\") and creates: %s%s", want.Name, list, cdn, sentence(want), apexHint(want, o, z))
	}
	if who := redirector(foreign); who != "" {
		return problem(ProblemRedirectInsteadOfCNAME, "%s answers with %s: that is the web redirect of %s. "+
			"The customer removes the redirect and creates: %s%s", want.Name, list, who, sentence(want), apexHint(want, o, z))
	}
	if want.Purpose == v1alpha3.PurposeTraffic && len(ours) > 0 && len(foreign) > 0 {
		return problem(ProblemStrayAddress, "%s has the right addresses (%s) but also others (%s: %s), to which visitors and the "+
			"certificate authority are sent as well. The customer removes the others, or creates in place of all: %s",
			want.Name, quoteAll(addresses(ours)), kinds(foreign), quoteAll(addresses(foreign)), sentence(want))
	}
	if want.Purpose == v1alpha3.PurposeTraffic && isApex(want.Name, o) {
		return problem(ProblemApexNeedsAddress, "%s has addresses that lead elsewhere (%s). The customer replaces them with: %s%s",
			want.Name, list, sentence(want), apexHint(want, o, z))
	}
	return problem(ProblemAddressInsteadOfCNAME, "%s has %s records (%s) in place of the CNAME: they lead elsewhere. The customer replaces them with: %s",
		want.Name, kinds(o.Addresses), list, sentence(want))
}

// flattened says what it costs that the edge's addresses stand at a name that
// could have the CNAME.
func flattened(want v1alpha3.DNSRecord, o DNSObservation, by match) *v1alpha3.DNSProblem {
	switch by {
	case matchMadeUp:
		return problem(ProblemWildcardAnswers, "Traffic arrives, but there is no record at %s: a wildcard record of the customer's zone answers for it with the "+
			"edge's addresses (%s). That proves nothing of this hostname, so no certificate is obtained through it. "+
			"The customer leaves the wildcard and adds beside it: %s", want.Name, quoteAll(addresses(o.Addresses)), sentence(want))
	case matchUnsure:
		return problem(ProblemWildcardAnswers, "Traffic arrives by the edge's addresses (%s), but whether they stand at %s or a wildcard record makes them up could not be "+
			"told, so no certificate is obtained through them; that is looked at again by itself. The record that serves in any case: %s",
			quoteAll(addresses(o.Addresses)), want.Name, sentence(want))
	}
	return problem(ProblemFlattenedCNAME, "Traffic arrives: %s has the edge's addresses (%s), be it that its DNS provider flattens the CNAME or that they were typed in. "+
		"What that costs: when the edge's addresses change, visitors are lost until that DNS follows, and addresses are no proof of ownership for a record without TLS. "+
		"Where the provider can switch flattening off, better stands there: %s", want.Name, quoteAll(addresses(o.Addresses)), sentence(want))
}

// kinds names the record types of addresses.
func kinds(addrs []netip.Addr) string {
	var v4, v6 bool
	for _, a := range addrs {
		if a.Unmap().Is4() {
			v4 = true
		} else {
			v6 = true
		}
	}
	switch {
	case v4 && v6:
		return "A and AAAA"
	case v6:
		return "AAAA"
	}
	return "A"
}

// otherInstead names the mistake in records of further types that stand where
// the CNAME should.
func otherInstead(want v1alpha3.DNSRecord, o DNSObservation, _ Zone) *v1alpha3.DNSProblem {
	values, rest := texts(o)
	if len(values) == 0 {
		return problem(ProblemOtherTypeInsteadOfCNAME, "%s has other records (%s) in place of the CNAME. The customer replaces them with: %s",
			want.Name, quoteAll(rest), sentence(want))
	}
	what := "a TXT record"
	for _, t := range values {
		switch {
		case absolute(t) == absolute(want.Value):
			what = "the right value, but in a TXT record"
		case want.Purpose == v1alpha3.PurposeACMEChallenge && len(t) == 43:
			what = "an old challenge value in a TXT record"
		case strings.Contains(t, "://") && want.Purpose == v1alpha3.PurposeTraffic:
			return problem(ProblemRedirectInsteadOfCNAME, "%s has a TXT record for a web redirect (%s) in place of the CNAME. "+
				"The customer removes the redirect and creates: %s", want.Name, quote(t), sentence(want))
		}
	}
	return problem(ProblemTXTInsteadOfCNAME, "%s has %s (%s); a record of type CNAME is wanted. The customer deletes it and creates: %s%s",
		want.Name, what, quoteAll(values), sentence(want), after(". ", hiddenTXT(want, o)))
}
