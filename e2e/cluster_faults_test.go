package e2e

import (
	"context"
	"testing"
	"time"
)

// disturb breaks one thing after the other, for seconds each and with a rest after it, and
// returns when all nodes are live again.
func (c *cluster) disturb(t *testing.T, ctx context.Context, rest time.Duration) {
	t.Helper()
	pass := func(d time.Duration) {
		select {
		case <-ctx.Done():
		case <-time.After(d):
		}
	}
	first, second, third := c.nodes[0], c.nodes[1], c.nodes[2]
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	pass(time.Second)
	for _, fault := range []struct {
		name string
		f    func()
	}{
		{"a node is cut from etcd for less than its lease", func() { mend := third.cut(t); pass(2 * time.Second); mend() }},
		{"a node is cut from etcd for longer", func() { mend := second.cut(t); pass(7 * time.Second); mend() }},
		{"a node does not hear what etcd answers", func() { mend := first.deafen(t); pass(3 * time.Second); mend() }},
		{"a node is cut from one member, in turn", func() {
			for _, m := range c.etcd.Members {
				mend := third.cut(t, m)
				pass(2 * time.Second)
				mend()
			}
		}},
		{"a node stands still", func() { do(first.proc.Silence()); pass(6 * time.Second); do(first.proc.Speak()) }},
		{"a node is killed", func() { second.proc.Kill(); pass(time.Second); second.spawn(t) }},
		{"etcd loses its leader", func() {
			leader, err := c.etcd.Leader()
			do(err)
			if err == nil {
				leader.Kill()
				pass(3 * time.Second)
				do(leader.Start())
			}
		}},
		{"etcd's leader stands still", func() {
			leader, err := c.etcd.Leader()
			do(err)
			if err == nil {
				do(leader.Silence())
				pass(3 * time.Second)
				do(leader.Speak())
			}
		}},
	} {
		began, before := time.Now(), c.gate.passed(atOrder)
		fault.f()
		pass(rest)
		t.Logf("%s, for %v: %d orders meanwhile", fault.name, time.Since(began).Round(time.Millisecond), c.gate.passed(atOrder)-before)
	}
	for _, d := range c.nodes {
		d.awaitLive(t)
	}
}
