package hosts

import (
	"encoding/json"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// Check says why the value at a key below Prefix is no record; nil: it is one.
func Check(key string, value []byte) error {
	_, err := decode(key, value)
	return err
}

// decode returns the record that the store holds at key. Records as the store
// usually has them are read in one pass, several times as fast as by
// encoding/json, which is what a start with many records waits for; all others
// are left to encoding/json, so the outcome is always the same.
func decode(key string, value []byte) (*v1alpha3.DomainRecord, error) {
	r, ok := scanRecord(value)
	if !ok {
		r = new(v1alpha3.DomainRecord)
		if err := json.Unmarshal(value, r); err != nil {
			return nil, fmt.Errorf("decoding %s: %w", key, err)
		}
	}
	if r.Spec.Name == "" {
		return nil, fmt.Errorf("decoding %s: spec.name is empty", key)
	}
	if r.Name != strings.TrimPrefix(key, Prefix) {
		return nil, fmt.Errorf("decoding %s: metadata.name is %.80q", key, r.Name)
	}
	return r, nil
}

// scanRecord decodes a record; false: it holds something unusual.
func scanRecord(value []byte) (*v1alpha3.DomainRecord, bool) {
	for _, c := range value {
		if c < ' ' {
			return nil, false // never right within a string, and unusual elsewhere
		}
	}
	s := &scanner{b: value}
	r := new(v1alpha3.DomainRecord)
	if s.peek() != '{' {
		return nil, false
	}
	s.object(func(key []byte) {
		switch string(key) {
		case "kind":
			r.Kind = s.text()
		case "apiVersion":
			r.APIVersion = s.text()
		case "metadata":
			s.metadata(&r.ObjectMeta)
		case "spec":
			s.spec(&r.Spec)
		case "status":
			s.status(&r.Status)
		default:
			s.fail()
		}
	})
	return r, !s.failed && s.i == len(s.b)
}

func (s *scanner) metadata(m *metav1.ObjectMeta) {
	s.object(func(key []byte) {
		switch string(key) {
		case "name":
			m.Name = s.text()
		case "uid":
			m.UID = types.UID(s.text())
		case "resourceVersion":
			m.ResourceVersion = s.text()
		case "generation":
			m.Generation = s.number()
		case "creationTimestamp":
			if t := s.time(); t != nil {
				m.CreationTimestamp = *t
			}
		case "labels":
			m.Labels = s.pairs()
		case "annotations":
			m.Annotations = s.pairs()
		case "managedFields":
			m.ManagedFields = []metav1.ManagedFieldsEntry{}
			if !s.array(func() { m.ManagedFields = append(m.ManagedFields, s.managed()) }) {
				m.ManagedFields = nil
			}
		default: // finalizers, owners, deletion: rare
			s.fail()
		}
	})
}

func (s *scanner) managed() (e metav1.ManagedFieldsEntry) {
	s.object(func(key []byte) {
		switch string(key) {
		case "manager":
			e.Manager = s.text()
		case "operation":
			e.Operation = metav1.ManagedFieldsOperationType(s.text())
		case "apiVersion":
			e.APIVersion = s.text()
		case "time":
			e.Time = s.time()
		case "fieldsType":
			e.FieldsType = s.text()
		case "subresource":
			e.Subresource = s.text()
		case "fieldsV1":
			raw := s.raw()
			// What finding the end has not checked is checked here.
			if s.failed || !json.Valid(raw) {
				s.fail()
				return
			}
			e.FieldsV1 = new(metav1.FieldsV1)
			if e.FieldsV1.UnmarshalJSON(raw) != nil {
				s.fail()
			}
		default:
			s.fail()
		}
	})
	return e
}

func (s *scanner) spec(spec *v1alpha3.DomainRecordSpec) {
	s.object(func(key []byte) {
		switch string(key) {
		case "name":
			spec.Name = s.text()
		case "ttl":
			if s.word("null") {
				return
			}
			n := s.number()
			ttl := int32(n)
			if int64(ttl) != n {
				s.fail()
			}
			spec.TTL = &ttl
		case "tls":
			spec.TLS = s.tls()
		case "target":
			s.object(func(key []byte) {
				if string(key) != "ref" {
					s.fail()
					return
				}
				spec.Target.Ref = s.ref()
			})
		default:
			s.fail()
		}
	})
}

func (s *scanner) tls() *v1alpha3.DomainRecordTLS {
	if s.word("null") {
		return nil
	}
	tls := new(v1alpha3.DomainRecordTLS)
	s.object(func(key []byte) {
		switch string(key) {
		case "certificateAuthority":
			tls.CertificateAuthority = optional(s, s.text)
		case "disabled":
			tls.Disabled = optional(s, s.boolean)
		default:
			s.fail()
		}
	})
	return tls
}

func (s *scanner) ref() *v1alpha3.TargetRef {
	if s.word("null") {
		return nil
	}
	ref := new(v1alpha3.TargetRef)
	s.object(func(key []byte) {
		switch string(key) {
		case "group":
			ref.Group = optional(s, s.text)
		case "kind":
			ref.Kind = s.text()
		case "name":
			ref.Name = s.text()
		default:
			s.fail()
		}
	})
	return ref
}

func (s *scanner) status(st *v1alpha3.DomainRecordStatus) {
	s.object(func(key []byte) {
		switch string(key) {
		case "observedGeneration":
			st.ObservedGeneration = s.number()
		case "type":
			st.Type = s.text()
		case "phase":
			st.Phase = v1alpha3.Phase(s.text())
		case "resolvedValues":
			st.ResolvedValues = s.texts()
		case "dnsRecords":
			st.DNSRecords = make([]v1alpha3.DNSRecord, 0, 3)
			if !s.array(func() { st.DNSRecords = append(st.DNSRecords, s.dnsRecord()) }) {
				st.DNSRecords = nil
			}
		case "certificate":
			st.Certificate = s.certificate()
		case "ownership":
			st.Ownership = s.ownership()
		case "conditions":
			st.Conditions = make([]metav1.Condition, 0, len(conditionTypes))
			if !s.array(func() { st.Conditions = append(st.Conditions, s.condition()) }) {
				st.Conditions = nil
			}
		default:
			s.fail()
		}
	})
}

func (s *scanner) dnsRecord() (d v1alpha3.DNSRecord) {
	s.object(func(key []byte) {
		switch string(key) {
		case "purpose":
			d.Purpose = v1alpha3.DNSPurpose(s.text())
		case "type":
			d.Type = s.text()
		case "name":
			d.Name = s.text()
		case "value":
			d.Value = s.text()
		case "observed":
			d.Observed = s.texts()
		case "configured":
			d.Configured = s.boolean()
		case "required":
			d.Required = s.boolean()
		case "lastTransitionTime":
			d.LastTransitionTime = s.time()
		case "problem":
			d.Problem = s.problem()
		default:
			s.fail()
		}
	})
	return d
}

func (s *scanner) problem() *v1alpha3.DNSProblem {
	if s.word("null") {
		return nil
	}
	p := new(v1alpha3.DNSProblem)
	s.object(func(key []byte) {
		switch string(key) {
		case "reason":
			p.Reason = s.text()
		case "message":
			p.Message = s.text()
		default:
			s.fail()
		}
	})
	return p
}

func (s *scanner) certificate() *v1alpha3.CertificateStatus {
	if s.word("null") {
		return nil
	}
	c := new(v1alpha3.CertificateStatus)
	s.object(func(key []byte) {
		switch string(key) {
		case "issuer":
			c.Issuer = s.text()
		case "serialNumber":
			c.SerialNumber = s.text()
		case "notBefore":
			c.NotBefore = s.time()
		case "notAfter":
			c.NotAfter = s.time()
		case "renewalTime":
			c.RenewalTime = s.time()
		case "challenge":
			c.Challenge = s.text()
		default:
			s.fail()
		}
	})
	return c
}

func (s *scanner) ownership() *v1alpha3.OwnershipStatus {
	if s.word("null") {
		return nil
	}
	o := new(v1alpha3.OwnershipStatus)
	s.object(func(key []byte) {
		switch string(key) {
		case "verified":
			o.Verified = s.boolean()
		case "proof":
			o.Proof = s.text()
		case "token":
			o.Token = s.boolean()
		case "owner":
			o.Owner = s.text()
		case "verifiedTime":
			o.VerifiedTime = s.time()
		case "withdrawnTime":
			o.WithdrawnTime = s.time()
		case "overwritten":
			o.Overwritten = s.boolean()
		default:
			s.fail()
		}
	})
	return o
}

func (s *scanner) condition() (c metav1.Condition) {
	s.object(func(key []byte) {
		switch string(key) {
		case "type":
			c.Type = s.text()
		case "status":
			c.Status = metav1.ConditionStatus(s.text())
		case "observedGeneration":
			c.ObservedGeneration = s.number()
		case "lastTransitionTime":
			if t := s.time(); t != nil {
				c.LastTransitionTime = *t
			}
		case "reason":
			c.Reason = s.text()
		case "message":
			c.Message = s.text()
		default:
			s.fail()
		}
	})
	return c
}
