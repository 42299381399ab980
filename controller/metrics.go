package controller

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// Values of the label check of apoxy_checks_total.
const (
	checkTraffic   = "traffic"
	checkChallenge = "acme_challenge"
	checkOwnership = "ownership"
	checkCAA       = "caa"
)

var (
	checks = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "apoxy_checks_total",
		Help: "Observations of customers' DNS, by what was looked for and the outcome: seen, absent, unknown.",
	}, []string{"check", "outcome"})
	checkDuration = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "apoxy_check_duration_seconds",
		Help:    "Time that looking at all DNS records of one hostname took.",
		Buckets: []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10},
	})
	queueDepth = prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "apoxy_queue_depth",
		Help:        "Work that is due and waits for its turn.",
		ConstLabels: prometheus.Labels{"queue": "checks"},
	})
	fleetBrakes = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "apoxy_fleet_brake_total",
		Help: "Times that too many records would have lost ownership together, so that none did.",
	})
)

// Collectors are the metrics of this room.
func Collectors() []prometheus.Collector {
	return []prometheus.Collector{checks, checkDuration, queueDepth, fleetBrakes}
}

// outcomes are the values of the label outcome.
var outcomes = [...]string{ownership.CouldNotTell: "unknown", ownership.Seen: "seen", ownership.Absent: "absent"}

func countCheck(check string, o ownership.Outcome) { checks.WithLabelValues(check, outcomes[o]).Inc() }
