package bench

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// Zone is the operator's zone of all records here.
const Zone = "cname.example.net"

// Hostname is that of the i-th record: four to a customer's domain.
func Hostname(i int) string {
	return fmt.Sprintf("%s.customer-%06d.example", [...]string{"www", "shop", "app", "api"}[i%4], i/4)
}

// Record is the i-th record as a served domain has it: proven, certified, with
// every field of its status, managed fields and three labels, of which one names
// its owner: four records have the same. One in ten is not verified yet.
func Record(i int) *v1alpha3.DomainRecord {
	hostname := Hostname(i)
	at := metav1.NewTime(time.Unix(1_790_000_000+int64(i), 0))
	r := &v1alpha3.DomainRecord{
		TypeMeta: metav1.TypeMeta{APIVersion: v1alpha3.GroupVersion.String(), Kind: v1alpha3.Kind},
		ObjectMeta: metav1.ObjectMeta{
			Name: hostname, UID: types.UID(fmt.Sprintf("5f0c1f66-6d3c-4f0e-9d5e-%012x", i)), Generation: 1,
			CreationTimestamp: at,
			Labels:            map[string]string{v1alpha3.OwnerLabel: fmt.Sprintf("tenant-%06d", i/4), "plan": [...]string{"free", "business", "team"}[i/4%3], "region": [...]string{"eu-central", "us-east"}[i/4%2]},
			ManagedFields: []metav1.ManagedFieldsEntry{{
				Manager: "backend", Operation: metav1.ManagedFieldsOperationApply, APIVersion: v1alpha3.GroupVersion.String(),
				Time: &at, FieldsType: "FieldsV1",
				FieldsV1: metav1.NewFieldsV1(`{"f:metadata":{"f:labels":{"f:core.apoxy.dev/owner":{},"f:plan":{},"f:region":{}}},"f:spec":{"f:name":{},"f:target":{"f:ref":{}},"f:tls":{}}}`),
			}},
		},
		Spec: v1alpha3.DomainRecordSpec{
			Name: hostname, TLS: &v1alpha3.DomainRecordTLS{},
			Target: v1alpha3.DomainRecordTarget{Ref: v1alpha3.TargetKey{Group: "gateway.apoxy.dev", Kind: v1alpha3.KindGateway, Name: "default"}.Ref()},
		},
	}
	r.Status = v1alpha3.DomainRecordStatus{
		ObservedGeneration: 1, Type: v1alpha3.StatusTypeRef, Phase: v1alpha3.PhaseActive,
		ResolvedValues: []string{v1alpha3.TrafficName(hostname, Zone)},
		DNSRecords:     v1alpha3.ExpectedDNSRecords(r, Zone, ""),
		Certificate: &v1alpha3.CertificateStatus{
			Issuer: "letsencrypt", SerialNumber: fmt.Sprintf("03%034x", i), NotBefore: &at, NotAfter: &at, RenewalTime: &at, Challenge: "dns-01",
		},
	}
	for j := range r.Status.DNSRecords {
		d := &r.Status.DNSRecords[j]
		d.Observed, d.Configured = []string{"CNAME " + d.Value}, true
	}
	verified := metav1.ConditionTrue
	if i%10 == 9 {
		verified, r.Status.Phase = metav1.ConditionFalse, v1alpha3.PhasePending
	}
	for conditionType, reason := range map[string]string{
		v1alpha3.ConditionOwnershipVerified:            v1alpha3.ReasonTLSCertificateIssued,
		v1alpha3.ConditionTLSReady:                     v1alpha3.ReasonCertificateIssued,
		v1alpha3.ConditionACMEChallengeDelegationReady: v1alpha3.ReasonACMEChallengeDelegationConfigured,
		v1alpha3.ConditionCNAMEConfigured:              v1alpha3.ReasonCNAMEConfigured,
		v1alpha3.ConditionTargetReady:                  v1alpha3.ReasonTargetHealthy,
		v1alpha3.ConditionReady:                        v1alpha3.ReasonReady,
	} {
		r.Status.Conditions = append(r.Status.Conditions, metav1.Condition{
			Type: conditionType, Status: verified, Reason: reason, ObservedGeneration: 1, LastTransitionTime: at,
			Message: "The record _acme-challenge." + hostname + ". CNAME _acme-challenge." + hostname + "." + Zone + ". is in place.",
		})
	}
	return r
}

// Value is the i-th record as the store keeps it.
func Value(i int) []byte {
	b, err := json.Marshal(Record(i))
	if err != nil {
		panic(err) // a record of ours always encodes
	}
	return b
}

// PutOp writes the i-th record.
func PutOp(i int) store.Op {
	return store.Op{Key: hosts.Prefix + Hostname(i), Value: Value(i), If: store.Any}
}

// certificateLife is how long a certificate is valid, in seconds.
const certificateLife = 90 * 24 * 3600

// Authority is the certificates' authority, as storage names it.
const Authority = "acme-v02.api.letsencrypt.org-directory"

// Serial is the serial number of the i-th record's certificate, as statuses show it.
func Serial(i int) string { return fmt.Sprintf("%x", new(big.Int).SetBytes(serial(i))) }

func serial(i int) []byte {
	s := make([]byte, 18)
	s[0] = 5
	for j := range 8 {
		s[10+j] = byte(uint64(i+1) * 0x9E3779B97F4A7C15 >> (8 * j))
	}
	return s
}

// CertificateOp writes what the index knows of the i-th record's certificate, as the
// scheduler would: it is renewed at a time in Unix seconds, with a third of its life left,
// and its authority is asked for renewal information at another.
func CertificateOp(i int, renewal, poll int64) store.Op {
	notAfter, serial, r := renewal+certificateLife/3, serial(i), Record(i)
	ari := base64.RawURLEncoding.EncodeToString([]byte("an authority's key id")[:20]) + "." + base64.RawURLEncoding.EncodeToString(serial)
	value, err := json.Marshal(map[string]any{
		"uid": string(r.UID), "owner": r.Owner(), "ca": Authority, "issuer": "Let's Encrypt E7",
		"serial":    Serial(i),
		"notBefore": notAfter - certificateLife, "notAfter": notAfter, "renewal": renewal, "challenge": "dns-01",
		"ari": map[string]any{"id": ari, "start": renewal - 86400, "end": renewal + 86400, "poll": poll},
	})
	if err != nil {
		panic(err) // strings and numbers only
	}
	return store.Op{Key: "certificates/" + Hostname(i), Value: value, If: store.Any}
}
