package vitals

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// Sum returns a function that adds up all that a metric of this name has counted, over
// all labels: of a counter its values, of a histogram how often it observed. Of the
// collectors only those that have the metric are read. Nil: none has.
func Sum(name string, collectors ...prometheus.Collector) func() float64 {
	var of []prometheus.Collector
	for _, c := range collectors {
		if describes(c, name) {
			of = append(of, c)
		}
	}
	if of == nil {
		return nil
	}
	return func() (sum float64) {
		for _, c := range of {
			each(c.Collect, func(m prometheus.Metric) {
				if isNamed(m.Desc(), name) {
					sum += counted(m)
				}
			})
		}
		return sum
	}
}

func describes(c prometheus.Collector, name string) (does bool) {
	each(c.Describe, func(d *prometheus.Desc) { does = does || isNamed(d, name) })
	return does
}

// isNamed reports whether a description is that of a metric of this name, which it tells
// in its text alone.
func isNamed(d *prometheus.Desc, name string) bool {
	return strings.HasPrefix(d.String(), `Desc{fqName: "`+name+`",`)
}

// each calls do with all that tell sends.
func each[T any](tell func(chan<- T), do func(T)) {
	ch := make(chan T, 64)
	go func() {
		defer close(ch)
		tell(ch)
	}()
	for v := range ch {
		do(v)
	}
}

func counted(m prometheus.Metric) float64 {
	var out dto.Metric
	if m.Write(&out) != nil {
		return 0
	}
	return out.GetCounter().GetValue() + float64(out.GetHistogram().GetSampleCount())
}
