package v1alpha3

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

const zone = "cname.example.net"

func record(hostname string, change ...func(*DomainRecord)) *DomainRecord {
	r := &DomainRecord{Spec: DomainRecordSpec{
		Name:   hostname,
		TLS:    &DomainRecordTLS{},
		Target: DomainRecordTarget{Ref: TargetKey{"gateway.apoxy.dev", KindGateway, "default"}.Ref()},
	}}
	for _, f := range change {
		f(r)
	}
	Default(r)
	return r
}

func ttl(seconds int32) func(*DomainRecord) {
	return func(r *DomainRecord) { r.Spec.TTL = &seconds }
}

func ref(group, kind, name string) func(*DomainRecord) {
	return func(r *DomainRecord) { r.Spec.Target.Ref = TargetKey{group, kind, name}.Ref() }
}

func httpOnly(r *DomainRecord) { r.Spec.TLS = nil }

var options = ValidationOptions{
	Zone:        zone + ".",
	NameServers: []string{"ns1.example.net", "NS1.Other-Operator.org.", "ns.bücher.example", "ns2.cname.example.net"},
	Reserved: func(hostname string) (string, bool) {
		return "the site www.example.org", hostname == "www.example.org"
	},
}

// Having a site serve records frees a wildcard's hostnames, and never a site's own.
func TestAReservedHostnameIsToldWhatFreesIt(t *testing.T) {
	for by, want := range map[string]bool{"the site www.example.org": false, "the site *.example.org": true} {
		err := Validate(record("www.example.org"), ValidationOptions{Reserved: func(string) (string, bool) { return by, true }}).ToAggregate()
		if err == nil || !strings.Contains(err.Error(), by) || strings.Contains(err.Error(), "serve records with the handler apoxy") != want {
			t.Errorf("of %s: %v", by, err)
		}
	}
}

func TestValidateAccepts(t *testing.T) {
	for _, c := range []struct {
		is string
		r  *DomainRecord
	}{
		{"a plain record", record("api.example.com")},
		{"an HTTP-only record", record("api.example.com", httpOnly)},
		{"a wildcard", record("*.example.com")},
		{"the longest wildcard, which shares its base's challenge name", record("*." + longest(0))},
		{"a wildcard without TLS", record("*.example.com", httpOnly)},
		{"the lowest TTL", record("api.example.com", ttl(0))},
		{"the highest TTL", record("api.example.com", ttl(86400))},
		{"an empty group", record("api.example.com", ref("", KindProxy, "api"))},
		{"a name beside the zone", record("xcname.example.net")},
		{"a sibling of the zone", record("www.example.net")},
		{"a wildcard beside the zone", record("*.www.example.net")},
		{"a name that ends as the zone's parent does", record("myexample.net")},
		{"an ancestor of a name server elsewhere", record("other-operator.org")},
		{"a sibling of a name server elsewhere", record("www.other-operator.org")},
		{"a name below a name server", record("a.ns1.other-operator.org")},
		{"the longest name that fits", record(longest(0))},
	} {
		t.Run(c.is, func(t *testing.T) {
			if errs := Validate(c.r, options); len(errs) > 0 {
				t.Error(errs.ToAggregate())
			}
			if errs := ValidateMetadata(c.r); len(errs) > 0 {
				t.Error(errs.ToAggregate())
			}
		})
	}
}

// longest is a hostname whose name for the ACME challenge is over by n octets.
func longest(n int) string {
	room := 253 - len("_acme-challenge..") - len(zone) + n
	tail := ".example.com"
	room -= len(tail)
	var labels []string
	for room > 63 {
		labels = append(labels, strings.Repeat("a", 62))
		room -= 63
	}
	return strings.Join(append(labels, strings.Repeat("b", room)), ".") + tail
}

