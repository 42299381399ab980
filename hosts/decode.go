package hosts

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/internal/jsonscan"
)

// Check says why the value at a key below Prefix is no record; nil: it is one.
func Check(key string, value []byte) error {
	_, err := decode(key, value)
	return err
}

// decode returns the record that the store holds at key. A start with many records
// waits for this, and encoding/json takes three times as long: it decodes only what
// the fast decoder does not take.
func decode(key string, value []byte) (*v1alpha3.DomainRecord, error) {
	return decodeBy(records, key, value)
}

// decodeBrief is decode without what nobody needs who is told of a record first: its
// managed fields and messages.
func decodeBrief(key string, value []byte) (*v1alpha3.DomainRecord, error) {
	return decodeBy(brief, key, value)
}

func decodeBy(by *jsonscan.Decoder[v1alpha3.DomainRecord], key string, value []byte) (*v1alpha3.DomainRecord, error) {
	r, ok := by.Decode(value)
	if !ok {
		r = new(v1alpha3.DomainRecord)
		if err := json.Unmarshal(value, r); err != nil {
			return nil, fmt.Errorf("decoding %s: %w", key, err)
		}
	}
	if err := agrees(key, r); err != nil {
		return nil, err
	}
	return r, nil
}

// agrees says why a record is not one that is kept at key.
func agrees(key string, r *v1alpha3.DomainRecord) error {
	if r.Spec.Name == "" {
		return fmt.Errorf("decoding %s: spec.name is empty", key)
	}
	if r.Name != strings.TrimPrefix(key, Prefix) {
		return fmt.Errorf("decoding %s: metadata.name is %.80q", key, r.Name)
	}
	return nil
}

// records decodes records; the texts are those that almost every record has, so that
// they are not allocated for each.
var records = jsonscan.NewDecoder[v1alpha3.DomainRecord](common...)

// brief is records for decodeBrief.
var brief = jsonscan.NewDecoderOver[v1alpha3.DomainRecord]([]string{
	"metadata.managedFields", "status.conditions.message", "status.dnsRecords.problem.message", "status.dnsRecords.observed", "status.domainConnect",
}, common...)

var common = append(v1alpha3.ConditionTypes(),
	"", "True", "False", "Unknown", v1alpha3.GroupVersion.String(), v1alpha3.Kind, v1alpha3.StatusTypeRef, v1alpha3.StatusTypeRedirect, v1alpha3.SchemeHTTP, v1alpha3.SchemeHTTPS,
	string(v1alpha3.PhasePending), string(v1alpha3.PhaseIssuing), string(v1alpha3.PhaseActive), string(v1alpha3.PhaseDetached),
	string(v1alpha3.PurposeTraffic), string(v1alpha3.PurposeACMEChallenge), string(v1alpha3.PurposeOwnership), "CNAME",
	v1alpha3.KindGateway, v1alpha3.KindProxy, v1alpha3.KindTunnel, v1alpha3.KindEdgeFunction, "gateway.apoxy.dev",
	v1alpha3.ReasonTLSCertificateIssued, v1alpha3.ReasonApoxyChallengeConfigured, v1alpha3.ReasonOwnershipNotVerified,
	v1alpha3.ReasonCertificateIssued, v1alpha3.ReasonWaitingForDNS, v1alpha3.ReasonCNAMENotConfigured,
	v1alpha3.ReasonACMEChallengeDelegationConfigured, v1alpha3.ReasonACMEChallengeDelegationNotConfigured,
	v1alpha3.ReasonTargetHealthy, v1alpha3.ReasonTargetNotFound, v1alpha3.OwnerLabel,
	"FieldsV1", "Apply", "Update", "dns-01", "http-01", "tls-alpn-01",
)
