package caddyapoxy

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/apoxy-dev/caddy-apoxy/cli"
	"github.com/apoxy-dev/caddy-apoxy/doctor"
)

// This file has the doctor examine the set-up from within the server, for the dashboard.

// newRounds is what has it examined while somebody looks.
func (rt *runtime) newRounds() *doctor.Rounds {
	return &doctor.Rounds{
		Examine: rt.examine,
		Go: func(f func(context.Context)) {
			rt.run("examining the set-up", func(ctx context.Context) error {
				f(ctx)
				return nil
			})
		},
	}
}

// examine looks at the configuration in force. What the doctor's command asks of the admin
// endpoint, which may be off, is answered from here.
func (rt *runtime) examine(ctx context.Context) (doctor.Report, error) {
	a := rt.apps.Current()
	if a == nil {
		return doctor.Report{}, errNotStarted
	}
	return doctor.Examine(ctx, rt.doctorSetup(a), doctor.Options{
		Admin: &http.Client{Transport: ownEndpoint{rt}}, Base: "http://this-server",
	})
}

// sampled is how many hostnames the doctor asks the zone for.
const sampled = 3

// doctorSetup is a configuration as the doctor knows it.
func (rt *runtime) doctorSetup(a *App) doctor.Setup {
	s := doctor.Setup{
		Zone: a.zone.Name, EdgeAddresses: a.zone.EdgeAddrs, EdgeHost: a.zone.EdgeHost,
		EdgeUnchecked: a.edgeCheck.off, EdgeCheck: a.edgeCheck.addrs,
		CAA: a.zone.CAA, DNS: a.DNS, Resolvers: a.Resolvers, HTTPPort: 80, HTTPSPort: 443,
	}
	if len(s.DNS) == 0 {
		s.DNS = []string{":53"}
	}
	if h := a.http.Load(); h != nil {
		if h.HTTPPort > 0 {
			s.HTTPPort = h.HTTPPort
		}
		if h.HTTPSPort > 0 {
			s.HTTPSPort = h.HTTPSPort
		}
	}
	for _, n := range a.zone.Nameservers {
		s.Nameservers = append(s.Nameservers, doctor.Nameserver{Name: n.Name, Addresses: n.Addrs})
	}
	for _, ca := range rt.scheduler.Configured() {
		s.Authorities = append(s.Authorities, doctor.Authority{Directory: ca.URL(), Roots: ca.TrustedRoots})
	}
	for h := range rt.table.All() {
		if s.Hostnames = append(s.Hostnames, h.Hostname); len(s.Hostnames) == sampled {
			break
		}
	}
	return s
}

// ownEndpoint answers, without a connection, what the doctor asks of the admin endpoint.
type ownEndpoint struct{ rt *runtime }

// RoundTrip implements http.RoundTripper.
func (o ownEndpoint) RoundTrip(r *http.Request) (*http.Response, error) {
	status, body := http.StatusNotFound, []byte(nil)
	switch r.URL.Path {
	case "/metrics":
		status, body = http.StatusOK, fmt.Appendf(nil, "apoxy_store_damaged_values %d\n", o.rt.store.Damaged())
	case cli.ClusterPath:
		text, err := json.Marshal(o.rt.clusterStatus(r.Context()))
		if err != nil {
			return nil, fmt.Errorf("telling how the cluster is: %w", err)
		}
		status, body = http.StatusOK, text
	}
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)), Request: r,
	}, nil
}
