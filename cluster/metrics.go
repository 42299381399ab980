package cluster

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// running is the member that runs; nil: there is none, and this process is alone.
var running atomic.Pointer[Member]

var collectors = []prometheus.Collector{
	prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "apoxy_cluster_live",
		Help: "Whether this node holds its lease in the store (1), or withholds challenges and orders nothing (0).",
	}, func() float64 {
		if m := running.Load(); m != nil && !m.Live() {
			return 0
		}
		return 1
	}),
	prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "apoxy_cluster_nodes",
		Help: "Nodes that hold their lease in the store, as this node last saw them.",
	}, func() float64 {
		if m := running.Load(); m != nil {
			return float64(len(m.Nodes()))
		}
		return 1
	}),
}

// Collectors are the metrics of this room.
func Collectors() []prometheus.Collector { return collectors }
