package v1alpha3

// ExpectedDNSRecords returns the records that the customer of r creates for the
// zone, exact and complete, in the order of status.dnsRecords, with nothing
// observed yet. A token other than "" stands for a hostname that another owner
// held before: ownership then takes the token's form and is required.
func ExpectedDNSRecords(r *DomainRecord, zone, token string) []DNSRecord {
	host := r.Spec.Name
	records := make([]DNSRecord, 0, 3)
	records = append(records, expected(PurposeTraffic, OwnerTrafficName(host), TrafficName(host, zone), true))
	if r.WantsTLS() {
		records = append(records, expected(PurposeACMEChallenge, OwnerACMEChallengeName(host), ChallengeName(host, zone), false))
	}
	verify := VerifyName(zone)
	if token != "" {
		verify = TokenVerifyName(token, zone)
	}
	return append(records, expected(PurposeOwnership, OwnerApoxyChallengeName(host), verify, token != ""))
}

func expected(purpose DNSPurpose, name, value string, required bool) DNSRecord {
	return DNSRecord{
		Purpose: purpose, Type: "CNAME", Name: name, Value: value,
		Observed: []string{}, Required: required,
	}
}

// DNSRecord returns the record of a purpose in the status, nil if there is none.
func (s *DomainRecordStatus) DNSRecord(purpose DNSPurpose) *DNSRecord {
	for i := range s.DNSRecords {
		if s.DNSRecords[i].Purpose == purpose {
			return &s.DNSRecords[i]
		}
	}
	return nil
}
