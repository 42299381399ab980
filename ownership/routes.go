package ownership

import (
	"strings"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// way is the record through which a certificate can be obtained, nil if there is
// none.
func (e *evaluation) way() *finding {
	switch {
	case !e.tls:
		return nil
	case e.found.delegation.ok():
		return &e.found.delegation
	case e.binds(&e.found.traffic) && !strings.HasPrefix(e.r.Spec.Name, "*."):
		return &e.found.traffic
	}
	return nil
}

// routes says by which challenges a certificate may be obtained, as far as DNS and
// the rule on tenants go.
type routes struct {
	// tokenHolds: no token is asked for, or it was shown.
	tokenHolds bool
	// routed: delegation or main record would let a certificate be obtained.
	routed bool
	// dns01 and http01 are those of Verdict, but for what CAA records forbid.
	dns01, http01 bool
	// want is Verdict.WantCertificate.
	want bool
}

// decideRoutes says by which challenges a certificate may be obtained. A zone
// whose signatures do not hold has none: the authority would refuse it.
func (e *evaluation) decideRoutes() routes {
	verified := e.is(v1alpha3.ConditionOwnershipVerified)
	r := routes{tokenHolds: e.token == "" || verified}
	if !e.tls {
		return r
	}
	wildcard := strings.HasPrefix(e.r.Spec.Name, "*.")
	r.routed = r.tokenHolds && e.way() != nil
	r.dns01 = r.tokenHolds && e.found.delegation.ok() && e.obs.ACMEChallenge.Problem != ZoneBogus && !occupied(e.obs.ACMEChallenge)
	r.http01 = r.tokenHolds && e.binds(&e.found.traffic) && !wildcard && e.obs.Traffic.Problem != ZoneBogus
	r.want = r.dns01 || r.http01 || verified && (e.cert.stored || e.cert.gone)
	return r
}

// dns01 and http01 are those of Verdict.
func (e *evaluation) dns01() bool  { return e.routes.dns01 && e.caa == nil }
func (e *evaluation) http01() bool { return e.routes.http01 && e.caa == nil }
