package caddyapoxy

import (
	"testing"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

func TestANewRecordIsAnsweredWithItsToken(t *testing.T) {
	const host, zone = "api.example.com", "cname.example.net"
	rt := openTestRuntime(t, zap.NewNop())
	a := &App{logger: zap.NewNop(), settings: ownership.Settings{Zone: ownership.Zone{Name: zone}}}
	a.zone.Name = zone
	rt.apps.Push(a)
	for _, c := range []struct {
		what, holder, want string
		required           bool
	}{
		{"without an earlier owner any form will do", "", v1alpha3.VerifyName(zone), false},
		{"an earlier record of the same owner changes nothing", "acme", v1alpha3.VerifyName(zone), false},
		{"an earlier record of another owner asks for the token", "other", v1alpha3.TokenVerifyName(v1alpha3.VerifyToken("u-1"), zone), true},
	} {
		t.Run(c.what, func(t *testing.T) {
			if c.holder != "" {
				op := store.Op{Key: ownership.ReleasedKey(host), Value: []byte(`{"owner":"` + c.holder + `","uid":"u-0"}`), If: store.Any}
				if _, err := rt.store.Write(t.Context(), op); err != nil {
					t.Fatal(err)
				}
			}
			r := new(v1alpha3.DomainRecord)
			r.Name, r.UID, r.Labels = host, "u-1", map[string]string{v1alpha3.OwnerLabel: "acme"}
			r.Spec.Name, r.Spec.TLS = host, new(v1alpha3.DomainRecordTLS)
			rt.prepare(r, nil)
			d := r.Status.DNSRecord(v1alpha3.PurposeOwnership)
			if d == nil || d.Value != c.want || d.Required != c.required {
				t.Errorf("the record to prove ownership by is %+v, want %s, required %v", d, c.want, c.required)
			}
		})
	}
}
