package caddyapoxy

import (
	"context"
	"net/netip"

	"github.com/apoxy-dev/caddy-apoxy/dnsprovider"
	"github.com/apoxy-dev/caddy-apoxy/issuance"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
	"github.com/apoxy-dev/caddy-apoxy/resolver"
)

var _ issuance.Prober = liveResolver{}

// liveResolver asks through the resolvers of the configuration in force.
type liveResolver struct{ rt *runtime }

func (l liveResolver) resolver() *resolver.Resolver { return l.rt.apps.Current().resolver }

func (l liveResolver) Observe(ctx context.Context, hostname string, kind resolver.Kind) ownership.DNSObservation {
	return l.resolver().Observe(ctx, hostname, kind)
}

func (l liveResolver) Texts(ctx context.Context, name string) ([]string, error) {
	return l.resolver().Texts(ctx, name)
}

func (l liveResolver) Addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	return l.resolver().Addresses(ctx, host)
}

func (l liveResolver) Delegated(ctx context.Context, hostname string) (bool, error) {
	return l.resolver().Delegated(ctx, hostname)
}

func (l liveResolver) CAA(ctx context.Context, hostname string) (ownership.CAAObservation, error) {
	return l.resolver().CAA(ctx, hostname)
}

func (l liveResolver) Arrives(ctx context.Context, hostname string) (bool, error) {
	return l.resolver().Arrives(ctx, hostname, l.rt.settings().Zone)
}

// liveChallenges publishes in the zone of the configuration in force.
type liveChallenges struct{ rt *runtime }

func (l liveChallenges) challenges() (*dnsprovider.Challenges, error) {
	rrsets, err := l.rt.rrsetsOf(l.rt.zoneName())
	if err != nil {
		return nil, err
	}
	return dnsprovider.NewChallenges(rrsets), nil
}

func (l liveChallenges) Present(ctx context.Context, hostname, value string) error {
	c, err := l.challenges()
	if err != nil {
		return err
	}
	return c.Present(ctx, hostname, value)
}

func (l liveChallenges) CleanUp(ctx context.Context, hostname, value string) error {
	c, err := l.challenges()
	if err != nil {
		return err
	}
	return c.CleanUp(ctx, hostname, value)
}
