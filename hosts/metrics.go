package hosts

import (
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// counts says how many hosts have each condition at each status, are in each phase and
// wait for each reason. A change costs the same however many hosts there are.
type counts struct {
	n      [maxConditions][len(statuses)]atomic.Int64
	phases [phaseRare + 1]atomic.Int64
	awaits [otherReason + 1]atomic.Int64
}

// move counts old out and now in; nil: there is none.
func (c *counts) move(old, now *Host) {
	c.movePhase(old, now)
	c.moveAwaited(old, now)
	var from, to Conditions
	if old != nil {
		from = old.Conditions
	}
	if now != nil {
		to = now.Conditions
	}
	if from == to {
		return
	}
	for i := range conditionTypes {
		f, t := from>>(2*i)&3, to>>(2*i)&3
		if f == t {
			continue
		}
		if f != 0 {
			c.n[i][f].Add(-1)
		}
		if t != 0 {
			c.n[i][t].Add(1)
		}
	}
}

func (c *counts) movePhase(old, now *Host) {
	if old != nil && now != nil && old.phase == now.phase {
		return
	}
	if old != nil {
		c.phases[old.phase].Add(-1)
	}
	if now != nil {
		c.phases[now.phase].Add(1)
	}
}

func (c *counts) moveAwaited(old, now *Host) {
	from, to := noReason, noReason
	if old != nil {
		from = awaited(old.reasons)
	}
	if now != nil {
		to = awaited(now.reasons)
	}
	if from != to {
		c.awaits[from].Add(-1)
		c.awaits[to].Add(1)
	}
}

// Count returns how many hosts have a condition at a status.
func (t *Table) Count(conditionType string, status metav1.ConditionStatus) int64 {
	for i, known := range conditionTypes {
		if known == conditionType {
			return t.counts.n[i][statusBits(status)].Load()
		}
	}
	return 0
}

// Each calls fn with the number of hosts for every condition and status.
func (t *Table) Each(fn func(conditionType string, status metav1.ConditionStatus, n int64)) {
	for i, conditionType := range conditionTypes {
		for bits := 1; bits < len(statuses); bits++ {
			fn(conditionType, statuses[bits], t.counts.n[i][bits].Load())
		}
	}
}

// EachPhase calls fn with the number of hosts in each of the phases.
func (t *Table) EachPhase(fn func(phase v1alpha3.Phase, n int64)) {
	for i, p := range phases {
		fn(p, t.counts.phases[i].Load())
	}
}

// EachAwaited calls fn with the number of hosts that wait for each of the reasons that
// Ready can have; see Search.Reason.
func (t *Table) EachAwaited(fn func(reason string, n int64)) {
	for i, reason := range conditionReasons[readyAt] {
		fn(reason, t.counts.awaits[i+1].Load())
	}
}

var recordsDesc = prometheus.NewDesc("apoxy_domainrecords",
	"Records by the status of their conditions.", []string{"condition", "status"}, nil)

// Collectors returns the metrics of this room: apoxy_domainrecords over all
// tables that a Follow is filling at the time.
func Collectors() []prometheus.Collector { return []prometheus.Collector{&followed} }

// followed is the set of tables being filled.
var followed tables

type tables struct {
	mu  sync.Mutex
	set map[*Table]int
}

func (f *tables) add(t *Table) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.set == nil {
		f.set = make(map[*Table]int)
	}
	f.set[t]++
}

func (f *tables) remove(t *Table) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.set[t]--; f.set[t] == 0 {
		delete(f.set, t)
	}
}

// Describe implements prometheus.Collector.
func (f *tables) Describe(ch chan<- *prometheus.Desc) { ch <- recordsDesc }

// Collect implements prometheus.Collector.
func (f *tables) Collect(ch chan<- prometheus.Metric) {
	var sum [maxConditions][len(statuses)]int64
	f.mu.Lock()
	for t := range f.set {
		for i := range sum {
			for bits := range sum[i] {
				sum[i][bits] += t.counts.n[i][bits].Load()
			}
		}
	}
	f.mu.Unlock()
	for i, conditionType := range conditionTypes {
		for bits := 1; bits < len(statuses); bits++ {
			ch <- prometheus.MustNewConstMetric(recordsDesc, prometheus.GaugeValue,
				float64(sum[i][bits]), conditionType, string(statuses[bits]))
		}
	}
}
