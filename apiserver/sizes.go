package apiserver

import (
	"bytes"

	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// The bounds on what a record may have of each kind, counts and bytes together.
// Kubernetes bounds the bytes of annotations and no count. They are held before
// anything is validated or tracked, whose cost and whose errors grow faster than
// what they are about.
const (
	maxLabelCount      = 1000
	maxAnnotationCount = 1000
	maxFinalizers      = 100
	maxFinalizerBytes  = 32 << 10
	maxOwners          = 100
	maxOwnerBytes      = 32 << 10
	maxManagers        = 100
	maxManagedFields   = 12_000
	maxManagedBytes    = 512 << 10
	maxStatusList      = 50
	maxName            = 253
)

// checkSizes refuses what next has more of than a record may have and than live has
// already; live is nil for a new record. A record that is too large already can so
// still be changed, but not grow.
func checkSizes(live, next *v1alpha3.DomainRecord) error {
	if live == nil {
		live = new(v1alpha3.DomainRecord)
	}
	var errs field.ErrorList
	had := measures(live)
	for i, m := range measures(next) {
		switch {
		case m.count > max(m.maxCount, had[i].count):
			errs = append(errs, field.TooMany(m.path, m.count, m.maxCount))
		case m.bytes > max(m.maxBytes, had[i].bytes):
			errs = append(errs, field.TooLong(m.path, "", m.maxBytes))
		}
	}
	if len(errs) > 0 {
		return invalid(next.Name, errs)
	}
	return nil
}

// measure is how much of one thing a record has, and may have.
type measure struct {
	path            *field.Path
	count, maxCount int
	bytes, maxBytes int
}

func measures(r *v1alpha3.DomainRecord) []measure {
	metadata, status := field.NewPath("metadata"), field.NewPath("status")
	name := func(path, s string) measure {
		return measure{metadata.Child(path), 0, 0, len(s), maxName}
	}
	finalizers, owners, fields, managed, observed := 0, 0, 0, 0, 0
	for _, f := range r.Finalizers {
		finalizers += len(f)
	}
	for _, o := range r.OwnerReferences {
		owners += len(o.APIVersion) + len(o.Kind) + len(o.Name) + len(o.UID)
	}
	for _, m := range r.ManagedFields {
		managed += len(m.Manager) + len(m.APIVersion) + len(m.Subresource)
		if m.FieldsV1 != nil {
			fields += countFields(*m.FieldsV1)
			managed += len(m.FieldsV1.GetRawString())
		}
	}
	for _, d := range r.Status.DNSRecords {
		observed = max(observed, len(d.Observed))
	}
	return []measure{
		name("name", r.Name), name("generateName", r.GenerateName), name("namespace", r.Namespace), name("uid", string(r.UID)),
		{metadata.Child("labels"), len(r.Labels), maxLabelCount, mapBytes(r.Labels), maxLabels},
		{metadata.Child("annotations"), len(r.Annotations), maxAnnotationCount, mapBytes(r.Annotations), apivalidation.TotalAnnotationSizeLimitB},
		{metadata.Child("finalizers"), len(r.Finalizers), maxFinalizers, finalizers, maxFinalizerBytes},
		{metadata.Child("ownerReferences"), len(r.OwnerReferences), maxOwners, owners, maxOwnerBytes},
		{metadata.Child("managedFields"), len(r.ManagedFields), maxManagers, managed, maxManagedBytes},
		{metadata.Child("managedFields").Key("fieldsV1"), fields, maxManagedFields, 0, 0},
		{status.Child("conditions"), len(r.Status.Conditions), maxStatusList, 0, 0},
		{status.Child("dnsRecords"), len(r.Status.DNSRecords), maxStatusList, 0, 0},
		{status.Child("dnsRecords").Child("observed"), observed, maxStatusList, 0, 0},
		{status.Child("resolvedValues"), len(r.Status.ResolvedValues), maxStatusList, 0, 0},
	}
}

func mapBytes(m map[string]string) (total int) {
	for k, v := range m {
		total += len(k) + len(v)
	}
	return total
}

// countFields is how many fields a set has at most: each has a brace.
func countFields(f metav1.FieldsV1) int { return bytes.Count(f.GetRawBytes(), []byte("{")) }

// fieldsBounds are those of one manager's fields, which stand at
// metadata.managedFields[].fieldsV1.
var fieldsBounds = bounds{content: maxManagedBytes, values: maxValues, members: maxMembers, within: 4}

// readable returns managed fields as they are, or none if field managers cannot work
// with them, so that a record with managed fields from before there were bounds can
// still be changed. Kubernetes drops what does not decode too, except in server-side
// apply, which fails there.
func readable(entries []metav1.ManagedFieldsEntry) []metav1.ManagedFieldsEntry {
	fields, total := 0, 0
	for _, e := range entries {
		if e.FieldsV1 == nil {
			continue
		}
		fields += countFields(*e.FieldsV1)
		total += len(e.FieldsV1.GetRawString())
		if total > maxManagedBytes || weigh(e.FieldsV1.GetRawBytes(), fieldsBounds) != nil {
			return nil
		}
	}
	if fields > maxManagedFields || len(entries) > maxManagers || managedfields.ValidateManagedFields(entries) != nil {
		return nil
	}
	return entries
}
