package domainconnect

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// The groups of the template's records, and its one variable.
const (
	GroupTraffic     = "traffic"
	GroupCertificate = "certificate"
	GroupOwnership   = "ownership"

	variableToken = "token"
)

// Wanted tells what a customer could be asked to agree to for a record with a status:
// the DNS records that it lacks. False: there is none, or none that a template can
// create. A wildcard's name and the zone's top are no hosts for a template with CNAMEs,
// and a record that belongs in another zone than the hostname is not the template's.
//
// Traffic waits for the certificate where something else answers at the hostname now, so
// that no visitor meets a site without one: then the link comes in two steps.
func Wanted(r *v1alpha3.DomainRecord, s *v1alpha3.DomainRecordStatus) (Request, bool) {
	traffic := s.DNSRecord(v1alpha3.PurposeTraffic)
	if traffic == nil || traffic.Zone == "" || traffic.Host == "" || traffic.Host == "@" || strings.Contains(r.Spec.Name, "*") {
		return Request{}, false
	}
	q := Request{
		Zone: strings.TrimSuffix(traffic.Zone, "."), Host: traffic.Host,
		Token: v1alpha3.VerifyToken(r.UID),
	}
	lacks := func(purpose v1alpha3.DNSPurpose) bool {
		d := s.DNSRecord(purpose)
		return d != nil && !d.Configured && d.Zone == traffic.Zone
	}
	if lacks(v1alpha3.PurposeACMEChallenge) {
		q.Groups = append(q.Groups, GroupCertificate)
	}
	if d := s.DNSRecord(v1alpha3.PurposeOwnership); d != nil && d.Required && lacks(v1alpha3.PurposeOwnership) {
		q.Groups = append(q.Groups, GroupOwnership)
	}
	ready := !r.WantsTLS() || isTrue(s, v1alpha3.ConditionTLSReady)
	if lacks(v1alpha3.PurposeTraffic) && (ready || len(traffic.Observed) == 0) {
		q.Groups = append(q.Groups, GroupTraffic)
	}
	return q, len(q.Groups) > 0
}

func isTrue(s *v1alpha3.DomainRecordStatus, kind string) bool {
	c := s.Condition(kind)
	return c != nil && c.Status == metav1.ConditionTrue
}
