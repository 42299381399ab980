package ownership

import (
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// wildcardAnswers finds a wildcard that makes an answer up for a name at which
// no record stands.
func wildcardAnswers(want v1alpha3.DNSRecord, o DNSObservation, _ Zone) *v1alpha3.DNSProblem {
	if !o.Wildcard || strings.HasPrefix(want.Name, "*.") {
		return nil
	}
	return problem(ProblemWildcardAnswers, "There is no record at %s: a wildcard record of the customer's zone answers for it with %s. "+
		"The customer leaves the wildcard and adds beside it: %s", want.Name, seen(o), sentence(want))
}

// seen sums an answer up in a few words.
func seen(o DNSObservation) string {
	switch {
	case len(o.Chain) > 0:
		return "CNAME " + quoteAll(o.Chain)
	case len(o.Addresses) > 0:
		return "the addresses " + quoteAll(addresses(o.Addresses))
	}
	return quoteAll(o.Other)
}

// wrongTarget names the mistake in a CNAME that leads elsewhere. Of a chain, the
// first link that resembles the right one is taken.
func wrongTarget(want v1alpha3.DNSRecord, o DNSObservation, z Zone) *v1alpha3.DNSProblem {
	if len(o.Chain) == 0 {
		return nil
	}
	for _, c := range o.Chain {
		if p := misdirected(want, c, z); p != nil {
			return p
		}
	}
	target, last := o.Chain[0], o.Chain[len(o.Chain)-1]
	if cdn := cdnOfName(o.Chain); cdn != "" {
		return problem(ProblemProxiedByCDN, "%s leads to %s (%s), so %s answers in place of the record. "+
			"The customer switches the proxy off for this name and creates: %s", want.Name, quote(target), cdn, cdn, sentence(want))
	}
	via := ""
	if last != target {
		via = " and from there to " + quote(last)
	}
	if o.Dangling {
		via += ", which does not exist"
	}
	if ours, foreign := split(o.Addresses, z); len(ours) > 0 && len(foreign) == 0 && want.Purpose == v1alpha3.PurposeTraffic {
		return problem(ProblemOldTarget, "%s is a CNAME to %s%s, which has the edge's addresses: traffic arrives at present, but that proves nothing of this hostname. "+
			"The customer replaces it with: %s", want.Name, quote(target), via, sentence(want))
	}
	return problem(ProblemOldTarget, "%s is a CNAME to %s%s, probably an earlier provider's. The customer replaces it with: %s",
		want.Name, quote(target), via, sentence(want))
}

// misdirected names the mistake in one target that resembles the right one, nil
// if it does not.
func misdirected(want v1alpha3.DNSRecord, target string, z Zone) *v1alpha3.DNSProblem {
	t, value, zone := absolute(target), absolute(want.Value), absolute(z.Name)
	replace := " The customer replaces it with: " + sentence(want)
	say := func(reason, what string) *v1alpha3.DNSProblem {
		return problem(reason, "%s is a CNAME to %s: %s%s", want.Name, quote(target), what, replace)
	}
	if rest, ok := strings.CutPrefix(t, value); ok && rest != "" {
		return say(ProblemZoneAppendedToTarget, "the registrar appended "+quote(strings.TrimSuffix(rest, "."))+
			" to the target. A final dot after the target prevents that.")
	}
	inZone := t == zone || strings.HasSuffix(t, "."+zone)
	if inZone {
		if what := swapped(want, t, zone); what != "" {
			return say(ProblemSwappedTarget, "that is the value of this hostname's "+what+" record.")
		}
		if want.Purpose == v1alpha3.PurposeOwnership && strings.HasSuffix(t, v1alpha3.VerifyName(zone)) {
			needs := "needs none."
			if want.Value != v1alpha3.VerifyName(z.Name) {
				needs = "is verified by its own alone."
			}
			return say(ProblemTokenMissing, "that is not this record's token, and this record "+needs)
		}
	}
	if reason, dropped := droppedLabels(want, t, value); reason != "" {
		return say(reason, quote(dropped)+" is missing in the target.")
	}
	if inZone {
		other := strings.TrimPrefix(strings.TrimSuffix(t, "."+zone), v1alpha3.ACMEChallengeLabel+".")
		if base, ok := strings.CutPrefix(other, v1alpha3.WildcardLabel+"."); ok {
			if other = "*." + base; strings.HasPrefix(t, v1alpha3.ACMEChallengeLabel+".") {
				return say(ProblemMisspelt, "a wildcard's challenge goes where its base's does, without the label "+v1alpha3.WildcardLabel+".")
			}
		}
		return say(ProblemAnotherRecordsTarget, "that is the target of another hostname, "+quote(other)+".")
	}
	if cdnOfName([]string{t}) != "" {
		return nil
	}
	if near(t, value) {
		return say(ProblemMisspelt, "the target is misspelt.")
	}
	if own := strings.TrimSuffix(value, zone); own != value && own != "" && strings.HasPrefix(t, own) {
		return say(ProblemWrongZone, "the target ends in the wrong zone, "+quote(strings.TrimPrefix(t, own))+" in place of "+zone+".")
	}
	return nil
}

// swapped says which other record of the same hostname has this value.
func swapped(want v1alpha3.DNSRecord, target, zone string) string {
	for _, host := range hostsOf(want) {
		for _, other := range []struct {
			purpose     v1alpha3.DNSPurpose
			value, what string
		}{
			{v1alpha3.PurposeTraffic, v1alpha3.TrafficName(host, zone), "main"},
			{v1alpha3.PurposeACMEChallenge, v1alpha3.ChallengeName(host, zone), v1alpha3.ACMEChallengeLabel},
			{v1alpha3.PurposeOwnership, v1alpha3.VerifyName(zone), v1alpha3.ApoxyChallengeLabel},
		} {
			if other.purpose != want.Purpose && absolute(other.value) == target {
				return other.what
			}
		}
	}
	return ""
}

// hostsOf finds the hostnames that a record may be for: a wildcard and its base
// have their challenges at the same names.
func hostsOf(want v1alpha3.DNSRecord) []string {
	host := strings.TrimSuffix(want.Name, ".")
	if want.Purpose == v1alpha3.PurposeTraffic {
		return []string{host}
	}
	_, host, _ = strings.Cut(host, ".") // past _acme-challenge or _apoxy-challenge
	return []string{host, "*." + host}
}

// droppedLabels finds the run of labels that the target lacks of the value.
func droppedLabels(want v1alpha3.DNSRecord, target, value string) (reason, dropped string) {
	t, v := labels(target), labels(value)
	missing := len(v) - len(t)
	if missing <= 0 || len(t) < 2 {
		return "", ""
	}
	head := 0
	for head < len(t) && t[head] == v[head] {
		head++
	}
	if !slices.Equal(t[head:], v[head+missing:]) {
		return "", ""
	}
	run := strings.Join(v[head:head+missing], ".")
	host := strings.TrimSuffix(want.Name, ".")
	if suffix, _ := publicsuffix.PublicSuffix(host); run == suffix || head == len(t) && missing == 1 {
		return ProblemTLDDropped, run
	}
	return ProblemLabelDropped, run
}

// near reports whether two names differ in at most two letters.
func near(a, b string) bool {
	const most = 2
	if a == b || len(a)-len(b) > most || len(b)-len(a) > most || len(a) > maxValue || len(b) > maxValue {
		return false
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			diagonal, row[j] = row[j], min(row[j]+1, row[j-1]+1, diagonal+cost)
		}
	}
	return row[len(b)] <= most
}

// registrable is the domain that was bought for a name, without the final dot.
func registrable(name string) string {
	name = strings.TrimPrefix(strings.TrimSuffix(name, "."), "*.")
	if top, err := publicsuffix.EffectiveTLDPlusOne(name); err == nil {
		return top
	}
	return name
}
