package setup

import (
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

const testZone = "cname.example.net"

// change is one that a test makes to a record.
type change func(*v1alpha3.DomainRecord)

// record is one that was just created, with changes.
func record(hostname string, changes ...change) *v1alpha3.DomainRecord {
	r := &v1alpha3.DomainRecord{}
	r.Name, r.UID, r.ResourceVersion = hostname, types.UID(testUID), "7"
	r.Labels = map[string]string{v1alpha3.OwnerLabel: "secret-owner"}
	r.Spec.Name, r.Spec.TLS = hostname, &v1alpha3.DomainRecordTLS{}
	r.Spec.Target.Ref = &v1alpha3.TargetRef{Kind: v1alpha3.KindGateway, Name: "secret-target"}
	r.Status.DNSRecords = v1alpha3.ExpectedDNSRecords(r, testZone, "")
	for _, c := range changes {
		c(r)
	}
	return r
}

func httpOnly(r *v1alpha3.DomainRecord) {
	r.Spec.TLS = nil
	r.Status.DNSRecords = v1alpha3.ExpectedDNSRecords(r, testZone, "")
}

func needsToken(r *v1alpha3.DomainRecord) {
	r.Status.DNSRecords = v1alpha3.ExpectedDNSRecords(r, testZone, v1alpha3.VerifyToken(r.UID)) // required, too
}

func configured(purposes ...v1alpha3.DNSPurpose) change {
	return func(r *v1alpha3.DomainRecord) {
		for _, p := range purposes {
			if d := r.Status.DNSRecord(p); d != nil {
				d.Configured, d.Observed, d.LastTransitionTime = true, []string{"CNAME " + d.Value}, &metav1.Time{Time: testNow}
			}
		}
	}
}

func problem(p v1alpha3.DNSPurpose, reason string, observed ...string) change {
	return func(r *v1alpha3.DomainRecord) {
		if d := r.Status.DNSRecord(p); d != nil {
			d.Problem, d.Observed = &v1alpha3.DNSProblem{Reason: reason, Message: "words for operators"}, observed
		}
	}
}

func verified(r *v1alpha3.DomainRecord) {
	r.Status.Ownership = &v1alpha3.OwnershipStatus{Verified: true}
}

func condition(kind string, status metav1.ConditionStatus, reason string) change {
	return func(r *v1alpha3.DomainRecord) {
		if r.Status.Condition(kind) == nil {
			r.Status.Conditions = append(r.Status.Conditions, metav1.Condition{Type: kind, Status: status, Reason: reason, Message: "message of " + reason})
		}
	}
}

var (
	certified = condition(v1alpha3.ConditionTLSReady, metav1.ConditionTrue, v1alpha3.ReasonCertificateIssued)
	unhealthy = condition(v1alpha3.ConditionTargetReady, metav1.ConditionFalse, v1alpha3.ReasonTargetUnhealthy)
)

func notCertified(reason string) change {
	return condition(v1alpha3.ConditionTLSReady, metav1.ConditionFalse, reason)
}

const (
	traffic    = v1alpha3.PurposeTraffic
	delegation = v1alpha3.PurposeACMEChallenge
	challenge  = v1alpha3.PurposeOwnership
)

func TestPlan(t *testing.T) {
	for _, c := range []struct {
		is   string
		r    *v1alpha3.DomainRecord
		want string // headline: id state/text …
	}{
		{"a new record", record("api.example.com"),
			"delegate: delegate todo/text, certificate later/later, switch later/early"},
		{"one that nobody has looked at", record("api.example.com", func(r *v1alpha3.DomainRecord) { r.Status.DNSRecords = []v1alpha3.DNSRecord{} }),
			"unlooked:"},
		{"a mistake in the delegation", record("api.example.com", problem(delegation, ownership.ProblemMisspelt, "CNAME x.")),
			"delegate: delegate trouble/text, certificate later/later, switch later/early"},
		{"nothing found yet is no mistake", record("api.example.com", problem(delegation, ownership.ProblemNotFound)),
			"delegate: delegate todo/text, certificate later/later, switch later/early"},
		{"what an earlier provider left is no mistake", record("api.example.com", problem(delegation, ownership.ProblemOldTarget, "CNAME x."), problem(traffic, ownership.ProblemAddressInsteadOfCNAME, "A 192.0.2.1")),
			"delegate: delegate todo/text, certificate later/later, switch later/early"},
		{"delegated", record("api.example.com", configured(delegation), notCertified(v1alpha3.ReasonIssuing)),
			"issuing: delegate done/text, certificate wait/wait, switch later/early"},
		{"the authority asks to wait", record("api.example.com", configured(delegation), notCertified(v1alpha3.ReasonRateLimited)),
			"delayed: delegate done/text, certificate wait/delayed, switch later/early"},
		{"CAA forbids", record("api.example.com", configured(delegation), notCertified(v1alpha3.ReasonCAAForbidden)),
			"caa: delegate done/text, certificate trouble/caa, switch later/early"},
		{"the certificate is ready", record("api.example.com", configured(delegation), certified, verified),
			"switch: delegate done/text, certificate done/done, switch todo/safe"},
		{"a certificate is no cutover without ownership", record("api.example.com", configured(delegation), certified),
			"issuing: delegate done/text, certificate done/done, switch later/early"},
		{"the certificate is ready, the service is not", record("api.example.com", configured(delegation), certified, verified, unhealthy),
			"hold: delegate done/text, certificate done/done, switch later/hold"},
		{"all is done", record("api.example.com", configured(delegation, traffic), certified, verified),
			"done: delegate done/text, certificate done/done, switch done/done"},
		{"all is done but for the service", record("api.example.com", configured(delegation, traffic), certified, verified, unhealthy),
			"service: delegate done/text, certificate done/done, switch done/done"},
		{"switched early, without a delegation", record("api.example.com", configured(traffic), notCertified(v1alpha3.ReasonIssuing)),
			"issuing: delegate todo/text, certificate wait/wait, switch done/done"},
		{"done without a delegation", record("api.example.com", configured(traffic), certified, verified),
			"done: delegate optional/optional, certificate done/done, switch done/done"},
		{"another tenant's claim", record("api.example.com", needsToken),
			"prove: prove todo/text, delegate todo/text, certificate later/later, switch later/early"},
		{"another tenant's claim, answered", record("api.example.com", needsToken, configured(challenge, delegation), notCertified(v1alpha3.ReasonIssuing)),
			"issuing: prove done/text, delegate done/text, certificate wait/wait, switch later/early"},
		{"HTTP-only, new", record("api.example.com", httpOnly),
			"main: prove optional/optional, switch todo/plain"},
		{"HTTP-only, proven before the cutover", record("api.example.com", httpOnly, configured(challenge), verified),
			"verified: prove done/text, switch todo/verified"},
		{"HTTP-only, there and not believed yet", record("api.example.com", httpOnly, configured(traffic)),
			"checking: prove optional/optional, switch done/done"},
		{"HTTP-only, done", record("api.example.com", httpOnly, configured(traffic), verified),
			"done: switch done/done"},
		{"HTTP-only with another tenant's claim", record("api.example.com", httpOnly, needsToken),
			"prove: prove todo/text, switch later/token"},
	} {
		p := planOf(c.r)
		var steps []string
		for _, s := range p.steps {
			steps = append(steps, fmt.Sprintf("%s %s/%s", s.id, s.state, s.text))
		}
		if got := strings.TrimSpace(p.headline + ": " + strings.Join(steps, ", ")); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.is, got, c.want)
		}
		for _, s := range p.steps {
			key := "step." + s.id + "." + s.text
			if Delivered()[english][key] == "" && s.state != stateDone {
				t.Errorf("%s: there is no message %s", c.is, key)
			}
		}
	}
}

