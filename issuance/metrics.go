package issuance

import (
	"cmp"

	"github.com/prometheus/client_golang/prometheus"
)

// Outcomes of apoxy_issuance_total.
const (
	outcomeIssued   = "issued"
	outcomeResumed  = "adopted" // found in storage, no order
	outcomeFailed   = "failed"
	outcomeLimited  = "rate_limited"
	outcomeForbids  = "caa_forbids"
	outcomeWorking  = "working"   // the CA takes its time and is asked again
	outcomeNotReady = "not_ready" // the probes spared an order that could not succeed
)

// Outcomes of apoxy_issuance_ocsp_total.
const (
	ocspGood    = "good"
	ocspRevoked = "revoked"
	ocspUnknown = "unknown" // to the responder
	ocspFailed  = "failed"  // no answer, or none that counts
)

var (
	issuances = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "apoxy_issuance_total",
		Help: "Tries to obtain or renew a certificate, by certificate authority, challenge and outcome.",
	}, []string{"ca", "challenge", "outcome"})
	issuanceDuration = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "apoxy_issuance_duration_seconds",
		Help:    "Time from taking a hostname up to its certificate being stored.",
		Buckets: []float64{0.1, 0.2, 0.3, 0.5, 1, 2, 5, 10, 30, 60, 180, 600},
	})
	ocspAnswers = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "apoxy_issuance_ocsp_total",
		Help: "Questions to OCSP responders whether a certificate is revoked, by outcome.",
	}, []string{"outcome"})
	queueDepth = prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "apoxy_queue_depth",
		Help:        "Work that is due and waits for its turn.",
		ConstLabels: prometheus.Labels{"queue": "issuance"},
	})
	queueAge = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "apoxy_issuance_queue_age_seconds",
		Help: "How long the hostname that is next has been due; 0 if none waits.",
	})
	queueForecast = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "apoxy_issuance_queue_forecast_seconds",
		Help: "How long the order budget will take for what is due now.",
	})
)

// Collectors are the metrics of this room.
func Collectors() []prometheus.Collector {
	return []prometheus.Collector{issuances, issuanceDuration, ocspAnswers, queueDepth, queueAge, queueForecast, expiries}
}

func count(ca, challenge, outcome string) {
	issuances.WithLabelValues(ca, cmp.Or(challenge, "none"), outcome).Inc()
}

func countOCSP(outcome string) { ocspAnswers.WithLabelValues(outcome).Inc() }
