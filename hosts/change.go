package hosts

import (
	"k8s.io/apimachinery/pkg/types"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// Change is one change of one record.
type Change struct {
	// Name is the record's metadata.name.
	Name string
	// Record is the record as it is now; nil: it was deleted.
	Record *v1alpha3.DomainRecord
	// First: the record was there when the table was loaded, and this is the first
	// that is told of it; Record is as it was then, without managed fields, messages and
	// what was observed perhaps, and Previous nil.
	First bool
	// Previous is the record before; nil: there was none, or First. After a
	// resynchronization a deleted record's Previous holds only what the table knew:
	// metadata and spec. That of a deleted record which could never be read is nil.
	Previous *v1alpha3.DomainRecord
	// Revision is the store's revision of the change.
	Revision int64
}

// remembered makes a record of what the table knew.
func remembered(h *Host) *v1alpha3.DomainRecord {
	r := &v1alpha3.DomainRecord{}
	r.Name, r.UID = h.Name(), types.UID(h.UID())
	r.Labels, r.Annotations = h.Labels(), h.Annotations()
	ttl := int32(h.TTL)
	r.Spec.Name, r.Spec.TTL = h.Hostname, &ttl
	if redirect := h.Redirect(); redirect != nil {
		r.Spec.Target.Redirect = redirect.DeepCopy()
	} else {
		r.Spec.Target.Ref = h.Target().Ref()
	}
	if h.TLS {
		r.Spec.TLS = &v1alpha3.DomainRecordTLS{}
	}
	r.Status.Phase = h.Phase()
	return r
}
