package v1alpha3

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// The group, version and kind of the one resource this API serves.
const (
	Group    = "core.apoxy.dev"
	Version  = "v1alpha3"
	Kind     = "DomainRecord"
	ListKind = "DomainRecordList"

	// Resource is the plural in URLs, Singular and ShortName what kubectl takes
	// in its place. Resources are cluster-scoped.
	Resource  = "domainrecords"
	Singular  = "domainrecord"
	ShortName = "dr"
)

// OwnerLabel names the tenant that a record belongs to. Two records with
// different owners never inherit proof from one another.
const OwnerLabel = "core.apoxy.dev/owner"

var (
	GroupVersion         = schema.GroupVersion{Group: Group, Version: Version}
	GroupVersionKind     = GroupVersion.WithKind(Kind)
	GroupVersionResource = GroupVersion.WithResource(Resource)
	GroupResource        = schema.GroupResource{Group: Group, Resource: Resource}
)

// DomainRecord binds a customer's hostname to a target of the operator and
// reports whether the customer controls the hostname, whether its certificate
// is ready and what is still to be done by whom.
type DomainRecord struct {
	metav1.TypeMeta `json:",inline"`
	// Standard object metadata. The name defaults to spec.name.
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// What the operator wants for this hostname.
	Spec DomainRecordSpec `json:"spec"`
	// What was last seen, written by the controller.
	Status DomainRecordStatus `json:"status,omitempty"`
}

// DomainRecordList is a list of DomainRecords.
type DomainRecordList struct {
	metav1.TypeMeta `json:",inline"`
	// Standard list metadata.
	metav1.ListMeta `json:"metadata,omitempty"`

	// The records.
	Items []DomainRecord `json:"items"`
}

// DomainRecordSpec is what the operator wants for a hostname.
type DomainRecordSpec struct {
	// The customer's hostname. Required, immutable, one record per hostname.
	// Internationalized names are accepted and kept as A-labels (RFC 5890),
	// lower case, without the final dot.
	Name string `json:"name"`
	// The TTL in seconds, 0 to 86400, of what the operator's zone answers for
	// this record. Default: 300.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=86400
	TTL *int32 `json:"ttl,omitempty"`
	// Absent: the record is served over plain HTTP only. Present: a
	// certificate is obtained and kept fresh.
	TLS *DomainRecordTLS `json:"tls,omitempty"`
	// Where requests for the hostname go: to a Gateway, Proxy, Tunnel or
	// EdgeFunction of the configuration, or elsewhere by a redirect.
	Target DomainRecordTarget `json:"target"`
}

// DomainRecordTLS says how the certificate of a record is obtained.
type DomainRecordTLS struct {
	// The configured certificate authority to use. Default: the configured
	// ones in their order.
	CertificateAuthority *string `json:"certificateAuthority,omitempty"`
	// True is the same as no tls at all: HTTP only.
	Disabled *bool `json:"disabled,omitempty"`
}

// DomainRecordTarget is where requests for a hostname go: to a Gateway, Proxy,
// Tunnel or EdgeFunction of the configuration (ref), or elsewhere (redirect).
type DomainRecordTarget struct {
	// A Gateway, Proxy, Tunnel or EdgeFunction of the configuration, by reference.
	// Exactly one of ref and redirect is given.
	Ref *TargetRef `json:"ref,omitempty"`
	// In place of ref: every request is redirected, as by Gateway API's
	// HTTPRequestRedirectFilter. At least one of scheme, hostname, port and path
	// is given; the query is kept.
	Redirect *TargetRedirect `json:"redirect,omitempty"`
}

// TargetRedirect says where requests are redirected, in the fields of Gateway
// API's HTTPRequestRedirectFilter. What is left out stays as the client asked.
type TargetRedirect struct {
	// http or https. Default: that of the request.
	// +kubebuilder:validation:Enum=http;https
	Scheme *string `json:"scheme,omitempty"`
	// The hostname to go to: no wildcard, no address. Default: that of the request.
	Hostname *string `json:"hostname,omitempty"`
	// The port to go to. Default: that of the scheme where one is given, else that
	// of the request's URL.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port *int32 `json:"port,omitempty"`
	// What becomes of the path. Default: it stays.
	Path *RedirectPath `json:"path,omitempty"`
	// The status of the answer: 301, 302, 303, 307 or 308. Default: 302.
	// +kubebuilder:validation:Enum=301;302;303;307;308
	StatusCode *int32 `json:"statusCode,omitempty"`
}

