package doctor

import (
	"strings"
	"testing"
)

func TestDamagedValuesAreFound(t *testing.T) {
	const before = "# HELP apoxy_store_damaged_values Stored values\n# TYPE apoxy_store_damaged_values gauge\n"
	for _, tc := range []struct {
		is, metrics string
		level       Level
		says        string
	}{
		{"none", before + "apoxy_store_damaged_values 0\n", OK, "none is known"},
		{"some", "x 1\n" + before + "apoxy_store_damaged_values 3\ny 2\n", Wrong, "3 of them"},
		{"many", before + "apoxy_store_damaged_values 6.5536e+04 1700000000\n", Wrong, "65536 of them"},
		{"no such metric", "apoxy_store_damaged_values_total 5\n", Note, "cannot be told"},
		{"no number", "apoxy_store_damaged_values x\n", Note, "cannot be told"},
		{"less than none", "apoxy_store_damaged_values -1\n", Note, "no count"},
		{"not a number", "apoxy_store_damaged_values NaN\n", Note, "no count"},
		{"without end", "apoxy_store_damaged_values +Inf\n", Note, "no count"},
		{"nothing", "", Note, "cannot be told"},
	} {
		t.Run(tc.is, func(t *testing.T) {
			a := admin(t, map[string]string{"/metrics": tc.metrics})
			o := Options{Base: a.URL + "/"}.withDefaults()
			found := judgeStore(o.gatherStore(t.Context()))
			if len(found) != 1 || found[0].Level != tc.level || !strings.Contains(found[0].Seen, tc.says) {
				t.Fatalf("found %+v, want %s with %q", found, tc.level, tc.says)
			}
			if (tc.level == OK) != (found[0].Mend == "") || tc.level != OK && !strings.Contains(found[0].Mend, "store verify") {
				t.Errorf("mend %q", found[0].Mend)
			}
		})
	}
	if found := judgeStore((Options{}).withDefaults().gatherStore(t.Context())); found != nil {
		t.Errorf("without an endpoint: %+v", found)
	}
}
