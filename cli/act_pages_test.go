package cli

import (
	"strings"
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/advice"
)

// Whatever a record's state, one sentence says who must act and what they do.
func TestWhoMustActIsSaidInOneSentence(t *testing.T) {
	for name, want := range map[string]advice.Act{
		"not_looked_at":          {Who: advice.Customer},
		"fresh":                  {Who: advice.Customer, Text: hostname + ". CNAME " + mainTarget},
		"fresh_http":             {Who: advice.Customer, Text: hostname + ". CNAME " + mainTarget},
		"half_set_up":            {Who: advice.Customer, Text: hostname + ". CNAME " + mainTarget},
		"issuing":                {Who: advice.Nobody, Text: "by itself"},
		"all_well":               {Who: advice.Nobody, Text: hostname + " is served."},
		"renewal_in_trouble":     {Who: advice.Operator, Text: "The operator sets another email in `issuer apoxy`"},
		"certificate_in_trouble": {Who: advice.Operator, Text: "The operator opens ports 80 and 443"},
		"caa_forbids":            {Who: advice.Customer, Text: "CAA"},
		"many_problems":          {Who: advice.Customer},
	} {
		r := pages()[name]
		if r == nil {
			t.Fatalf("there is no record %s", name)
		}
		a := advice.Of(r)
		act := advice.ActFor(r, &a)
		if act.Who != want.Who || !strings.Contains(act.Text, want.Text) || act.Text == "" {
			t.Errorf("%s: the %s: %s", name, act.Who, act.Text)
		}
	}
	for name, r := range pages() {
		a := advice.Of(r)
		t.Logf("%-24s %+v", name, advice.ActFor(r, &a))
	}
}
