package revocation

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	acmez "github.com/mholt/acmez/v3/acme"

	"github.com/apoxy-dev/caddy-apoxy/internal/words"
)

// reasons are the reasons that a server's owner may have to revoke a certificate, by
// the names of RFC 5280 section 5.3.1.
var reasons = map[string]int{
	"unspecified":          acmez.ReasonUnspecified,
	"keyCompromise":        acmez.ReasonKeyCompromise,
	"affiliationChanged":   acmez.ReasonAffiliationChanged,
	"superseded":           acmez.ReasonSuperseded,
	"cessationOfOperation": acmez.ReasonCessationOfOperation,
}

// otherReasons are the names of the reasons that only CAs give.
var otherReasons = map[int]string{
	acmez.ReasonCACompromise:       "cACompromise",
	acmez.ReasonCertificateHold:    "certificateHold",
	acmez.ReasonPrivilegeWithdrawn: "privilegeWithdrawn",
	acmez.ReasonAACompromise:       "aACompromise",
}

// Reason is the code of a reason's name. The error names those that there are.
func Reason(name string) (int, error) {
	if code, ok := reasons[name]; ok {
		return code, nil
	}
	return 0, fmt.Errorf("revoking: reason %q is not one of %v", words.Cut(name, 60), slices.Sorted(maps.Keys(reasons)))
}

// ReasonName is the name of a reason's code, empty for unspecified.
func ReasonName(code int) string {
	if code == acmez.ReasonUnspecified {
		return ""
	}
	for name, c := range reasons {
		if c == code {
			return name
		}
	}
	return cmp.Or(otherReasons[code], fmt.Sprintf("reason %d", code))
}
