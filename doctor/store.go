package doctor

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
)

// damagedMetric counts the stored values that cannot be used.
const damagedMetric = "apoxy_store_damaged_values"

// stored is what the running server tells of its store.
type stored struct {
	asked   bool
	damaged int
	err     error
}

// gatherStore reads the metrics of the admin endpoint, if that is known.
func (o Options) gatherStore(ctx context.Context) stored {
	if o.Base == "" {
		return stored{}
	}
	text, err := get(ctx, o.Admin, strings.TrimSuffix(o.Base, "/")+"/metrics")
	if err != nil {
		return stored{asked: true, err: err}
	}
	n, err := metric(text, damagedMetric)
	return stored{true, int(n), err}
}

// metric finds the value of a metric without labels in Prometheus' text format.
func metric(text []byte, name string) (float64, error) {
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			value, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return 0, fmt.Errorf("reading the metric %s: %w", name, err)
			}
			if !(n >= 0 && n <= 1<<53) {
				return 0, fmt.Errorf("reading the metric %s: %v is no count", name, n)
			}
			return n, nil
		}
	}
	return 0, fmt.Errorf("reading the metrics: there is no %s", name)
}

func judgeStore(s stored) []Finding {
	const check, subject = "store", "stored values"
	const tells = "`caddy apoxy store verify` names each damaged value and how to mend it"
	switch {
	case !s.asked:
		return nil
	case s.err != nil:
		return []Finding{finding(Note, check, subject, "whether any is damaged cannot be told: "+s.err.Error(),
			"the metric "+damagedMetric+" at /metrics of the admin endpoint", tells)}
	case s.damaged > 0:
		return []Finding{finding(Wrong, check, subject, fmt.Sprintf("%d of them cannot be used and are left out", s.damaged),
			"none: each has a checksum that holds and decodes", tells)}
	}
	return []Finding{ok(check, subject, "none is known to be damaged")}
}
