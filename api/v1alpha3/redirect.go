package v1alpha3

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// The schemes of a TargetRedirect.
const (
	SchemeHTTP  = "http"
	SchemeHTTPS = "https"
)

// The types of a RedirectPath.
const (
	ReplaceFullPath    = "ReplaceFullPath"
	ReplacePrefixMatch = "ReplacePrefixMatch"
)

// maxRedirectPath bounds a path of a redirect, in octets, as Gateway API does.
const maxRedirectPath = 1024

// redirectCodes are the statuses that a redirect may have.
var redirectCodes = []int{
	http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect,
}

// Code is the status that requests are answered with (RFC 9110 section 15.4).
func (in *TargetRedirect) Code() int {
	if in.StatusCode == nil {
		return http.StatusFound
	}
	return int(*in.StatusCode)
}

// DefaultPort is the port of a URL of the scheme that names none.
func DefaultPort(scheme string) int32 {
	if scheme == SchemeHTTPS {
		return 443
	}
	return 80
}

// scheme is that of the URLs that the record serves.
func (r *DomainRecord) scheme() string {
	if r.WantsTLS() {
		return SchemeHTTPS
	}
	return SchemeHTTP
}

// RedirectText tells in the form of a URL where the record's redirect leads: the
// scheme stands in it if the redirect gives one, and a path that ends in * goes on
// with the request's. Empty for a record that is no redirect.
func (r *DomainRecord) RedirectText() string {
	d := r.Spec.Target.Redirect
	if d == nil {
		return ""
	}
	text := ""
	if d.Scheme != nil {
		text = *d.Scheme + "://"
	}
	if d.Hostname != nil {
		text += *d.Hostname
	} else {
		text += r.Spec.Name
	}
	if d.Port != nil {
		text += ":" + strconv.Itoa(int(*d.Port))
	}
	switch p := d.Path; {
	case p == nil:
	case p.ReplaceFullPath != nil:
		text += *p.ReplaceFullPath
	case p.ReplacePrefixMatch != nil:
		text += strings.TrimSuffix(*p.ReplacePrefixMatch, "/") + "/*"
	}
	return text
}

// RedirectsTo is the hostname at which a client of the record's redirect arrives, by
// the standard port of its scheme, so that a record of that hostname is what answers
// next. Empty: there is no redirect, or it leads to a port of its own or, from a
// record without TLS, to https on its own hostname, where something else may answer.
// Neither path nor query matter: a redirect answers all of them.
func (r *DomainRecord) RedirectsTo() string {
	d := r.Spec.Target.Redirect
	if d == nil {
		return ""
	}
	scheme, to := r.scheme(), r.Spec.Name
	if d.Scheme != nil {
		scheme = *d.Scheme
	}
	if d.Hostname != nil {
		to = *d.Hostname
	}
	if d.Port != nil && *d.Port != DefaultPort(scheme) {
		return ""
	}
	if to == r.Spec.Name && scheme == SchemeHTTPS && !r.WantsTLS() {
		return ""
	}
	return to
}

// NormalizeRedirectHostname returns the hostname of a redirect as it is kept: A-labels
// (RFC 5890), lower case, without the final dot. It may be anybody's, public suffixes
// and single labels included, but no wildcard and no IP address. The error is as
// NormalizeHostname's.
func NormalizeRedirectHostname(s string) (string, error) {
	const such = "such as www.example.com"
	switch {
	case len(s) > maxInput:
		return "", fmt.Errorf("is %d octets long: a hostname has at most %d", len(s), maxName)
	case s == "":
		return "", fmt.Errorf("is empty: give the hostname to go to, %s, or leave hostname out to keep the request's", such)
	case strings.Contains(s, "*"):
		return "", fmt.Errorf("is a wildcard, which nobody can go to: give one hostname, %s", such)
	}
	if err := checkIntruders(s); err != nil {
		return "", err
	}
	name, err := toASCII(s)
	if err != nil {
		return "", err
	}
	if err := checkAddress(name); err != nil {
		return "", err
	}
	if err := checkLabels(name); err != nil {
		return "", err
	}
	if len(name) > maxName {
		return "", fmt.Errorf("is %d octets long as A-labels: a hostname has at most %d", len(name), maxName)
	}
	return name, nil
}