// RedirectPath says what becomes of the path of a redirected request.
type RedirectPath struct {
	// ReplaceFullPath or ReplacePrefixMatch.
	// +kubebuilder:validation:Enum=ReplaceFullPath;ReplacePrefixMatch
	Type string `json:"type"`
	// With ReplaceFullPath: the whole path, beginning with a slash.
	ReplaceFullPath *string `json:"replaceFullPath,omitempty"`
	// With ReplacePrefixMatch: what takes the place of the prefix "/", so that
	// /blog makes /blog/page of /page.
	ReplacePrefixMatch *string `json:"replacePrefixMatch,omitempty"`
}

// TargetRef names a target that the Caddy configuration defines.
type TargetRef struct {
	// The API group of the target; any valid group, may be empty.
	Group *string `json:"group,omitempty"`
	// Gateway, Proxy, Tunnel or EdgeFunction.
	// +kubebuilder:validation:Enum=Gateway;Proxy;Tunnel;EdgeFunction
	Kind string `json:"kind"`
	// The target's name in the configuration.
	Name string `json:"name"`
}

// The kinds a TargetRef may name.
const (
	KindGateway      = "Gateway"
	KindProxy        = "Proxy"
	KindTunnel       = "Tunnel"
	KindEdgeFunction = "EdgeFunction"
)

// Phase sums the conditions up in one word.
// +kubebuilder:validation:Enum=Pending;Issuing;Active;Detached
type Phase string

const (
	// PhasePending: there is no proof yet.
	PhasePending Phase = "Pending"
	// PhaseIssuing: a proof is in place and a certificate is being obtained.
	PhaseIssuing Phase = "Issuing"
	// PhaseActive: proven and, with TLS, certified, whether or not the main
	// CNAME is flipped.
	PhaseActive Phase = "Active"
	// PhaseDetached: every proof was withdrawn after having been proven.
	PhaseDetached Phase = "Detached"
)

// The values of status.type: the record points at a target by reference, or is a
// redirect.
const (
	StatusTypeRef      = "Ref"
	StatusTypeRedirect = "Redirect"
)

