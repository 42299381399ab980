package damage

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

var damagedDesc = prometheus.NewDesc("apoxy_store_damaged_values",
	"Stored values that were met and cannot be used: `caddy apoxy store verify` tells of all.", nil, nil)

// Collectors returns the metric of this room: apoxy_store_damaged_values over
// all stores that are open.
func Collectors() []prometheus.Collector { return []prometheus.Collector{&opened} }

// opened is the set of stores that are open.
var opened stores

type stores struct {
	mu  sync.Mutex
	set map[*Store]struct{}
}

func (o *stores) add(s *Store) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.set == nil {
		o.set = make(map[*Store]struct{})
	}
	o.set[s] = struct{}{}
}

func (o *stores) remove(s *Store) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.set, s)
}

// Describe implements prometheus.Collector.
func (o *stores) Describe(ch chan<- *prometheus.Desc) { ch <- damagedDesc }

// Collect implements prometheus.Collector.
func (o *stores) Collect(ch chan<- prometheus.Metric) {
	n := 0
	o.mu.Lock()
	for s := range o.set {
		n += s.Damaged()
	}
	o.mu.Unlock()
	ch <- prometheus.MustNewConstMetric(damagedDesc, prometheus.GaugeValue, float64(n))
}
