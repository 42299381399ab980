package v1alpha3

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

func TestTable(t *testing.T) {
	now := time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
	var full DomainRecord
	if err := yaml.Unmarshal([]byte(sample), &full); err != nil {
		t.Fatal(err)
	}
	full.Spec.Target.Redirect = nil
	full.CreationTimestamp = metav1.NewTime(now.Add(-26 * time.Hour))
	for _, typ := range []string{ConditionOwnershipVerified, ConditionTLSReady} {
		full.Status.Conditions = append(full.Status.Conditions, metav1.Condition{Type: typ, Status: metav1.ConditionTrue})
	}
	full.Status.Conditions = append(full.Status.Conditions, metav1.Condition{Type: ConditionCNAMEConfigured, Status: metav1.ConditionFalse})
	plain := full.DeepCopy()
	plain.Spec.TLS.Disabled = new(true)
	expired := full.DeepCopy()
	expired.Status.Certificate.NotAfter = &metav1.Time{Time: now.Add(-time.Hour)}

	redirect := record("example.com", redirects(TargetRedirect{Hostname: new("www.example.com"), Port: new(int32(8443))}))
	for _, c := range []struct {
		is   string
		r    *DomainRecord
		next time.Time
		want []any
	}{
		{"a record with everything", &full, now.Add(90 * time.Second), []any{"api.example.com", "api.example.com", "Active", "True", "True", "False", "True", "26h", "Gateway/default", "60d", "90s"}},
		{"an HTTP-only record", plain, time.Time{}, []any{"api.example.com", "api.example.com", "Active", "True", "-", "False", "True", "26h", "Gateway/default", "60d", "-"}},
		{"an expired certificate and a look that is due", expired, now, []any{"api.example.com", "api.example.com", "Active", "True", "True", "False", "True", "26h", "Gateway/default", "expired", "now"}},
		{"a record without status", record("api.example.com"), time.Time{}, []any{"api.example.com", "api.example.com", "-", "Unknown", "Unknown", "Unknown", "Unknown", "<unknown>", "Gateway/default", "-", "-"}},
		{"a redirect", redirect, time.Time{}, []any{"example.com", "example.com", "-", "Unknown", "Unknown", "Unknown", "Unknown", "<unknown>", "Redirect/www.example.com:8443", "-", "-"}},
		{"an empty record", &DomainRecord{}, time.Time{}, []any{"", "", "-", "Unknown", "-", "Unknown", "Unknown", "<unknown>", "-", "-", "-"}},
	} {
		t.Run(c.is, func(t *testing.T) {
			got := TableRow(c.r, now, c.next).Cells
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if len(got) != len(TableColumns()) {
				t.Errorf("%d cells under %d columns", len(got), len(TableColumns()))
			}
		})
	}
	for i, c := range TableColumns() {
		if c.Description == "" || (c.Priority > 0) != (i > 7) {
			t.Errorf("column %+v", c)
		}
	}
}
