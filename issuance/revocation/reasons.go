package revocation

import (
	"fmt"
	"slices"

	acmez "github.com/mholt/acmez/v3/acme"

	"github.com/apoxy-dev/caddy-apoxy/internal/words"
)

// reasons are the reasons for a revocation by the names of RFC 5280
// section 5.3.1, as far as they make sense for a server's certificate.
var reasons = map[string]int{
	"unspecified":          acmez.ReasonUnspecified,
	"keyCompromise":        acmez.ReasonKeyCompromise,
	"affiliationChanged":   acmez.ReasonAffiliationChanged,
	"superseded":           acmez.ReasonSuperseded,
	"cessationOfOperation": acmez.ReasonCessationOfOperation,
}

// Reason is the code of a reason's name.
func Reason(name string) (int, error) {
	if code, ok := reasons[name]; ok {
		return code, nil
	}
	names := make([]string, 0, len(reasons))
	for n := range reasons {
		names = append(names, n)
	}
	slices.Sort(names)
	return 0, fmt.Errorf("revoking: reason %q is not one of %v", words.Cut(name, 60), names)
}

// ReasonName is the name of a reason's code, empty for unspecified.
func ReasonName(code int) string {
	switch code {
	case acmez.ReasonUnspecified:
		return ""
	case acmez.ReasonCACompromise:
		return "cACompromise"
	case acmez.ReasonCertificateHold:
		return "certificateHold"
	case acmez.ReasonPrivilegeWithdrawn:
		return "privilegeWithdrawn"
	case acmez.ReasonAACompromise:
		return "aACompromise"
	}
	for name, c := range reasons {
		if c == code {
			return name
		}
	}
	return fmt.Sprintf("reason %d", code)
}
