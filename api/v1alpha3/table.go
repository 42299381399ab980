package v1alpha3

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
)

// none stands in a table cell where there is nothing to say.
const none = "-"

// TableColumns are the columns of a table of records. Those with a priority
// above 0 show in wide output only.
func TableColumns() []metav1.TableColumnDefinition {
	meta := metav1.ObjectMeta{}.SwaggerDoc()
	return []metav1.TableColumnDefinition{
		{Name: "Name", Type: "string", Format: "name", Description: meta["name"]},
		{Name: "Hostname", Type: "string", Description: "The customer's hostname."},
		{Name: "Phase", Type: "string", Description: "Pending, Issuing, Active or Detached."},
		{Name: "Ownership", Type: "string", Description: "Whether there is proof that the customer controls the hostname (OwnershipVerified)."},
		{Name: "TLS", Type: "string", Description: "Whether an unexpired certificate is ready to serve (TLSReady); - for HTTP-only records."},
		{Name: "CNAME", Type: "string", Description: "Whether the hostname resolves to the zone (CNAMEConfigured)."},
		{Name: "Ready", Type: "string", Description: "Whether everything that serving needs is in place."},
		{Name: "Age", Type: "string", Description: meta["creationTimestamp"]},
		{Name: "Target", Type: "string", Priority: 1, Description: "Where requests for the hostname go."},
		{Name: "Cert Expires", Type: "string", Priority: 1, Description: "How long the certificate is still valid."},
		{Name: "Next Look", Type: "string", Priority: 1, Description: "When the record's DNS is looked at again."},
	}
}

// TableRow returns the cells of one record under TableColumns. A nextLook of
// zero is one that is not known. The row's object is left to the caller.
func TableRow(r *DomainRecord, now, nextLook time.Time) metav1.TableRow {
	tls := none
	if r.WantsTLS() {
		tls = r.conditionCell(ConditionTLSReady)
	}
	return metav1.TableRow{Cells: []any{
		r.Name,
		r.Spec.Name,
		orNone(string(r.Status.Phase)),
		r.conditionCell(ConditionOwnershipVerified),
		tls,
		r.conditionCell(ConditionCNAMEConfigured),
		r.conditionCell(ConditionReady),
		since(r.CreationTimestamp.Time, now),
		targetCell(r),
		expiryCell(r.Status.Certificate, now),
		until(nextLook, now, "now"),
	}}
}

// Condition returns the condition of a type, nil if there is none.
func (s *DomainRecordStatus) Condition(conditionType string) *metav1.Condition {
	for i := range s.Conditions {
		if s.Conditions[i].Type == conditionType {
			return &s.Conditions[i]
		}
	}
	return nil
}

func (r *DomainRecord) conditionCell(conditionType string) string {
	if c := r.Status.Condition(conditionType); c != nil {
		return string(c.Status)
	}
	return string(metav1.ConditionUnknown)
}

func targetCell(r *DomainRecord) string {
	ref := r.Spec.Target.Ref
	if r.Spec.Target.Redirect != nil {
		return KindRedirect + "/" + r.RedirectText()
	}
	if ref == nil {
		return none
	}
	return ref.Kind + "/" + ref.Name
}

func expiryCell(c *CertificateStatus, now time.Time) string {
	if c == nil || c.NotAfter == nil {
		return none
	}
	return until(c.NotAfter.Time, now, "expired")
}

func since(t, now time.Time) string {
	if t.IsZero() {
		return "<unknown>"
	}
	return duration.HumanDuration(now.Sub(t))
}

// until tells how long it is from now to t; past is said of what has been.
func until(t, now time.Time, past string) string {
	switch {
	case t.IsZero():
		return none
	case !t.After(now):
		return past
	default:
		return duration.HumanDuration(t.Sub(now))
	}
}

func orNone(s string) string {
	if s == "" {
		return none
	}
	return s
}
