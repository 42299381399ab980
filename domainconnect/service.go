package domainconnect

import (
	"fmt"
	"strings"
)

// Service is what DNS providers know the operator's template by.
type Service struct {
	// ProviderID is the operator's, ServiceID the template's.
	ProviderID, ServiceID string
}

// maxID is the longest id (dc-id of the specification).
const maxID = 63

// CheckID returns what is wrong with an id of a provider or service, nil for nothing:
// it is part of URLs and file names.
func CheckID(id string) error {
	if id == "" || len(id) > maxID {
		return fmt.Errorf("%.80q: expected 1 to %d letters, digits, dots, hyphens and underscores", id, maxID)
	}
	for i := range len(id) {
		if c := id[i]; !(isAlphanumeric(c) || c == '-' || c == '_' || c == '.') {
			return fmt.Errorf("%.80q: expected letters, digits, dots, hyphens and underscores only", id)
		}
	}
	if strings.Trim(id, ".") == "" {
		return fmt.Errorf("%.80q: expected a name", id) // it would lead elsewhere in a URL
	}
	return nil
}

// Check returns what is wrong with the service, nil for nothing.
func (s Service) Check() error {
	if err := CheckID(s.ProviderID); err != nil {
		return fmt.Errorf("provider_id %w, such as example.net", err)
	}
	if err := CheckID(s.ServiceID); err != nil {
		return fmt.Errorf("service_id %w, such as custom-domain", err)
	}
	return nil
}

// path is where a provider keeps the template, below one of its prefixes.
func (s Service) path() string {
	return "/v2/domainTemplates/providers/" + s.ProviderID + "/services/" + s.ServiceID
}

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}