func validateRedirect(path *field.Path, r *DomainRecord) field.ErrorList {
	var errs field.ErrorList
	d := r.Spec.Target.Redirect
	if d.Scheme == nil && d.Hostname == nil && d.Port == nil && d.Path == nil {
		errs = append(errs, field.Required(path, "say where it leads by at least one of scheme, hostname, port and path, such as {hostname: www.example.com}"))
	}
	if d.Scheme != nil && *d.Scheme != SchemeHTTP && *d.Scheme != SchemeHTTPS {
		errs = append(errs, field.NotSupported(path.Child("scheme"), cut(*d.Scheme), []string{SchemeHTTP, SchemeHTTPS}))
	}
	if d.Hostname != nil {
		if _, err := NormalizeRedirectHostname(*d.Hostname); err != nil {
			errs = append(errs, field.Invalid(path.Child("hostname"), cut(*d.Hostname), err.Error()))
		}
	}
	if p := d.Port; p != nil && (*p < 1 || *p > 65535) {
		errs = append(errs, field.Invalid(path.Child("port"), *p, "must be 1 to 65535: leave it out for the standard port of the scheme"))
	}
	if d.Path != nil {
		errs = append(errs, validateRedirectPath(path.Child("path"), d.Path)...)
	}
	if d.StatusCode != nil && !slices.Contains(redirectCodes, d.Code()) {
		errs = append(errs, field.Invalid(path.Child("statusCode"), *d.StatusCode, "must be 301, 302, 303, 307 or 308: leave it out for 302"))
	}
	if len(errs) == 0 && r.RedirectsTo() == r.Spec.Name {
		errs = append(errs, field.Invalid(path, cut(r.RedirectText()), fmt.Sprintf(
			"leads to itself, %s → %s, whatever the path, and a client would go round until it gives up: give another hostname%s",
			cut(r.Spec.Name), cut(r.Spec.Name), httpsComes(r))))
	}
	return errs
}

// httpsComes tells those who would go from http to https what does that already.
func httpsComes(r *DomainRecord) string {
	if d := r.Spec.Target.Redirect; d.Scheme == nil || *d.Scheme != SchemeHTTPS {
		return ""
	}
	return "; from http to https a record with tls goes by itself, with any target"
}

func validateRedirectPath(path *field.Path, p *RedirectPath) field.ErrorList {
	full, prefix := path.Child("replaceFullPath"), path.Child("replacePrefixMatch")
	var errs field.ErrorList
	other := func(given *string, at *field.Path) {
		if given != nil {
			errs = append(errs, field.Forbidden(at, fmt.Sprintf("does not go with the type %s: leave it out, or change the type", p.Type)))
		}
	}
	switch p.Type {
	case ReplaceFullPath:
		if p.ReplaceFullPath == nil {
			errs = append(errs, field.Required(full, "give the path to go to, such as /"))
		} else if msg := checkRedirectPath(*p.ReplaceFullPath); msg != "" {
			errs = append(errs, field.Invalid(full, cut(*p.ReplaceFullPath), msg))
		}
		other(p.ReplacePrefixMatch, prefix)
	case ReplacePrefixMatch:
		if p.ReplacePrefixMatch == nil {
			errs = append(errs, field.Required(prefix, "give what takes the place of the prefix /, such as /blog"))
		} else if msg := checkRedirectPath(*p.ReplacePrefixMatch); msg != "" && *p.ReplacePrefixMatch != "" {
			errs = append(errs, field.Invalid(prefix, cut(*p.ReplacePrefixMatch), msg))
		}
		other(p.ReplaceFullPath, full)
	case "":
		errs = append(errs, field.Required(path.Child("type"), "give "+ReplaceFullPath+" or "+ReplacePrefixMatch))
	default:
		errs = append(errs, field.NotSupported(path.Child("type"), cut(p.Type), []string{ReplaceFullPath, ReplacePrefixMatch}))
	}
	return errs
}

// checkRedirectPath says what is wrong with a path (RFC 3986 section 3.3), as written
// into a URL: percent-encoded, or with characters beyond ASCII that are still to be.
func checkRedirectPath(s string) string {
	switch {
	case len(s) > maxRedirectPath:
		return fmt.Sprintf("is %d octets long: a path has at most %d", len(s), maxRedirectPath)
	case !strings.HasPrefix(s, "/"):
		return "must begin with a slash, such as /welcome"
	case strings.ContainsAny(s, "?#"):
		return "holds a ? or a #: give the path alone; the request's query is kept"
	case strings.Contains(s, `\`):
		return `holds a backslash, which browsers take for a slash: write / or %5C`
	case strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\uFFFD' }):
		return "holds white space or a control character: write it percent-encoded, a space as %20"
	}
	for i := range len(s) {
		if s[i] == '%' && (i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2])) {
			return "holds a % that two hexadecimal digits do not follow: write a % as %25"
		}
	}
	return ""
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}
