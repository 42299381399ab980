package v1alpha3

import (
	"fmt"
	"strings"

	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// TargetKinds are the kinds that target.ref.kind may name.
func TargetKinds() []string {
	return []string{KindGateway, KindProxy, KindTunnel, KindEdgeFunction}
}

// maxText bounds short free texts, such as a target's name, in octets.
const maxText = 253

// ValidationOptions is what validation must know of the configuration.
type ValidationOptions struct {
	// Zone is Z, with or without the final dot. Empty: no zone is configured,
	// and what depends on it is not checked.
	Zone string
	// NameServers are the host names of Z's name servers, with or without the
	// final dot.
	NameServers []string
	// Reserved reports whether the configuration itself already serves a
	// hostname, and by which site. Nil: nothing is reserved.
	Reserved func(hostname string) (by string, yes bool)
}

// Validate returns everything that is wrong with the spec of a defaulted
// record that is to be created; see ValidateMetadata for its metadata.
func Validate(r *DomainRecord, o ValidationOptions) field.ErrorList {
	errs := validateHostname(r.Spec.Name, o)
	return append(errs, validateRest(r)...)
}

// ValidateUpdate returns everything that is wrong with replacing old by r. The
// hostname of a record that exists is not judged again: a configuration that
// has since taken it must not make the record immovable.
func ValidateUpdate(r, old *DomainRecord, o ValidationOptions) field.ErrorList {
	var errs field.ErrorList
	if r.Spec.Name != old.Spec.Name {
		errs = append(errs, field.Invalid(field.NewPath("spec", "name"), cut(r.Spec.Name),
			fmt.Sprintf("is immutable and was %q: keep it, or create another record for the other hostname", cut(old.Spec.Name))))
	}
	return append(errs, validateRest(r)...)
}

// ValidateMetadata returns everything that is wrong with a record's metadata by
// Kubernetes' own rules: name, labels, annotations, finalizers, owner
// references.
func ValidateMetadata(r *DomainRecord) field.ErrorList {
	return apivalidation.ValidateObjectMeta(&r.ObjectMeta, false, apivalidation.NameIsDNSSubdomain, field.NewPath("metadata"))
}

func validateHostname(name string, o ValidationOptions) field.ErrorList {
	path := field.NewPath("spec", "name")
	if name == "" {
		return field.ErrorList{field.Required(path, "give the customer's hostname, such as api.example.com")}
	}
	host, err := NormalizeHostname(name)
	if err != nil {
		return field.ErrorList{field.Invalid(path, cut(name), err.Error())}
	}
	if msg := checkZone(host, plain(o.Zone)); msg != "" {
		return field.ErrorList{field.Invalid(path, cut(name), msg)}
	}
	if msg := checkNameServers(host, o.NameServers); msg != "" {
		return field.ErrorList{field.Invalid(path, cut(name), msg)}
	}
	if o.Reserved != nil {
		if by, yes := o.Reserved(host); yes {
			mend := "give a customer's hostname, or remove the site"
			if strings.Contains(by, "*") { // a site's own hostname is reserved whatever it serves
				mend += ", or have it serve records with the handler apoxy"
			}
			return field.ErrorList{field.Invalid(path, cut(name), fmt.Sprintf("is already served by the configuration (%s): %s", cut(by), mend))}
		}
	}
	return nil
}

// checkZone holds a hostname against the zone: outside of it, and short enough
// that every name the zone derives from it exists.
func checkZone(host, zone string) string {
	if zone == "" {
		return ""
	}
	base := BaseName(host)
	switch {
	case base == zone, strings.HasSuffix(base, "."+zone):
		return fmt.Sprintf("lies inside the zone %s, which is the operator's own: give a hostname of the customer's", zone)
	case IsWildcard(host) && parent(zone) == base:
		return fmt.Sprintf("covers the zone %s, which is the operator's own: give a wildcard of the customer's", zone)
	case IsWildcard(host) && strings.HasSuffix(zone, "."+base):
		return fmt.Sprintf("covers an ancestor of the zone %s, which is the operator's own: give a wildcard of the customer's", zone)
	case strings.HasSuffix(zone, "."+base):
		return fmt.Sprintf("is an ancestor of the zone %s and so the operator's own: give a hostname of the customer's", zone)
	}
	longest := strings.TrimSuffix(ChallengeName(host, zone), ".")
	if over := len(longest) - maxName; over > 0 {
		return fmt.Sprintf("is too long for the zone %s: %s would have %d octets, %d over the limit of %d: give a hostname at least %d octets shorter",
			zone, ACMEChallengeLabel+".NAME."+zone, len(longest), over, maxName, over)
	}
	return ""
}

// checkNameServers refuses the host names of the zone's name servers: whoever
// had a certificate for one, or its address record, could answer for the zone.
// Their ancestors outside the zone's own are another's business.
func checkNameServers(host string, servers []string) string {
	for _, s := range servers {
		switch s = plain(s); {
		case s == "":
		case host == s:
			return fmt.Sprintf("is the host name of the zone's name server %s, which is the operator's own: give a hostname of the customer's", cut(s))
		case IsWildcard(host) && parent(s) == BaseName(host):
			return fmt.Sprintf("covers the zone's name server %s, which is the operator's own: give a wildcard of the customer's, or its hostnames one by one", cut(s))
		}
	}
	return ""
}

// plain is a name of the configuration in the form of a normalized hostname:
// A-labels, lower case, without the final dot.
func plain(name string) string {
	name = strings.TrimSuffix(name, ".")
	if ascii, err := profile.ToASCII(name); err == nil {
		name = ascii
	}
	return strings.ToLower(strings.TrimSuffix(name, "."))
}

// parent is the name without its first label.
func parent(name string) string {
	_, rest, _ := strings.Cut(name, ".")
	return rest
}

func validateRest(r *DomainRecord) field.ErrorList {
	var errs field.ErrorList
	s, spec := &r.Spec, field.NewPath("spec")
	if t := s.TTL; t != nil && (*t < 0 || *t > MaxTTL) {
		errs = append(errs, field.Invalid(spec.Child("ttl"), *t, fmt.Sprintf("must be 0 to %d seconds: leave it out for %d", MaxTTL, DefaultTTL)))
	}
	if s.TLS != nil && s.TLS.CertificateAuthority != nil {
		errs = append(errs, validateText(spec.Child("tls", "certificateAuthority"), *s.TLS.CertificateAuthority, "the name of a configured certificate authority")...)
	}
	switch target := spec.Child("target"); {
	case s.Target.Redirect == nil:
		errs = append(errs, validateRef(target.Child("ref"), s.Target.Ref)...)
	case s.Target.Ref != nil:
		errs = append(errs, field.Forbidden(target.Child("redirect"), "a target is either a ref or a redirect: leave one of the two out"))
	default:
		errs = append(errs, validateRedirect(target.Child("redirect"), r)...)
	}
	return errs
}

func validateRef(path *field.Path, ref *TargetRef) field.ErrorList {
	if ref == nil {
		return field.ErrorList{field.Required(path, "name the target, such as {kind: Gateway, name: default}, or give a redirect in its place")}
	}
	var errs field.ErrorList
	if group := ref.Key().Group; group != "" {
		if len(validation.IsDNS1123Subdomain(group)) > 0 {
			errs = append(errs, field.Invalid(path.Child("group"), cut(group), "must be a DNS name in lower case, such as gateway.apoxy.dev, or empty"))
		}
	}
	switch ref.Kind {
	case "":
		errs = append(errs, field.Required(path.Child("kind"), "name one of "+strings.Join(TargetKinds(), ", ")))
	case KindGateway, KindProxy, KindTunnel, KindEdgeFunction:
	default:
		unknown := field.NotSupported(path.Child("kind"), cut(ref.Kind), TargetKinds())
		if hint, ok := apoxyKinds[ref.Kind]; ok {
			unknown.Detail += "; " + hint
		}
		errs = append(errs, unknown)
	}
	if ref.Name == "" {
		return append(errs, field.Required(path.Child("name"), "name the target as the configuration does"))
	}
	return append(errs, validateText(path.Child("name"), ref.Name, "the target's name in the configuration")...)
}

// apoxyKinds are what Apoxy's records may point at and these may not, with what
// is in their place.
var apoxyKinds = map[string]string{
	"TunnelNode":   "Apoxy's TunnelNode is a Tunnel here",
	"DomainRecord": "a record cannot point at another record here: give it a target of its own",
}

// validateText refuses texts that are no name of anything: long, or with
// spaces or control characters in them.
func validateText(path *field.Path, s, what string) field.ErrorList {
	if len(s) > maxText {
		return field.ErrorList{field.TooLong(path, "", maxText)}
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\uFFFD' }) {
		return field.ErrorList{field.Invalid(path, s, "must be "+what+", without spaces")}
	}
	return nil
}
