package hosts

import (
	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/internal/jsonscan"
)

// skimmed reads of a record what a Host is made of. A start with a million records
// waits for it; of a usual record it reads a fifth.
var skimmed = jsonscan.NewSkimmer[v1alpha3.DomainRecord](
	"metadata.managedFields", "metadata.creationTimestamp", "metadata.ownerReferences", "metadata.finalizers",
	"status.resolvedValues", "status.dnsRecords", "status.dnsProvider", "status.domainConnect", "status.certificate",
	"status.ownership.proof", "status.ownership.owner", "status.ownership.verifiedTime", "status.ownership.withdrawnTime",
	"status.conditions.message", "status.conditions.lastTransitionTime",
)

// skimmer makes Hosts of stored records. One goroutine uses it at a time.
type skimmer struct {
	table               *Table // whose marks are shared
	record              v1alpha3.DomainRecord
	labels, annotations []pair
	text                []byte
}

// host returns the Host of the record that the store holds at key: FromRecord of what
// decode returns, or its error.
func (s *skimmer) host(key string, value []byte, revision int64) (*Host, error) {
	r := &s.record
	s.reset()
	defer s.reset() // its texts end with value
	if !skimmed.Decode(value, r) || r.Spec.Target.Redirect != nil {
		whole, err := decode(key, value)
		if err != nil {
			return nil, err
		}
		return FromRecord(whole, revision), nil
	}
	if err := agrees(key, r); err != nil {
		return nil, err
	}
	return hostOf(r, s.marks(), revision), nil
}

// reset takes everything out of the record but its memory.
func (s *skimmer) reset() {
	labels, annotations, conditions := s.record.Labels, s.record.Annotations, s.record.Status.Conditions
	clear(labels)
	clear(annotations)
	s.record = v1alpha3.DomainRecord{}
	s.record.Labels, s.record.Annotations, s.record.Status.Conditions = labels, annotations, conditions[:0]
}

// marks packs the labels and annotations, or returns those of the table that are the same.
func (s *skimmer) marks() *marks {
	if len(s.record.Labels)+len(s.record.Annotations) == 0 {
		return nil
	}
	s.labels = pairsOf(s.labels, s.record.Labels)
	s.annotations = pairsOf(s.annotations, s.record.Annotations)
	s.text = appendMarks(s.text[:0], s.labels, s.annotations)
	if m := s.table.known(s.text); m != nil {
		return m
	}
	return &marks{text: string(s.text)}
}
