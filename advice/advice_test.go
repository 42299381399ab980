package advice

import (
	"strings"
	"testing"
)

func TestParting(t *testing.T) {
	for name, c := range map[string]struct {
		message string
		foreign bool
		found   string
		mend    string
	}{
		"a final dot ends no sentence": {"x.com. CNAME y.net. is in place. Nobody needs to do anything.", false, "x.com. CNAME y.net. is in place. Nobody needs to do anything.", ""},
		"who acts and what follows":    {"There is none. The customer removes it. A final dot prevents that.", false, "There is none.", "The customer removes it. A final dot prevents that."},
		"two who act":                  {"Both fail. The operator mends one. The customer mends the other.", false, "Both fail.", "The operator mends one. The customer mends the other."},
		"foreign words before":         {"It said: no. The operator pays. The customer mends it.", true, "It said: no. The operator pays.", "The customer mends it."},
		"foreign words, nobody acts":   {"It said: no. The operator pays. It is tried again by itself.", true, "It said: no. The operator pays. It is tried again by itself.", ""},
		"nothing but the mend":         {"Waiting for the customer to create it.", false, "", "Waiting for the customer to create it."},
		"nobody is named":              {"Something is.", false, "Something is.", ""},
		"empty":                        {"", false, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			found, mend := partMessage(c.message, c.foreign)
			if found != c.found || strings.Join(mend, " ") != c.mend {
				t.Errorf("%q and %q, want %q and %q", found, mend, c.found, c.mend)
			}
		})
	}
}
