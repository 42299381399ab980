package etcdstore

import (
	"fmt"
	"slices"
	"testing"
)

// Whatever is asked of a guide, there are as many keys up to the mark as were asked for,
// few more, and its rest is true.
func TestAGuideNamesMarksThatAreFarEnough(t *testing.T) {
	var all []string
	for i := range 4321 {
		all = append(all, fmt.Sprintf("k%06d", 2*i))
	}
	end := "l"
	for _, known := range []int{1, 499, 500, 501, 3000, 4320, 4321} {
		for _, from := range []int{0, 7, 4000} {
			if from+known > len(all) {
				continue
			}
			g := newGuide(span{all[from], end}, all[from:from+known], int64(len(all)-from))
			whole := from+known == len(all)
			for _, start := range []string{"a", "k", all[from], all[from] + "\x00", "k000999", all[from+known-1], all[from+known-1] + "\x00"} {
				for _, n := range []int{1, 499, 500, 501, 1000} {
					at, _ := slices.BinarySearch(all, start)
					m, ok := g.near(start, n)
					if !ok {
						if far := at + n + markEvery; start >= all[from] && (whole || far+markEvery < from+known) {
							t.Errorf("of %d keys from %d on: nothing is known of %d from %q on", known, from, n, start)
						}
						continue
					}
					to, _ := slices.BinarySearch(all, m.key)
					if m.rest != int64(len(all)-to) || start < all[from] || to-at > n+2*markEvery || to-at < n && m.key != end {
						t.Errorf("of %d keys from %d on: %d from %q on end at %q with %d left: that is %d to %d", known, from, n, start, m.key, m.rest, at, to)
					}
				}
			}
		}
	}
}

func TestGuidesAreBounded(t *testing.T) {
	var g guides
	for i := range 10 * maxGuides {
		of := guided{"z", int64(i % 7)}
		g.put(of, newGuide(span{"a", "z"}, []string{"b"}, 1))
		if m, ok, large := g.near(of, "a", 10); !ok || !large || m != (mark{"z", 0}) {
			t.Fatalf("%+v, %v, %v", m, ok, large)
		}
		n := 0
		for _, some := range g.of {
			n += len(some)
		}
		if n > maxGuides {
			t.Fatalf("%d are kept", n)
		}
	}
	if _, ok, large := g.near(guided{"y", 1}, "a", 10); ok || large {
		t.Error("another span's guide is used")
	}
}
