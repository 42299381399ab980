package ownership

// Reasons of dnsRecords[].problem: the mistakes that diagnose tells apart.
const (
	// ProblemNotFound: there is nothing at the name yet.
	ProblemNotFound = "NotFound"
	// ProblemRecordAtWrongName: the right value stands at another name.
	ProblemRecordAtWrongName = "RecordAtWrongName"
	// ProblemZoneAppendedToName: the registrar appended its own zone to the
	// owner name, so that the record stands at api.example.com.example.com.
	ProblemZoneAppendedToName = "ZoneAppendedToName"
	// ProblemZoneAppendedToTarget: the registrar appended its own zone to the
	// target, for want of a final dot.
	ProblemZoneAppendedToTarget = "ZoneAppendedToTarget"
	// ProblemLabelDropped: the target lacks one or more labels.
	ProblemLabelDropped = "LabelDropped"
	// ProblemTLDDropped: the target lacks a top-level domain, its own or the
	// hostname's.
	ProblemTLDDropped = "TLDDropped"
	// ProblemMisspelt: the target is a letter or two away from the right one.
	ProblemMisspelt = "Misspelt"
	// ProblemSwappedTarget: the target belongs to another DNS record of the
	// same hostname.
	ProblemSwappedTarget = "SwappedTarget"
	// ProblemAnotherRecordsTarget: the target belongs to another hostname.
	ProblemAnotherRecordsTarget = "AnotherRecordsTarget"
	// ProblemTokenMissing: the challenge lacks this record's token, or carries
	// another record's.
	ProblemTokenMissing = "TokenMissing"
	// ProblemWrongZone: the target is right up to the zone that it ends in.
	ProblemWrongZone = "WrongZone"
	// ProblemOldTarget: the CNAME leads elsewhere, mostly to the provider that
	// the customer is leaving.
	ProblemOldTarget = "OldTarget"
	// ProblemTXTInsteadOfCNAME: a TXT record stands in place of the CNAME.
	ProblemTXTInsteadOfCNAME = "TXTInsteadOfCNAME"
	// ProblemAddressInsteadOfCNAME: A or AAAA records stand in place of the CNAME.
	ProblemAddressInsteadOfCNAME = "AddressInsteadOfCNAME"
	// ProblemRedirectInsteadOfCNAME: a registrar's web redirect stands in place
	// of the CNAME.
	ProblemRedirectInsteadOfCNAME = "RedirectInsteadOfCNAME"
	// ProblemOtherTypeInsteadOfCNAME: records of further types stand in place
	// of the CNAME.
	ProblemOtherTypeInsteadOfCNAME = "OtherTypeInsteadOfCNAME"
	// ProblemCNAMEBesideOthers: other records stand beside the CNAME, which
	// RFC 1034 section 3.6.2 forbids; resolvers then differ in what they see.
	ProblemCNAMEBesideOthers = "CNAMEBesideOthers"
	// ProblemApexNeedsAddress: the hostname is the top of its zone, where no
	// CNAME may stand: ALIAS or addresses are the way.
	ProblemApexNeedsAddress = "ApexNeedsAddress"
	// ProblemStrayAddress: some addresses are ours and some are not, so that
	// visitors, or the CA, are sent elsewhere now and then.
	ProblemStrayAddress = "StrayAddress"
	// ProblemProxiedByCDN: a CDN answers in place of the record.
	ProblemProxiedByCDN = "ProxiedByCDN"
	// ProblemFlattenedCNAME: the edge's addresses stand at a name that could have
	// the CNAME. Traffic arrives.
	ProblemFlattenedCNAME = "FlattenedCNAME"
	// ProblemWildcardAnswers: a wildcard record answers for the name.
	ProblemWildcardAnswers = "WildcardAnswers"
	// ProblemStillCached: right at the name servers, but resolvers still hold
	// the old answer.
	ProblemStillCached = "StillCached"
	// ProblemCAAForbids: CAA records forbid the configured CAs.
	ProblemCAAForbids = "CAAForbids"
	// ProblemDomainNotRegistered: the domain does not exist or has expired.
	ProblemDomainNotRegistered = "DomainNotRegistered"
	// ProblemZoneLame: none of the domain's name servers knows its zone.
	ProblemZoneLame = "ZoneLame"
	// ProblemPortIntercepted: port 53 is intercepted on the operator's way out, so
	// that a resolver answers in place of every name server.
	ProblemPortIntercepted = "PortIntercepted"
	// ProblemResolverAnswers: a resolver answers in place of the domain's name
	// servers.
	ProblemResolverAnswers = "ResolverAnswers"
	// ProblemServFail: the look-up ended in SERVFAIL.
	ProblemServFail = "ServFail"
	// ProblemDNSSECBogus: the DNSSEC signatures of the zone do not hold.
	ProblemDNSSECBogus = "DNSSECBogus"
	// ProblemServersUnreachable: none of the domain's name servers answers.
	ProblemServersUnreachable = "ServersUnreachable"
	// ProblemServersDisagree: the domain's name servers give different answers.
	ProblemServersDisagree = "ServersDisagree"
	// ProblemLookupFailed: the look-up failed in another way.
	ProblemLookupFailed = "LookupFailed"
)

// aboutLookup reports whether a problem is about the look-up itself, not about
// what was found.
func aboutLookup(reason string) bool {
	switch reason {
	case ProblemZoneLame, ProblemPortIntercepted, ProblemResolverAnswers, ProblemServFail, ProblemDNSSECBogus, ProblemServersUnreachable, ProblemServersDisagree, ProblemLookupFailed:
		return true
	}
	return false
}