func TestProgress(t *testing.T) {
	p := planOf(record("api.example.com", configured(traffic), certified, verified))
	if done, all := p.done(); done != 2 || all != 2 || p.next() != -1 {
		t.Errorf("%d of %d, next %d: what is optional is not counted", done, all, p.next())
	}
	if !planOf(record("a.example.com", func(r *v1alpha3.DomainRecord) { r.Status.Phase = v1alpha3.PhaseDetached })).detached {
		t.Error("a detached record is not told so")
	}
}

func TestPlaceOfARecord(t *testing.T) {
	for _, c := range []struct{ name, zone, wantZone, wantHost string }{
		{"_acme-challenge.api.example.com.", "", "example.com", "_acme-challenge.api"},
		{"_acme-challenge.example.co.uk.", "", "example.co.uk", "_acme-challenge"},
		{"example.com.", "", "example.com", "@"},
		{"*.example.com.", "", "example.com", "*"},
		{"api.eu.example.com.", "eu.example.com.", "eu.example.com", "api"},
		{"api.example.com.", "api.example.com.", "api.example.com", "@"},
		{"api.example.com.", "other.example.", "example.com", "api"}, // a client's words
		{"com.", "", "", "com"},
		{"", "", "", ""},
	} {
		zone, host := place(v1alpha3.DNSRecord{Name: c.name, Zone: c.zone})
		if zone != c.wantZone || host != c.wantHost {
			t.Errorf("%s in %q: %s in %s, want %s in %s", c.name, c.zone, host, zone, c.wantHost, c.wantZone)
		}
	}
}
