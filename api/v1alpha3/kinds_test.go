package v1alpha3

import (
	"strings"
	"testing"
	"time"
)

// The table shows of every kind what it is and where it leads, and `kubectl explain`
// names them all where somebody looks for them.
func TestEveryKindIsShownAndExplained(t *testing.T) {
	column := -1
	for i, c := range TableColumns() {
		if c.Name == "Target" {
			column = i
		}
	}
	for _, kind := range TargetKinds() {
		r := record("api.example.com")
		r.Spec.Target = DomainRecordTarget{Ref: &TargetRef{Kind: kind, Name: "office"}}
		if got := TableRow(r, time.Now(), time.Time{}).Cells[column]; got != kind+"/office" {
			t.Errorf("the table shows %v of a %s", got, kind)
		}
	}
	redirect := record("example.com", redirects(TargetRedirect{Hostname: new("www.example.com")}))
	if got := TableRow(redirect, time.Now(), time.Time{}).Cells[column]; got != KindRedirect+"/www.example.com" {
		t.Errorf("the table shows %v of a redirect", got)
	}
	all := OpenAPISchemas()
	spec := all[SchemaPrefix+"DomainRecordSpec"].Properties["target"].Description
	ref := all[SchemaPrefix+"DomainRecordTarget"].Properties["ref"].Description
	kindOf := all[SchemaPrefix+"TargetRef"].Properties["kind"].Description
	for _, kind := range TargetKinds() {
		for where, said := range map[string]string{"spec.target": spec, "spec.target.ref": ref, "spec.target.ref.kind": kindOf} {
			if !strings.Contains(said, kind) {
				t.Errorf("%s: %q says nothing of %s", where, said, kind)
			}
		}
	}
	if !strings.Contains(spec, "redirect") {
		t.Errorf("spec.target: %q says nothing of redirects", spec)
	}
}
