package caddyapoxy

import (
	"slices"
	"testing"
)

func TestGenerationsFollowReloads(t *testing.T) {
	var told []int
	g := generations[int]{changed: func(v *int) { told = append(told, *v) }}
	one, two, three := 1, 2, 3
	if g.Current() != nil {
		t.Error("there is a current one before the first")
	}
	g.Push(&one)
	g.Push(&two) // a reload: the new one starts,
	g.Remove(&one)
	if *g.Current() != 2 {
		t.Errorf("current = %d after a reload, want 2", *g.Current())
	}
	g.Push(&three) // a reload that fails: the new one starts and stops
	g.Remove(&three)
	if *g.Current() != 2 {
		t.Errorf("current = %d after a failed reload, want 2", *g.Current())
	}
	g.Remove(&two)
	if *g.Current() != 2 {
		t.Errorf("current = %d after the last left, want it to stay 2", *g.Current())
	}
	if want := []int{1, 2, 3, 2}; !slices.Equal(told, want) {
		t.Errorf("told of %v, want %v", told, want)
	}
}