func TestValidateRefuses(t *testing.T) {
	long := strings.Repeat("x", 254)
	for _, c := range []struct {
		is    string
		r     *DomainRecord
		kind  field.ErrorType
		field string
		says  string
	}{
		{"no hostname", record(""), field.ErrorTypeRequired, "spec.name", "give the customer's hostname"},
		{"an address", record("192.0.2.1"), field.ErrorTypeInvalid, "spec.name", "is an IP address"},
		{"a single label", record("localhost"), field.ErrorTypeInvalid, "spec.name", "single label"},
		{"a public suffix", record("co.uk"), field.ErrorTypeInvalid, "spec.name", "public suffix"},
		{"the zone itself", record("CNAME.example.net."), field.ErrorTypeInvalid, "spec.name", "inside the zone"},
		{"a name inside the zone", record("api.cname.example.net"), field.ErrorTypeInvalid, "spec.name", "inside the zone"},
		{"a wildcard over the zone", record("*.cname.example.net"), field.ErrorTypeInvalid, "spec.name", "inside the zone"},
		{"a wildcard that covers the zone", record("*.example.net"), field.ErrorTypeInvalid, "spec.name", "covers the zone"},
		{"the zone's parent", record("example.net"), field.ErrorTypeInvalid, "spec.name", "is an ancestor of the zone cname.example.net"},
		{"the zone's parent in capitals", record("EXAMPLE.net."), field.ErrorTypeInvalid, "spec.name", "is an ancestor of the zone cname.example.net"},
		{"a name server", record("ns1.example.net"), field.ErrorTypeInvalid, "spec.name", "name server ns1.example.net"},
		{"a name server elsewhere", record("ns1.other-operator.org"), field.ErrorTypeInvalid, "spec.name", "name server ns1.other-operator.org"},
		{"a name server in capitals", record("Ns1.Other-Operator.ORG."), field.ErrorTypeInvalid, "spec.name", "name server ns1.other-operator.org"},
		{"a name server in A-labels", record("ns.xn--bcher-kva.example"), field.ErrorTypeInvalid, "spec.name", "name server ns.xn--bcher-kva.example"},
		{"a name server in U-labels", record("NS.Bücher.example"), field.ErrorTypeInvalid, "spec.name", "name server ns.xn--bcher-kva.example"},
		{"a wildcard that covers a name server", record("*.other-operator.org"), field.ErrorTypeInvalid, "spec.name", "covers the zone's name server ns1.other-operator.org"},
		{"a name the configuration serves", record("www.example.org"), field.ErrorTypeInvalid, "spec.name", "the site www.example.org"},
		{"one octet too many for the zone", record(longest(1)), field.ErrorTypeInvalid, "spec.name", "1 over the limit of 253"},
		{"a wildcard one octet too long for the zone", record("*." + longest(1)), field.ErrorTypeInvalid, "spec.name", "1 over the limit of 253"},
		{"a label of 64 octets", record(strings.Repeat("a", 64) + ".example.com"), field.ErrorTypeInvalid, "spec.name", "at most 63"},
		{"a negative TTL", record("api.example.com", ttl(-1)), field.ErrorTypeInvalid, "spec.ttl", "0 to 86400"},
		{"a TTL of over a day", record("api.example.com", ttl(86401)), field.ErrorTypeInvalid, "spec.ttl", "0 to 86400"},
		{"no target", record("api.example.com", func(r *DomainRecord) { r.Spec.Target.Ref = nil }), field.ErrorTypeRequired, "spec.target.ref", "name the target"},
		{"no kind", record("api.example.com", ref("", "", "x")), field.ErrorTypeRequired, "spec.target.ref.kind", "Gateway, Proxy, Tunnel, EdgeFunction"},
		{"an unknown kind", record("api.example.com", ref("", "Service", "x")), field.ErrorTypeNotSupported, "spec.target.ref.kind", `"Service"`},
		{"a kind of Apoxy's that has another name here", record("api.example.com", ref("", "TunnelNode", "x")), field.ErrorTypeNotSupported, "spec.target.ref.kind", "is a Tunnel here"},
		{"a record, which Apoxy's may point at", record("api.example.com", ref("", "DomainRecord", "x")), field.ErrorTypeNotSupported, "spec.target.ref.kind", "a target of its own"},
		{"a kind in the wrong case", record("api.example.com", ref("", "gateway", "x")), field.ErrorTypeNotSupported, "spec.target.ref.kind", `"gateway"`},
		{"no target name", record("api.example.com", ref("", KindProxy, "")), field.ErrorTypeRequired, "spec.target.ref.name", "as the configuration does"},
		{"a target name with spaces", record("api.example.com", ref("", KindProxy, "a b")), field.ErrorTypeInvalid, "spec.target.ref.name", "without spaces"},
		{"an endless target name", record("api.example.com", ref("", KindProxy, long)), field.ErrorTypeTooLong, "spec.target.ref.name", "253"},
		{"a group that is no DNS name", record("api.example.com", ref("Gateway API", KindProxy, "x")), field.ErrorTypeInvalid, "spec.target.ref.group", "DNS name"},
		{"an endless authority", record("api.example.com", func(r *DomainRecord) { r.Spec.TLS.CertificateAuthority = &long }), field.ErrorTypeTooLong, "spec.tls.certificateAuthority", "253"},
		{"an authority with control characters", record("api.example.com", func(r *DomainRecord) { r.Spec.TLS.CertificateAuthority = new("a\nb") }), field.ErrorTypeInvalid, "spec.tls.certificateAuthority", "configured certificate authority"},
	} {
		t.Run(c.is, func(t *testing.T) {
			errs := Validate(c.r, options)
			if len(errs) != 1 {
				t.Fatalf("%d errors: %v", len(errs), errs.ToAggregate())
			}
			e := errs[0]
			if e.Type != c.kind || e.Field != c.field || !strings.Contains(e.Error(), c.says) {
				t.Errorf("%s %s: %v", e.Type, e.Field, e)
			}
		})
	}
}

