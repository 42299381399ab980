package ownership

import (
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// Every cell of the table of phases, written out once more by hand.
func TestEveryCellOfThePhases(t *testing.T) {
	const (
		p = v1alpha3.PhasePending
		i = v1alpha3.PhaseIssuing
		a = v1alpha3.PhaseActive
		d = v1alpha3.PhaseDetached
	)
	bools := []bool{false, true}
	// Index: verified, tls, certified, routed, proven.
	want := [2][2][2][2][2]v1alpha3.Phase{
		{ // not verified
			{ // HTTP-only
				{{p, d}, {p, d}},
				{{p, d}, {p, d}},
			},
			{ // TLS
				{{p, d}, {i, i}},
				{{p, d}, {i, i}},
			},
		},
		{ // verified
			{ // HTTP-only
				{{a, a}, {a, a}},
				{{a, a}, {a, a}},
			},
			{ // TLS
				{{i, i}, {i, i}},
				{{a, a}, {a, a}},
			},
		},
	}
	index := map[bool]int{true: 1}
	for _, verified := range bools {
		for _, tls := range bools {
			for _, certified := range bools {
				for _, routed := range bools {
					for _, proven := range bools {
						w := want[index[verified]][index[tls]][index[certified]][index[routed]][index[proven]]
						if got := phaseOf(verified, tls, certified, routed, proven); got != w {
							t.Errorf("verified=%v tls=%v certified=%v routed=%v proven=%v: %s, want %s",
								verified, tls, certified, routed, proven, got, w)
						}
					}
				}
			}
		}
	}
}
