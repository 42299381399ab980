package resolver

import (
	"context"
	"slices"
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/internal/dnstest"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

func asUnproven(ctx context.Context) context.Context {
	ctx, _ = WithRation(ctx, Unproven)
	return ctx
}

// What is seen of a customer in a glance is as sure as what is seen in a look.
func TestAGlanceSeesWhatALookSees(t *testing.T) {
	world := dnstest.NewCustomer(t)
	world.Domain.Set(dnstest.RightTraffic, dnstest.RightChallenge)
	r := newTestResolver(t, world.World)
	for _, kind := range []Kind{KindTraffic, KindACMEChallenge} {
		full, few := r.Observe(t.Context(), "api.example.com", kind), r.Observe(asUnproven(t.Context()), "api.example.com", kind)
		if few.Outcome != ownership.Seen || !slices.Equal(few.Chain, full.Chain) || few.TTL != full.TTL || few.At.IsZero() {
			t.Errorf("kind %d: glanced %+v, looked %+v", kind, few, full)
		}
	}
}

func TestGlancesWherePort53IsClosedAskResolvers(t *testing.T) {
	world := dnstest.NewCustomer(t)
	world.Domain.Set(dnstest.RightTraffic)
	r := newTestResolver(t, world.World, func(c *Config) { c.Port = 9 })
	got := r.Observe(asUnproven(t.Context()), "api.example.com", KindTraffic)
	if got.Outcome != ownership.Seen || !got.Cached || got.Barred {
		t.Errorf("got %+v", got)
	}
}

func TestGlancesWhereServersMayNotBeContactedAskResolvers(t *testing.T) {
	world := dnstest.NewCustomer(t)
	world.Domain.Set(dnstest.RightTraffic)
	r := newTestResolver(t, world.World, nowhere)
	got := r.Observe(asUnproven(t.Context()), "api.example.com", KindTraffic)
	if got.Outcome != ownership.Seen || !got.Cached || !got.Barred || packets(world) > 0 {
		t.Errorf("%d packets; got %+v", packets(world), got)
	}
}
