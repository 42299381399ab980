package ownership

import (
	"fmt"
	"strings"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// diagnose names what is wrong with a DNS record as it was seen: which mistake
// was made, and who mends it how. It returns nil where nothing is wrong and
// where nothing was looked at. The message holds want in full; foreign values
// in it are quoted and cut, and no part of it changes while the facts do not.
// want.LastTransitionTime, where set, dates what is missing.
func diagnose(want v1alpha3.DNSRecord, o DNSObservation, z Zone) *v1alpha3.DNSProblem {
	by := fulfils(want, o, z)
	o = bounded(o)
	switch {
	case o.Outcome == CouldNotTell:
		return lookupProblem(want, o)
	case by != matchNone:
		return caveat(want, o, z, by)
	}
	p := mistake(want, o, z)
	p.Message = join(cachedNote(o), p.Message)
	return p
}

// mistake tells the mistakes of an affirmative answer apart, the surest first.
func mistake(want v1alpha3.DNSRecord, o DNSObservation, z Zone) *v1alpha3.DNSProblem {
	for _, rule := range []func(v1alpha3.DNSRecord, DNSObservation, Zone) *v1alpha3.DNSProblem{
		notRegistered,
		wildcardAnswers,
		wrongTarget,
		recordElsewhere,
		notFound,
		apexNeedsAddress,
		addressInstead,
		otherInstead,
	} {
		if p := rule(want, o, z); p != nil {
			return p
		}
	}
	return problem(ProblemOtherTypeInsteadOfCNAME, "%s does not have the record that is wanted. Create: %s",
		want.Name, sentence(want))
}

func problem(reason, format string, args ...any) *v1alpha3.DNSProblem {
	return &v1alpha3.DNSProblem{Reason: reason, Message: join(fmt.Sprintf(format, args...))}
}

// caveat is what is to be said of a record that is right.
func caveat(want v1alpha3.DNSRecord, o DNSObservation, z Zone, by match) *v1alpha3.DNSProblem {
	switch {
	case o.Problem == ZoneBogus:
		return problem(ProblemDNSSECBogus, "%s is as it should be, but the DNSSEC signatures of its zone do not hold, "+
			"so certificate authorities and validating resolvers refuse it.%s The customer has the zone signed anew "+
			"or the DS record removed at the registrar.", sentence(want), after(" ", because(o)))
	case len(o.Chain) > 0 && len(o.Other) > 0:
		return problem(ProblemCNAMEBesideOthers, "%s is there, but beside it stand other records (%s), which DNS forbids: "+
			"resolvers differ in which they see. The customer removes the others.%s", sentence(want), quoteAll(o.Other), after(" ", hiddenTXT(want, o)))
	case !by.proves():
		return flattened(want, o, by)
	}
	return stillCached(want, o, z)
}

// stillCached tells which resolvers hold an old answer, and until when.
func stillCached(want v1alpha3.DNSRecord, o DNSObservation, z Zone) *v1alpha3.DNSProblem {
	first, n := longestStale(o, z, o.At)
	if n == 0 {
		return nil
	}
	return problem(ProblemStillCached, "%s is right at its name servers; %d of the configured resolvers still hold an old answer, "+
		"%s (%s) until about %s. Nobody needs to do anything: it passes by itself.",
		sentence(want), n, quote(first.Resolver), quote(first.Value), minuteAfter(first.Until))
}

// lookupProblem tells why nothing could be told.
func lookupProblem(want v1alpha3.DNSRecord, o DNSObservation) *v1alpha3.DNSProblem {
	zone := registrable(want.Name)
	switch o.Problem {
	case ZoneNotRegistered:
		return domainNotRegistered(want, zone)
	case ZoneLame:
		return problem(ProblemZoneLame, "None of the name servers that %s is delegated to knows the zone.%s The customer corrects the "+
			"name servers at the registrar, or has the DNS provider set the zone up, and then creates: %s", zone, after(" ", because(o)), sentence(want))
	case ZoneIntercepted:
		return problem(ProblemPortIntercepted, "What we send to port 53 of name servers is intercepted: a resolver answers in their place, and those that are "+
			"configured could not tell either.%s The operator has port 53 outward let through (provider, firewall, router); the customer "+
			"need not do anything about it. The record that is wanted: %s", after(" ", because(o)), sentence(want))
	case ZoneResolver:
		return problem(ProblemResolverAnswers, "A resolver answers in place of the name servers of %s, which do not speak for the zone so.%s If the name servers at the "+
			"registrar are a resolver's, the customer corrects them; if they are right, port 53 to them is intercepted on our way, and the operator "+
			"has it let through. The record that is wanted: %s", zone, after(" ", because(o)), sentence(want))
	case ZoneServFail:
		return problem(ProblemServFail, "The look-up of %s ends in SERVFAIL: the name servers of %s are in trouble.%s The customer's DNS "+
			"provider must mend that. The record that is wanted: %s", want.Name, zone, after(" ", because(o)), sentence(want))
	case ZoneBogus:
		return problem(ProblemDNSSECBogus, "The DNSSEC signatures of %s do not hold, so certificate authorities and validating resolvers refuse "+
			"whatever stands there.%s The customer has the zone signed anew or the DS record removed at the registrar. "+
			"The record that is wanted: %s", zone, after(" ", because(o)), sentence(want))
	case ZoneUnreachable:
		return problem(ProblemServersUnreachable, "None of the name servers of %s answers.%s The customer's DNS provider must mend that. "+
			"The record that is wanted: %s", zone, after(" ", because(o)), sentence(want))
	}
	if o.Problem == ZoneDisagrees {
		return problem(ProblemServersDisagree, "The name servers of %s do not agree on %s yet.%s After a change that passes by itself; if it lasts, "+
			"the customer's DNS provider must mend it. The record that is wanted: %s", zone, want.Name, after(" ", because(o)), sentence(want))
	}
	if o.Err == "" {
		return nil
	}
	return problem(ProblemLookupFailed, "The look-up of %s failed.%s It is repeated by itself, and nobody needs to do anything unless that lasts. "+
		"The record that is wanted: %s", want.Name, after(" ", because(o)), sentence(want))
}

// because gives the resolver's own words.
func because(o DNSObservation) string {
	if w := words(o.Err); w != "" {
		return "The look-up said: " + w + "."
	}
	return ""
}

func notRegistered(want v1alpha3.DNSRecord, o DNSObservation, _ Zone) *v1alpha3.DNSProblem {
	if o.Problem != ZoneNotRegistered || !nothing(o) {
		return nil
	}
	return domainNotRegistered(want, registrable(want.Name))
}

func domainNotRegistered(want v1alpha3.DNSRecord, zone string) *v1alpha3.DNSProblem {
	return problem(ProblemDomainNotRegistered, "The domain %s does not exist in DNS: not registered, expired, or without name servers. "+
		"The customer renews it, or sets its name servers, at the registrar and then creates: %s", zone, sentence(want))
}

// recordElsewhere finds the right value at a wrong name.
func recordElsewhere(want v1alpha3.DNSRecord, o DNSObservation, _ Zone) *v1alpha3.DNSProblem {
	if len(o.Elsewhere) == 0 || len(o.Chain) > 0 {
		return nil
	}
	for _, e := range o.Elsewhere {
		rest, appended := strings.CutPrefix(absolute(e), absolute(want.Name))
		if appended && rest != "" && strings.HasSuffix("."+absolute(want.Name), "."+rest) {
			return problem(ProblemZoneAppendedToName, "The record stands at %s: the registrar appended %s to the name that was typed in. "+
				"The customer types only %s as the name, so that the record becomes: %s",
				quote(e), strings.TrimSuffix(rest, "."), relative(want.Name, rest), sentence(want))
		}
	}
	return problem(ProblemRecordAtWrongName, "The right value stands at a wrong name, %s. The customer moves it, so that the record becomes: %s",
		quoteAll(o.Elsewhere), sentence(want))
}

// relative writes a name as registrars want it typed: without its zone.
func relative(name, zone string) string {
	if rel, ok := strings.CutSuffix(absolute(name), "."+zone); ok {
		return rel
	}
	return "@"
}

func notFound(want v1alpha3.DNSRecord, o DNSObservation, z Zone) *v1alpha3.DNSProblem {
	if !nothing(o) {
		return nil
	}
	what := "no record"
	if !o.NXDomain && o.Outcome == Absent {
		what = "no record of this kind"
	}
	since := ""
	if want.LastTransitionTime != nil && !want.LastTransitionTime.IsZero() {
		since = " (not in place since " + stamp(want.LastTransitionTime.Time) + ")"
	}
	return problem(ProblemNotFound, "There is %s at %s%s. The customer creates: %s%s", what, want.Name, since, sentence(want), apexHint(want, o, z))
}

// apexHint gives the other ways for a main record at the top of a zone.
func apexHint(want v1alpha3.DNSRecord, o DNSObservation, z Zone) string {
	if want.Purpose != v1alpha3.PurposeTraffic || !isApex(want.Name, o) {
		return ""
	}
	hint := " " + strings.TrimSuffix(want.Name, ".") + " is the top of its zone, where most providers refuse a CNAME; " +
		"an ALIAS (also called ANAME or flattened CNAME) with that value"
	if len(z.EdgeAddresses) > 0 {
		hint += ", or A and AAAA records with " + strings.Join(firstFew(addresses(z.EdgeAddresses)), " ") + ","
	}
	return hint + " serves as well."
}

func firstFew(values []string) []string { return values[:min(len(values), 2*maxListed)] }

func apexNeedsAddress(want v1alpha3.DNSRecord, o DNSObservation, z Zone) *v1alpha3.DNSProblem {
	if want.Purpose != v1alpha3.PurposeTraffic || !isApex(want.Name, o) || len(o.Chain) > 0 || len(o.Addresses) > 0 {
		return nil
	}
	return problem(ProblemApexNeedsAddress, "%s has other records (%s) but nothing that leads here. The customer creates: %s%s",
		want.Name, quoteAll(o.Other), sentence(want), apexHint(want, o, z))
}

// cachedNote dates an answer that may be an old one.
func cachedNote(o DNSObservation) string {
	if !o.Cached {
		return ""
	}
	if o.TTL <= 0 || o.At.IsZero() {
		return "What follows was told by recursive resolvers, which may hold an old answer."
	}
	return "What follows was told by recursive resolvers, which may hold an old answer until about " + minuteAfter(o.At.Add(o.TTL)) + "."
}