// DomainRecordStatus is what was last seen of a record.
type DomainRecordStatus struct {
	// The metadata.generation that this status was computed from.
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// What the target is: Ref or Redirect.
	Type string `json:"type,omitempty"`
	// Pending, Issuing, Active or Detached.
	Phase Phase `json:"phase,omitempty"`
	// The names in the operator's zone that the hostname is to resolve to.
	// +listType=atomic
	ResolvedValues []string `json:"resolvedValues,omitempty"`
	// The DNS records the customer creates, exact and complete, and what was
	// last seen at each.
	// +listType=map
	// +listMapKey=purpose
	DNSRecords []DNSRecord `json:"dnsRecords,omitempty"`
	// Who hosts the customer's zone, as its name servers tell; absent where that is not
	// known.
	DNSProvider *DNSProviderStatus `json:"dnsProvider,omitempty"`
	// Where the customer creates the DNS records that are missing with one click,
	// absent where the DNS provider does not support it or none is missing.
	DomainConnect *DomainConnectStatus `json:"domainConnect,omitempty"`
	// The certificate in use, absent while there is none.
	Certificate *CertificateStatus `json:"certificate,omitempty"`
	// What the controller has established about who controls the hostname, and
	// so whether it is served. Only the controller writes it; what a client
	// writes here is ignored.
	Ownership *OwnershipStatus `json:"ownership,omitempty"`
	// Conditions of type OwnershipVerified, TLSReady,
	// ACMEChallengeDelegationReady, CNAMEConfigured, TargetReady and Ready.
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// OwnershipStatus is what the controller has established about who controls a
// hostname. Unlike the rest of a status, no client can write it.
type OwnershipStatus struct {
	// Whether the hostname is served: the condition OwnershipVerified as the
	// controller knows it.
	Verified bool `json:"verified"`
	// The reason with which OwnershipVerified was last True.
	Proof string `json:"proof,omitempty"`
	// Whether it was this record's own token that proved it, and nothing else would.
	Token bool `json:"token,omitempty"`
	// The label core.apoxy.dev/owner when the record was last verified.
	Owner string `json:"owner,omitempty"`
	// When the record was first verified, absent if it never was.
	VerifiedTime *metav1.Time `json:"verifiedTime,omitempty"`
	// Since when every proof of a verified record is gone.
	WithdrawnTime *metav1.Time `json:"withdrawnTime,omitempty"`
	// Whether a client has written to the status since the controller did; the
	// controller's next look puts it right.
	Overwritten bool `json:"overwritten,omitempty"`
}

// DNSPurpose says what a customer's DNS record is for.
// +kubebuilder:validation:Enum=Traffic;ACMEChallenge;Ownership
type DNSPurpose string

const (
	// PurposeTraffic brings the hostname's requests here.
	PurposeTraffic DNSPurpose = "Traffic"
	// PurposeACMEChallenge lets a certificate be issued before traffic moves.
	PurposeACMEChallenge DNSPurpose = "ACMEChallenge"
	// PurposeOwnership proves control of the hostname and nothing else.
	PurposeOwnership DNSPurpose = "Ownership"
)

// DNSRecord is one record that the customer creates at their DNS provider.
type DNSRecord struct {
	// Traffic, ACMEChallenge or Ownership.
	Purpose DNSPurpose `json:"purpose"`
	// The record type to create: CNAME.
	Type string `json:"type"`
	// The owner name, absolute, with the final dot.
	Name string `json:"name"`
	// The record's value, absolute, with the final dot.
	Value string `json:"value"`
	// The customer's zone that the name lies in, absolute, with the final dot, as last
	// observed; absent until it was.
	Zone string `json:"zone,omitempty"`
	// The name relative to the zone, as forms of DNS providers want it; "@" at the
	// zone's top. Absent where the zone is.
	Host string `json:"host,omitempty"`
	// What was last seen at the name, in presentation form ("CNAME x.", "A 192.0.2.1").
	// +listType=atomic
	Observed []string `json:"observed"`
	// Whether what was last seen is right.
	Configured bool `json:"configured"`
	// Whether the record cannot become Ready without it.
	Required bool `json:"required"`
	// When configured last changed.
	LastTransitionTime *metav1.Time `json:"lastTransitionTime,omitempty"`
	// What is wrong with the record as seen, absent when nothing is.
	Problem *DNSProblem `json:"problem,omitempty"`
}

// DNSProblem is a diagnosis: which mistake was seen, and how to mend it.
type DNSProblem struct {
	// The mistake, in CamelCase, machine-readable.
	Reason string `json:"reason"`
	// What was seen, what is expected and who must do what.
	Message string `json:"message"`
}

// DNSProviderStatus is who hosts a customer's zone.
type DNSProviderStatus struct {
	// The provider's name.
	Name string `json:"name"`
	// The https URL where the customer changes records; absent where that is not known.
	ControlPanel string `json:"controlPanel,omitempty"`
}

// DomainConnectStatus is what the customer's DNS provider offers by Domain Connect.
type DomainConnectStatus struct {
	// The provider's page where the customer agrees to the records, signed by the
	// operator. It changes with what is missing.
	URL string `json:"url"`
}

// CertificateStatus describes the certificate in use.
type CertificateStatus struct {
	// The issuing certificate authority.
	Issuer string `json:"issuer,omitempty"`
	// The serial number in lower-case hexadecimal.
	SerialNumber string `json:"serialNumber,omitempty"`
	// From when the certificate is valid.
	NotBefore *metav1.Time `json:"notBefore,omitempty"`
	// Until when the certificate is valid.
	NotAfter *metav1.Time `json:"notAfter,omitempty"`
	// When it is to be renewed.
	RenewalTime *metav1.Time `json:"renewalTime,omitempty"`
	// The ACME challenge type that it was obtained with: dns-01, http-01 or
	// tls-alpn-01.
	Challenge string `json:"challenge,omitempty"`
	// Where it comes from: ACME, obtained from a certificate authority and renewed by
	// itself; or Uploaded, the customer's own, which was put to the subresource
	// certificate, is shown in place of the other and is never proof of ownership.
	// When an uploaded one is about to expire, ACME takes over where it can.
	Source string `json:"source,omitempty"`
}

// Values of status.certificate.source.
const (
	SourceACME     = "ACME"
	SourceUploaded = "Uploaded"
)

// SetupLinkKind is the kind of what the subresource setuplink takes and answers.
const SetupLinkKind = "SetupLink"

// Bounds of a link to a record's set-up page, in seconds.
const (
	// DefaultSetupLink is how long a link lasts that names no time: 7 days.
	DefaultSetupLink = 7 * 24 * 60 * 60
	// MaxSetupLink is how long one may last: 90 days.
	MaxSetupLink = 90 * 24 * 60 * 60
)

// SetupLink is a link to the page by which the customer of a record sets it up. It is
// made when it is asked for and kept nowhere.
type SetupLink struct {
	metav1.TypeMeta `json:",inline"`
	// The record's name, in answers.
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// For how long the link opens the page, in seconds, 1 to 7776000 (90 days).
	// Default: 604800 (7 days).
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=7776000
	ExpirationSeconds *int64 `json:"expirationSeconds,omitempty"`
	// The link, in answers.
	Status SetupLinkStatus `json:"status,omitempty"`
}

// SetupLinkStatus is a link to a record's set-up page.
type SetupLinkStatus struct {
	// The link. Whoever has it sees the page, until then, or until the record is deleted
	// or replaced.
	URL string `json:"url,omitempty"`
	// When the link ends.
	ExpirationTimestamp *metav1.Time `json:"expirationTimestamp,omitempty"`
}
