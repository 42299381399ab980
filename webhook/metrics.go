package webhook

import "github.com/prometheus/client_golang/prometheus"

// Values of the label outcome of apoxy_webhook_deliveries_total.
const (
	countDelivered = "delivered"
	countFailed    = "failed"   // a try came to nothing, and there will be another
	countGivenUp   = "given_up" // tried for keepFor, or the endpoint is gone
	countDropped   = "dropped"  // too many wait
	countSkipped   = "skipped"  // the endpoint is gone: it was not queued
)

var (
	deliveries = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "apoxy_webhook_deliveries_total",
		Help: "Webhook deliveries by what became of them: delivered, failed (a try), given_up, dropped, skipped.",
	}, []string{"outcome"})
	queueDepth = prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "apoxy_queue_depth",
		Help:        "Work that is due and waits for its turn.",
		ConstLabels: prometheus.Labels{"queue": "webhooks"},
	})
)

// Collectors are the metrics of this room.
func Collectors() []prometheus.Collector { return []prometheus.Collector{deliveries, queueDepth} }

func count(outcome string, n int) { deliveries.WithLabelValues(outcome).Add(float64(n)) }
