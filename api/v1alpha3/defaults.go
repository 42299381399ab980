package v1alpha3

// DefaultTTL is the TTL, in seconds, of records that name none.
const DefaultTTL = 300

// MaxTTL is the highest TTL a record may have, in seconds.
const MaxTTL = 86400

// Default fills in what was left out and brings spec.name and the hostname of a
// redirect into the form that is kept. Invalid ones are left as they are, for Validate
// to name. Nothing
// else is changed: spec.ttl stays absent, so that its default can move.
func Default(r *DomainRecord) {
	if n, err := NormalizeHostname(r.Spec.Name); err == nil {
		r.Spec.Name = n
		if r.Name == "" && r.GenerateName == "" {
			r.Name = RecordName(n)
		}
	}
	if d := r.Spec.Target.Redirect; d != nil && d.Hostname != nil {
		if n, err := NormalizeRedirectHostname(*d.Hostname); err == nil {
			d.Hostname = &n
		}
	}
}

// EffectiveTTL is the TTL in seconds that the zone answers with.
func (r *DomainRecord) EffectiveTTL() uint32 {
	if t := r.Spec.TTL; t != nil && *t >= 0 {
		return uint32(*t)
	}
	return DefaultTTL
}

// WantsTLS reports whether a certificate is to be obtained; otherwise the
// record is HTTP-only.
func (r *DomainRecord) WantsTLS() bool {
	tls := r.Spec.TLS
	return tls != nil && (tls.Disabled == nil || !*tls.Disabled)
}

// Authority is the configured certificate authority that the record asks for,
// empty if it asks for none.
func (r *DomainRecord) Authority() string {
	if tls := r.Spec.TLS; tls != nil && tls.CertificateAuthority != nil {
		return *tls.CertificateAuthority
	}
	return ""
}

// Owner is the tenant that the record belongs to, empty if it names none.
func (r *DomainRecord) Owner() string { return r.Labels[OwnerLabel] }
