package caddyapoxy

import (
	"errors"
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/cluster"
	"github.com/apoxy-dev/caddy-apoxy/controller"
	"github.com/apoxy-dev/caddy-apoxy/dnsprovider"
	"github.com/apoxy-dev/caddy-apoxy/edgefunction"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
	"github.com/apoxy-dev/caddy-apoxy/issuance"
	"github.com/apoxy-dev/caddy-apoxy/store/damage"
	"github.com/apoxy-dev/caddy-apoxy/webhook"
)

// The metrics of the modules themselves; each room has its own beside them.
var (
	permissionTotal = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "apoxy_permission_total",
		Help: "Decisions of the on-demand TLS permission.",
	}, []string{"decision"})
	requestsTotal = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "apoxy_requests_total",
		Help: "Requests by the kind of target and what became of them.",
	}, []string{"target_kind", "outcome"})
)

// registerMetrics registers all collectors with this configuration's registry.
// They count on across reloads.
func registerMetrics(ctx caddy.Context) error {
	collectors := []prometheus.Collector{permissionTotal, requestsTotal}
	for _, room := range [][]prometheus.Collector{
		controller.Collectors(), dnsprovider.Collectors(), issuance.Collectors(), hosts.Collectors(), damage.Collectors(),
		edgefunction.Collectors(), webhook.Collectors(), cluster.Collectors(),
	} {
		collectors = append(collectors, room...)
	}
	for _, c := range collectors {
		err := ctx.GetMetricsRegistry().Register(c)
		if already := (prometheus.AlreadyRegisteredError{}); err != nil && !errors.As(err, &already) {
			return fmt.Errorf("registering a metric: %w", err)
		}
	}
	return nil
}

// permissionCounters holds a counter per decision, so that counting allocates
// nothing.
type permissionCounters struct {
	allowed, unknown, unverified, httpOnly, issuing, failed prometheus.Counter
}

var permissions = permissionCounters{
	allowed:    permissionTotal.WithLabelValues("allowed"),
	unknown:    permissionTotal.WithLabelValues("unknown"),
	unverified: permissionTotal.WithLabelValues("unverified"),
	httpOnly:   permissionTotal.WithLabelValues("http_only"),
	issuing:    permissionTotal.WithLabelValues("still_issuing"),
	failed:     permissionTotal.WithLabelValues("error"),
}

func (c *permissionCounters) count(err error) {
	switch err {
	case nil:
		c.allowed.Inc()
	case errUnknownName:
		c.unknown.Inc()
	case errUnverified:
		c.unverified.Inc()
	case errHTTPOnly:
		c.httpOnly.Inc()
	case errStillIssuing:
		c.issuing.Inc()
	default:
		c.failed.Inc()
	}
}

// requestLabels are the labels of one counter of requestsTotal.
type requestLabels struct {
	kind    string
	outcome decision
}

// requestCounters holds a counter per kind of target and outcome, so that
// counting allocates nothing and takes no lock. It is never modified.
type requestCounters map[requestLabels]prometheus.Counter

var requests = newRequestCounters()

// noKind is the target_kind of requests that no record is for.
const noKind = "none"

func newRequestCounters() requestCounters {
	c := requestCounters{{noKind, unknownHost}: requestsTotal.WithLabelValues(noKind, string(unknownHost))}
	for _, kind := range append(v1alpha3.TargetKinds(), v1alpha3.KindRedirect) {
		for _, d := range knownHostDecisions {
			c[requestLabels{kind, d}] = requestsTotal.WithLabelValues(kind, string(d))
		}
	}
	return c
}

func (c requestCounters) count(host *hosts.Host, d decision) {
	kind := noKind
	if host != nil {
		kind = host.Target().Kind
	}
	if counter, ok := c[requestLabels{kind, d}]; ok {
		counter.Inc()
		return
	}
	requestsTotal.WithLabelValues(kind, string(d)).Inc() // a kind of another version
}
