package domainconnect

import (
	"maps"
	"net/url"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// The example of the specification's section "Signing Procedure".
func TestTheSignedTextIsThatOfTheSpecification(t *testing.T) {
	got := canonical(map[string]string{"text": "a+b", "domain": "example.net", "b": "2", "a": "1", "ip": "10.10.10.10"})
	if want := "a=1&b=2&domain=example.net&ip=10.10.10.10&text=a%2Bb"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := canonical(map[string]string{"n": "a b/ä~"}); got != "n=a%20b%2F%C3%A4~" {
		t.Errorf("encoded as RFC 3986 has it: %s", got)
	}
}

func record(host string, tls bool) *v1alpha3.DomainRecord {
	r := &v1alpha3.DomainRecord{ObjectMeta: metav1.ObjectMeta{Name: host, UID: "0d5a8a3c-7d7e-4d8e-9c55-0a4f6d7f0001"}}
	r.Spec.Name = host
	if tls {
		r.Spec.TLS = &v1alpha3.DomainRecordTLS{}
	}
	r.Status.DNSRecords = v1alpha3.ExpectedDNSRecords(r, ownZone, v1alpha3.VerifyToken(r.UID))
	for i := range r.Status.DNSRecords {
		d := &r.Status.DNSRecords[i]
		d.Zone = "example.com."
		if d.Host = strings.TrimSuffix(d.Name, ".example.com."); d.Name == d.Zone {
			d.Host = "@"
		}
	}
	return r
}

// From the zone's record to the customer's click: the link that is found is signed with
// the key that the zone publishes, and creates exactly what the status asks for.
func TestALinkCreatesWhatTheStatusAsksFor(t *testing.T) {
	n := newNetwork(t)
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	n.provider.asks(publish(t, key))
	offer, a := n.answer(t, "example.com")
	if a != Offered {
		t.Fatalf("%v", a)
	}
	r := record("api.example.com", true)
	q, ok := Wanted(r, &r.Status)
	if !ok {
		t.Fatal("the record lacks nothing")
	}
	link, err := theService.URL(offer, key, q)
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := theService.URL(offer, key, q); again != link {
		t.Errorf("the same request gives another link:\n%s\n%s", link, again)
	}
	if err := n.visit(t, link); err != nil {
		t.Fatalf("%s: %v", link, err)
	}
	want := map[string]string{}
	for _, d := range r.Status.DNSRecords {
		want[d.Name] = d.Value
	}
	if got := n.provider.created(); !maps.Equal(got, want) {
		t.Errorf("the provider creates %v, want %v", got, want)
	}

	forged := strings.Replace(link, "host=api", "host=www", 1)
	if err := n.visit(t, forged); err == nil || !strings.Contains(err.Error(), "does not hold") {
		t.Errorf("a link that somebody changed is taken: %v", err)
	}
	other, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	if link, err = theService.URL(offer, other, q); err != nil {
		t.Fatal(err)
	}
	if err := n.visit(t, link); err == nil {
		t.Error("a link of another key is taken")
	}
}

func TestWanted(t *testing.T) {
	configured := func(purposes ...v1alpha3.DNSPurpose) func(*v1alpha3.DomainRecord) {
		return func(r *v1alpha3.DomainRecord) {
			for _, p := range purposes {
				r.Status.DNSRecord(p).Configured = true
			}
		}
	}
	occupied := func(r *v1alpha3.DomainRecord) {
		r.Status.DNSRecord(v1alpha3.PurposeTraffic).Observed = []string{"A 192.0.2.1"}
	}
	certified := func(r *v1alpha3.DomainRecord) {
		r.Status.Conditions = []metav1.Condition{{Type: v1alpha3.ConditionTLSReady, Status: metav1.ConditionTrue}}
	}
	all := []v1alpha3.DNSPurpose{v1alpha3.PurposeTraffic, v1alpha3.PurposeACMEChallenge, v1alpha3.PurposeOwnership}
	for _, c := range []struct {
		what   string
		host   string
		plain  bool
		change []func(*v1alpha3.DomainRecord)
		want   string // of the groups; empty: no link
	}{
		{what: "nothing is there", want: "certificate,ownership,traffic"},
		{what: "without TLS", plain: true, want: "ownership,traffic"},
		{what: "the token is not asked for", change: []func(*v1alpha3.DomainRecord){func(r *v1alpha3.DomainRecord) {
			r.Status.DNSRecord(v1alpha3.PurposeOwnership).Required = false
		}}, want: "certificate,traffic"},
		{what: "an old site answers, and the certificate is not ready", change: []func(*v1alpha3.DomainRecord){occupied}, want: "certificate,ownership"},
		{what: "an old site answers, and the certificate is ready", change: []func(*v1alpha3.DomainRecord){occupied, certified, configured(v1alpha3.PurposeACMEChallenge, v1alpha3.PurposeOwnership)}, want: "traffic"},
		{what: "an old site answers, without TLS", plain: true, change: []func(*v1alpha3.DomainRecord){occupied}, want: "ownership,traffic"},
		{what: "all is there", change: []func(*v1alpha3.DomainRecord){configured(all...)}},
		{what: "the zone's top", host: "example.com"},
		{what: "a wildcard", host: "*.example.com"},
		{what: "the challenge is in another zone", change: []func(*v1alpha3.DomainRecord){func(r *v1alpha3.DomainRecord) {
			d := r.Status.DNSRecord(v1alpha3.PurposeACMEChallenge)
			d.Zone, d.Host = d.Name, "@"
		}}, want: "ownership,traffic"},
		{what: "the zone is not known", change: []func(*v1alpha3.DomainRecord){func(r *v1alpha3.DomainRecord) {
			d := r.Status.DNSRecord(v1alpha3.PurposeTraffic)
			d.Zone, d.Host = "", ""
		}}},
	} {
		t.Run(c.what, func(t *testing.T) {
			host := c.host
			if host == "" {
				host = "api.example.com"
			}
			r := record(host, !c.plain)
			for _, f := range c.change {
				f(r)
			}
			q, ok := Wanted(r, &r.Status)
			if got := strings.Join(q.Groups, ","); ok != (c.want != "") || got != c.want {
				t.Errorf("%q, %t; want %q", got, ok, c.want)
			}
			if ok && (q.Zone != "example.com" || q.Host != "api" || q.Token != "0d5a8a3c7d7e4d8e9c550a4f6d7f0001") {
				t.Errorf("%+v", q)
			}
		})
	}
}

func TestALinkIsBounded(t *testing.T) {
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := theService.URL(Offer{"https://a.test/" + strings.Repeat("x", maxURL)}, key, Request{Zone: "example.com", Host: "api"}); err == nil {
		t.Error("it is as long as anybody likes")
	}
	link, err := theService.URL(Offer{"https://a.test/p"}, key, Request{Zone: "example.com", Host: "a.b", Groups: []string{GroupTraffic}})
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(link)
	if err != nil || u.Path != "/p/v2/domainTemplates/providers/example.net/services/custom-domain/apply" || u.Query().Get("host") != "a.b" {
		t.Errorf("%s: %v", link, err)
	}
}