func TestAncestorsOfADeepZone(t *testing.T) {
	o := ValidationOptions{Zone: "A.Dns.Bücher.example.net."}
	for host, says := range map[string]string{
		"dns.xn--bcher-kva.example.net":   "is an ancestor of the zone",
		"xn--bcher-kva.example.net":       "is an ancestor of the zone",
		"bücher.example.net":              "is an ancestor of the zone",
		"example.net":                     "is an ancestor of the zone",
		"*.dns.bücher.example.net":        "covers the zone a.dns.xn--bcher-kva.example.net",
		"*.bücher.example.net":            "covers an ancestor of the zone",
		"*.example.net":                   "covers an ancestor of the zone",
		"net":                             "single label",
		"www.example.net":                 "",
		"*.www.example.net":               "",
		"b.dns.bücher.example.net":        "",
		"x.a.dns.bücher.example.net":      "inside the zone",
		"a.dns.xn--bcher-kva.example.net": "inside the zone",
	} {
		errs := Validate(record(host), o)
		if says == "" && len(errs) > 0 || says != "" && (len(errs) != 1 || !strings.Contains(errs[0].Error(), says)) {
			t.Errorf("%s: %v; it should say %q", host, errs.ToAggregate(), says)
		}
	}
	if errs := Validate(record("example.net"), ValidationOptions{NameServers: []string{"", "."}}); len(errs) > 0 {
		t.Errorf("without a zone: %v", errs.ToAggregate())
	}
}

func TestEveryFaultIsNamedAtOnce(t *testing.T) {
	errs := Validate(record("localhost", ttl(-1), ref("!", "Service", "")), options)
	var fields []string
	for _, e := range errs {
		fields = append(fields, e.Field)
	}
	if got, want := strings.Join(fields, " "), "spec.name spec.ttl spec.target.ref.group spec.target.ref.kind spec.target.ref.name"; got != want {
		t.Errorf("named are %s, want %s", got, want)
	}
}

