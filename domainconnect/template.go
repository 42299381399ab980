package domainconnect

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// Template is what DNS providers are given: the records of the operator's service. Its
// JSON is that of the specification's section "Template Definition".
type Template struct {
	ProviderID          string           `json:"providerId"`
	ProviderName        string           `json:"providerName"`
	ServiceID           string           `json:"serviceId"`
	ServiceName         string           `json:"serviceName"`
	Version             int              `json:"version,omitempty"`
	LogoURL             string           `json:"logoUrl,omitempty"`
	Description         string           `json:"description,omitempty"`
	VariableDescription string           `json:"variableDescription,omitempty"`
	SyncBlock           bool             `json:"syncBlock"`
	SyncPubKeyDomain    string           `json:"syncPubKeyDomain,omitempty"`
	HostRequired        bool             `json:"hostRequired"`
	Records             []TemplateRecord `json:"records"`
}

// TemplateRecord is one of its records.
type TemplateRecord struct {
	Type      string `json:"type"`
	GroupID   string `json:"groupId,omitempty"`
	Host      string `json:"host"`
	PointsTo  string `json:"pointsTo"`
	TTL       int    `json:"ttl"`
	Essential string `json:"essential,omitempty"`
}

// Names are what customers see of the operator.
type Names struct {
	// Provider is the operator's name, Service that of what domains are connected to.
	Provider, Service string
	// LogoURL is an https URL; empty: none.
	LogoURL string
}

// templateTTL is short enough for a mistake to be mended the same hour.
const templateTTL = 3600

// NewTemplate makes the template of a service whose records lead into a zone, the
// operator's Z. All that varies is what the hostname gives, which providers fill in
// themselves, and the token of the ownership record.
func NewTemplate(s Service, n Names, zone string, version int) Template {
	zone = strings.ToLower(strings.TrimSuffix(zone, "."))
	record := func(group, host, to string) TemplateRecord {
		return TemplateRecord{Type: "CNAME", GroupID: group, Host: host, PointsTo: to, TTL: templateTTL}
	}
	acme, ownership := v1alpha3.ACMEChallengeLabel, v1alpha3.ApoxyChallengeLabel
	return Template{
		ProviderID: s.ProviderID, ProviderName: n.Provider, ServiceID: s.ServiceID, ServiceName: n.Service,
		Version: version, LogoURL: n.LogoURL,
		Description:         "Leads a hostname to " + n.Service + ". " + GroupTraffic + ": its requests; " + GroupCertificate + ": its TLS certificate is obtained by DNS-01; " + GroupOwnership + ": proof that the customer controls it",
		VariableDescription: variableToken + ": 32 hexadecimal digits that name the customer's record at " + n.Provider,
		SyncPubKeyDomain:    zone,
		HostRequired:        true, // a CNAME cannot stand at the top of a zone
		Records: []TemplateRecord{
			record(GroupTraffic, "@", "%fqdn%."+zone),
			record(GroupCertificate, acme, acme+".%fqdn%."+zone),
			record(GroupOwnership, ownership, "%"+variableToken+"%."+v1alpha3.ApoxyVerifyLabel+"."+zone),
		},
	}
}

// FileName is what the public collection of templates calls the file of a template;
// false if it has no ids.
func FileName(raw []byte) (string, bool) {
	var t Template
	if json.Unmarshal(raw, &t) != nil || CheckID(t.ProviderID) != nil || CheckID(t.ServiceID) != nil {
		return "", false
	}
	return strings.ToLower(t.ProviderID + "." + t.ServiceID + ".json"), true
}

// JSON is the template as it is submitted.
func (t Template) JSON() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "    ")
	if err := e.Encode(t); err != nil {
		return nil, fmt.Errorf("encoding the template: %w", err)
	}
	return b.Bytes(), nil
}
