package dnsprovider

import (
	"sync"
	"sync/atomic"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

// noZone is the zone label of questions outside every served zone.
const noZone = "none"

// The label values of what is counted; whatever else occurs is "other".
var (
	countedTypes = [...]uint16{dns.TypeA, dns.TypeAAAA, dns.TypeCNAME, dns.TypeTXT, dns.TypeNS, dns.TypeSOA,
		dns.TypeCAA, dns.TypeMX, dns.TypeHTTPS, dns.TypeDS, dns.TypeANY}
	countedRcodes = [...]int{dns.RcodeSuccess, dns.RcodeNameError, dns.RcodeRefused, dns.RcodeFormatError,
		dns.RcodeServerFailure, dns.RcodeNotImplemented, dns.RcodeBadVers}
	protos = [...]string{"udp", "tcp"}
)

// typeIndex is where a type up to 257 is counted; 0 is "other".
var typeIndex = func() (t [258]uint8) {
	for i, typ := range countedTypes {
		t[typ] = uint8(i + 1)
	}
	return t
}()

var rcodeIndex = func() (t [dns.RcodeBadVers + 1]uint8) {
	for i, rcode := range countedRcodes {
		t[rcode] = uint8(i + 1)
	}
	return t
}()

// zoneCounters counts the answers of one zone without looking up labels.
type zoneCounters struct {
	n [len(countedTypes) + 1][len(countedRcodes) + 1][len(protos)]atomic.Uint64
}

// of is the counter of such an answer.
func (c *zoneCounters) of(qtype uint16, rcode int, tcp bool) *atomic.Uint64 {
	t, r, p := uint8(0), uint8(0), 0
	if int(qtype) < len(typeIndex) {
		t = typeIndex[qtype]
	}
	if rcode < len(rcodeIndex) {
		r = rcodeIndex[rcode]
	}
	if tcp {
		p = 1
	}
	return &c.n[t][r][p]
}

// tally counts what one loop answers until it is flushed, once a batch, so that the
// loops of two cores do not take the counters from each other for every answer.
// Its entries are the few kinds of answers that a batch has; what there is no room
// for is counted at once.
type tally struct {
	kinds [8]struct {
		counter *atomic.Uint64
		n       uint64
	}
	used int
}

// add counts one answer. A nil tally counts at once.
func (t *tally) add(counter *atomic.Uint64) {
	if t != nil {
		for i := range t.kinds[:t.used] {
			if t.kinds[i].counter == counter {
				t.kinds[i].n++
				return
			}
		}
		if t.used < len(t.kinds) {
			t.kinds[t.used].counter, t.kinds[t.used].n = counter, 1
			t.used++
			return
		}
	}
	counter.Add(1)
}

func (t *tally) flush() {
	for i := range t.kinds[:t.used] {
		t.kinds[i].counter.Add(t.kinds[i].n)
	}
	t.used = 0
}

// counters of every zone that this process ever served, by name: they outlive
// an Authority so that they never fall.
var counters = struct {
	sync.Mutex
	zones map[string]*zoneCounters
}{zones: map[string]*zoneCounters{}}

func countersOf(zone string) *zoneCounters {
	counters.Lock()
	defer counters.Unlock()
	c := counters.zones[zone]
	if c == nil {
		c = new(zoneCounters)
		counters.zones[zone] = c
	}
	return c
}

// queries is apoxy_dns_queries_total.
type queries struct{ desc *prometheus.Desc }

func (q queries) Describe(ch chan<- *prometheus.Desc) { ch <- q.desc }

func (q queries) Collect(ch chan<- prometheus.Metric) {
	counters.Lock()
	defer counters.Unlock()
	for zone, c := range counters.zones {
		for t := range c.n {
			for r := range c.n[t] {
				for p := range c.n[t][r] {
					if n := c.n[t][r][p].Load(); n > 0 {
						ch <- prometheus.MustNewConstMetric(q.desc, prometheus.CounterValue, float64(n),
							zone, typeLabel(t), rcodeLabel(r), protos[p])
					}
				}
			}
		}
	}
}

func typeLabel(i int) string {
	if i == 0 {
		return "other"
	}
	return dns.TypeToString[countedTypes[i-1]]
}

func rcodeLabel(i int) string {
	switch {
	case i == 0:
		return "other"
	case countedRcodes[i-1] == dns.RcodeBadVers:
		return "BADVERS"
	}
	return dns.RcodeToString[countedRcodes[i-1]]
}

var queriesTotal = queries{prometheus.NewDesc("apoxy_dns_queries_total",
	"DNS queries answered, by zone (\"none\": outside every served zone), query type, response code and transport.",
	[]string{"zone", "type", "rcode", "proto"}, nil)}

// rateLimited counts the answers that were over the rate: those that went out
// truncated, then those that did not go out.
var rateLimited [answerKinds][2]atomic.Uint64

// limited is apoxy_dns_rate_limited_total.
type limited struct{ desc *prometheus.Desc }

func (l limited) Describe(ch chan<- *prometheus.Desc) { ch <- l.desc }

func (l limited) Collect(ch chan<- prometheus.Metric) {
	for kind, name := range [answerKinds]string{"answer", "nxdomain", "error"} {
		for i, action := range [2]string{"truncated", "dropped"} {
			ch <- prometheus.MustNewConstMetric(l.desc, prometheus.CounterValue, float64(rateLimited[kind][i].Load()), name, action)
		}
	}
}

var rateLimitedTotal = limited{prometheus.NewDesc("apoxy_dns_rate_limited_total",
	"DNS answers over the rate limit (UDP, no DNS cookie), by kind of answer and by what became of them: \"truncated\" or \"dropped\".",
	[]string{"kind", "action"}, nil)}

// sampleEvery is how many UDP queries share one timing.
const sampleEvery = 16

var queryDuration = prometheus.NewHistogram(prometheus.HistogramOpts{
	Name: "apoxy_dns_query_duration_seconds",
	Help: "From a DNS query read to its answer sent, with those that it was read together with; one in 16 over UDP, each over TCP.",
	Buckets: []float64{1e-6, 2e-6, 4e-6, 8e-6, 16e-6, 32e-6, 64e-6, 128e-6, 256e-6, 512e-6, 1e-3, 4e-3, 16e-3,
		64e-3, 256e-3},
})

// Collectors are this package's metrics, to be registered once.
func Collectors() []prometheus.Collector {
	return []prometheus.Collector{queriesTotal, rateLimitedTotal, queryDuration}
}