func TestValidateUpdate(t *testing.T) {
	old := record("api.example.com")
	for _, c := range []struct {
		is   string
		r    *DomainRecord
		o    ValidationOptions
		says string
	}{
		{"the same hostname written otherwise", record("API.example.com."), options, ""},
		{"another target", record("api.example.com", ref("", KindProxy, "api")), options, ""},
		{"another hostname", record("www.example.com"), options, `immutable and was "api.example.com"`},
		{"a hostname that the configuration has since taken", record("api.example.com"), ValidationOptions{Reserved: func(string) (string, bool) { return "x", true }}, ""},
		{"a hostname that lies in a zone since configured", record("api.example.com"), ValidationOptions{Zone: "example.com"}, ""},
		{"a hostname that has since become a name server's", record("api.example.com"), ValidationOptions{NameServers: []string{"api.example.com"}}, ""},
		{"a wrong TTL", record("api.example.com", ttl(-1)), options, "0 to 86400"},
	} {
		t.Run(c.is, func(t *testing.T) {
			err := ValidateUpdate(c.r, old, c.o).ToAggregate()
			if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("%v; it should say %q", err, c.says)
			}
		})
	}
}

func TestValidateMetadataByKubernetesRules(t *testing.T) {
	for _, c := range []struct {
		is, field string
		change    func(*DomainRecord)
	}{
		{"a name in upper case", "metadata.name", func(r *DomainRecord) { r.Name = "API" }},
		{"a namespace", "metadata.namespace", func(r *DomainRecord) { r.Namespace = "default" }},
		{"a label with a space", "metadata.labels", func(r *DomainRecord) { r.Labels = map[string]string{"a": "b c"} }},
		{"annotations of over 256 KiB", "metadata.annotations", func(r *DomainRecord) { r.Annotations = map[string]string{"a": strings.Repeat("x", 257<<10)} }},
	} {
		t.Run(c.is, func(t *testing.T) {
			errs := ValidateMetadata(record("api.example.com", c.change))
			if len(errs) == 0 || errs[0].Field != c.field {
				t.Errorf("%v, want a fault of %s", errs, c.field)
			}
		})
	}
}

func TestDefault(t *testing.T) {
	for _, c := range []struct {
		is             string
		r              DomainRecord
		name, hostname string
	}{
		{"the name is taken from the hostname", DomainRecord{Spec: DomainRecordSpec{Name: "API.Example.com."}}, "api.example.com", "api.example.com"},
		{"a given name stays", DomainRecord{ObjectMeta: metav1.ObjectMeta{Name: "api.example.com--ref"}, Spec: DomainRecordSpec{Name: "api.example.com"}}, "api.example.com--ref", "api.example.com"},
		{"a name to be generated stays empty", DomainRecord{ObjectMeta: metav1.ObjectMeta{GenerateName: "x-"}, Spec: DomainRecordSpec{Name: "api.example.com"}}, "", "api.example.com"},
		{"a wildcard's name is derived", DomainRecord{Spec: DomainRecordSpec{Name: "*.Bücher.example"}}, "xn--bcher-kva.example--wildcard", "*.xn--bcher-kva.example"},
		{"a wrong hostname stays as it is", DomainRecord{Spec: DomainRecordSpec{Name: "Local Host"}}, "", "Local Host"},
	} {
		t.Run(c.is, func(t *testing.T) {
			Default(&c.r)
			if c.r.Name != c.name || c.r.Spec.Name != c.hostname {
				t.Errorf("name %q, hostname %q", c.r.Name, c.r.Spec.Name)
			}
			if c.r.Spec.TTL != nil || c.r.EffectiveTTL() != 300 {
				t.Errorf("TTL %v, %d", c.r.Spec.TTL, c.r.EffectiveTTL())
			}
		})
	}
}

func TestWantsTLS(t *testing.T) {
	for _, c := range []struct {
		is   string
		tls  *DomainRecordTLS
		want bool
	}{
		{"absent", nil, false},
		{"empty", &DomainRecordTLS{}, true},
		{"with an authority", &DomainRecordTLS{CertificateAuthority: new("x")}, true},
		{"disabled", &DomainRecordTLS{Disabled: new(true)}, false},
	} {
		r := DomainRecord{Spec: DomainRecordSpec{TLS: c.tls}}
		if r.WantsTLS() != c.want {
			t.Errorf("%s: %v", c.is, !c.want)
		}
	}
}
