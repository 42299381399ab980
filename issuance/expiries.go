package issuance

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/apoxy-dev/caddy-apoxy/internal/times"
)

// expiriesEvery is how often the certificates are counted: a million take a moment.
const expiriesEvery = time.Minute

// uploadedCA stands for the CA of certificates that customers brought.
const uploadedCA = "uploaded"

// lefts are the values of the label left: how long certificates are valid yet, at most.
var lefts = []struct {
	name string
	most time.Duration
}{{"expired", 0}, {"3d", 3 * 24 * time.Hour}, {"14d", 14 * 24 * time.Hour}, {"30d", 30 * 24 * time.Hour}}

// leftMore is for those that are valid for longer.
const leftMore = "more"

func leftOf(notAfter, now time.Time) string {
	for _, l := range lefts {
		if notAfter.Sub(now) <= l.most {
			return l.name
		}
	}
	return leftMore
}

// expiry is what is counted of one CA's certificates.
type expiry struct {
	left    map[string]int
	soonest int64 // when the first unexpired one expires, in Unix seconds; 0: there is none
}

// expiries counts certificates by CA. A count takes the place of the one before as a
// whole, so that a scrape never meets half of one.
var expiries = &expiryCollector{
	certificates: prometheus.NewDesc("apoxy_certificates", "Certificates in storage, by certificate authority (uploaded: customers' own) and by how long they are valid yet, at most.", []string{"ca", "left"}, nil),
	soonest:      prometheus.NewDesc("apoxy_certificate_soonest_expiry_timestamp_seconds", "When the first of the unexpired certificates expires, by certificate authority.", []string{"ca"}, nil),
}

type expiryCollector struct {
	certificates, soonest *prometheus.Desc
	counted               atomic.Pointer[map[string]*expiry]
}

// Describe implements prometheus.Collector.
func (c *expiryCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.certificates
	ch <- c.soonest
}

// Collect implements prometheus.Collector.
func (c *expiryCollector) Collect(ch chan<- prometheus.Metric) {
	counted := c.counted.Load()
	if counted == nil {
		return
	}
	for ca, e := range *counted {
		for left, n := range e.left {
			ch <- prometheus.MustNewConstMetric(c.certificates, prometheus.GaugeValue, float64(n), ca, left)
		}
		if e.soonest != 0 {
			ch <- prometheus.MustNewConstMetric(c.soonest, prometheus.GaugeValue, float64(e.soonest), ca)
		}
	}
}

// ExpiryDays is for how many days from today on ends of certificates are told.
const ExpiryDays = 100

// Expiries are the ends of all certificates in storage, those that customers brought
// included.
type Expiries struct {
	// At is when they were counted; the zero time: they have not been yet.
	At time.Time
	// Days are how many end on each day (UTC) from that of At on, Later how many end after
	// them, and Expired how many have ended.
	Days           [ExpiryDays]int
	Later, Expired int
}

func (x *Expiries) add(notAfter int64) {
	const day = 24 * 60 * 60
	switch n := notAfter/day - x.At.Unix()/day; {
	case notAfter <= x.At.Unix():
		x.Expired++
	case n < ExpiryDays:
		x.Days[n]++
	default:
		x.Later++
	}
}

// countExpiries counts all certificates, by CA and by day.
func (es *entries) countExpiries() (out map[string]*expiry, days *Expiries) {
	now := es.now()
	out, days = map[string]*expiry{}, &Expiries{At: now}
	add := func(ca string, notAfter int64) {
		e := out[ca]
		if e == nil {
			e = &expiry{left: map[string]int{leftMore: 0}}
			for _, l := range lefts {
				e.left[l.name] = 0
			}
			out[ca] = e
		}
		days.add(notAfter)
		e.left[leftOf(times.Unix(notAfter), now)]++
		if notAfter > now.Unix() && (e.soonest == 0 || notAfter < e.soonest) {
			e.soonest = notAfter
		}
	}
	es.each(func(e *entry) {
		if _, notAfter := e.times(); e.has() && !e.gone() {
			add(e.issuer(), notAfter)
		}
		if u := e.upload(); u != nil && u.Lost == 0 {
			add(uploadedCA, u.NotAfter)
		}
	})
	return out, days
}

// countExpiries counts all certificates now and then, until ctx ends.
func (s *Scheduler) countExpiries(ctx context.Context) {
	tick := time.NewTicker(expiriesEvery)
	defer tick.Stop()
	for {
		counted, days := s.entries.countExpiries()
		expiries.counted.Store(&counted)
		s.expiries.Store(days)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
