package apiserver

import (
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// checkTimes refuses a time that cannot be read once it is stored. Times are
// stored in UTC, and RFC 3339 section 1 has no year but 0000 to 9999: an hour
// before the end of 9999 in a zone west of Greenwich is beyond it. Such a
// record could neither be got nor deleted.
func checkTimes(r *v1alpha3.DomainRecord) error {
	var errs field.ErrorList
	check := func(path *field.Path, t *metav1.Time) {
		if t == nil {
			return
		}
		if year := t.UTC().Year(); year < 0 || year > 9999 {
			errs = append(errs, field.Invalid(path, "the year "+strconv.Itoa(year), "give a time from the year 0000 to 9999 in UTC"))
		}
	}
	meta, status := field.NewPath("metadata"), field.NewPath("status")
	check(meta.Child("creationTimestamp"), &r.CreationTimestamp)
	check(meta.Child("deletionTimestamp"), r.DeletionTimestamp)
	for i := range r.ManagedFields {
		check(meta.Child("managedFields").Index(i).Child("time"), r.ManagedFields[i].Time)
	}
	for i := range r.Status.DNSRecords {
		check(status.Child("dnsRecords").Index(i).Child("lastTransitionTime"), r.Status.DNSRecords[i].LastTransitionTime)
	}
	if c := r.Status.Certificate; c != nil {
		check(status.Child("certificate", "notBefore"), c.NotBefore)
		check(status.Child("certificate", "notAfter"), c.NotAfter)
		check(status.Child("certificate", "renewalTime"), c.RenewalTime)
	}
	for i := range r.Status.Conditions {
		check(status.Child("conditions").Index(i).Child("lastTransitionTime"), &r.Status.Conditions[i].LastTransitionTime)
	}
	if len(errs) == 0 {
		return nil
	}
	return invalid(r.Name, errs)
}
