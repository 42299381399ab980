package doctor

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// Options is the world that the examination happens in.
type Options struct {
	// Admin and Base reach Caddy's admin endpoint, for the roots of its own
	// authorities and for what its metrics tell of the store. Admin may be nil:
	// then such roots are not known. Without Base the store is not looked at.
	Admin *http.Client
	Base  string
	// Ports that the world uses. Default: 53, 80 and 443.
	DNSPort, HTTPPort, HTTPSPort uint16
	// Kernel is where the kernel's settings are. Default: /proc/sys.
	Kernel string
	// Now defaults to time.Now.
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	if o.Admin == nil {
		o.Admin = http.DefaultClient
	}
	if o.DNSPort == 0 {
		o.DNSPort = 53
	}
	if o.HTTPPort == 0 {
		o.HTTPPort = 80
	}
	if o.HTTPSPort == 0 {
		o.HTTPSPort = 443
	}
	if o.Kernel == "" {
		o.Kernel = "/proc/sys"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Examine looks at everything and judges it. It takes some seconds where
// something does not answer, and ends early with ctx.
func Examine(ctx context.Context, s Setup, o Options) (Report, error) {
	o = o.withDefaults()
	rs, err := resolversOf(s.Resolvers, systemResolvers, 53)
	if err != nil {
		return Report{}, err
	}
	var (
		wg         sync.WaitGroup
		d          delegation
		servers    []probe
		asked      []probe
		doors      []door
		offices    []office
		caaReplies []reply
		kept       stored
		others     nodes
	)
	wg.Go(func() {
		d = gatherDelegation(ctx, s, rs, o.DNSPort)
		servers = gatherServers(ctx, s, d, o.DNSPort)
	})
	wg.Go(func() { asked = gatherResolvers(ctx, s, rs) })
	wg.Go(func() { doors = gatherEdge(ctx, s, rs, o.HTTPPort, o.HTTPSPort) })
	wg.Go(func() { offices = o.gatherAuthorities(ctx, s) })
	wg.Go(func() { caaReplies = gatherCAA(ctx, s, rs) })
	wg.Go(func() { kept = o.gatherStore(ctx) })
	wg.Go(func() { others = o.gatherNodes(ctx) })
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return Report{}, err
	}
	r := Report{Zone: s.Zone}
	for _, findings := range [][]Finding{
		judgeInterception(d),
		judgeDelegation(s, d),
		judgeServers(s, servers),
		judgeResolvers(s, asked),
		judgeEdge(s, doors),
		judgeAuthorities(offices),
		judgeCAA(s, caaReplies, identities(offices)),
		judgeStore(kept),
		judgeNodes(others),
		judgeReloads(o.gatherReloads()),
	} {
		r.Findings = append(r.Findings, findings...)
	}
	return r, nil
}
