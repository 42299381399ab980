package cluster

import (
	"fmt"
	"slices"
	"testing"
)

func TestSharesAreEvenAndMoveOnlyWithTheirNode(t *testing.T) {
	const keys = 30_000
	nodes := []string{"n1", "n2", "n3", "n4", "n5"}
	count := map[string]int{}
	for i := range keys {
		key := fmt.Sprintf("h%d.example.com", i)
		owner := Share(nodes, key)
		count[owner]++
		if got := Share([]string{"n5", "n3", "n1", "n4", "n2"}, key); got != owner {
			t.Fatalf("%s is %s's, and in another order of the nodes %s's", key, owner, got)
		}
		rest := slices.DeleteFunc(slices.Clone(nodes), func(n string) bool { return n == "n3" })
		if got := Share(rest, key); owner != "n3" && got != owner || got == "n3" {
			t.Fatalf("%s went from %s to %s because n3 has gone", key, owner, got)
		}
	}
	for _, n := range nodes {
		if got := count[n]; got < keys/5*9/10 || got > keys/5*11/10 {
			t.Errorf("%s has %d of %d keys", n, got, keys)
		}
	}
	if got := Share(nil, "a.example.com"); got != "" {
		t.Errorf("without nodes it is %q's", got)
	}
}

// All versions must share out alike: two that do not would both, or neither, do the work.
func TestSharesAreTheSameInEveryVersion(t *testing.T) {
	nodes := []string{"n1", "n2", "n3"}
	var got []string
	for _, key := range []string{"a.example.com", "*.b.example.net", "xn--bcher-kva.example", ""} {
		got = append(got, Share(nodes, key))
	}
	if want := []string{"n3", "n2", "n1", "n1"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
