package controller

import (
	"fmt"
	"testing"
	"time"
)

// outage is a model of 24 records of two owners, of which a0 to a7 and b0 to b7
// have had no proof left since so long ago.
func outage(t *testing.T, ago time.Duration, tell func(b *brake, name, owner string, since time.Time)) *fleetModel {
	m := newFleetModel(t, 1)
	m.add(24, "a")
	for i := range 8 {
		for _, owner := range []string{"a", "b"} {
			tell(m.b, fmt.Sprint(owner, i), owner, m.now.Add(-ago))
		}
	}
	return m
}

func (m *fleetModel) rule(name, owner string, gone time.Duration) ruling {
	return m.b.rule(name, owner, m.now.Add(-gone), m.now)
}

// What goes late falls with the others, although they were not looked at yet.
func TestTheEndOfAHoldIsTheEndForAll(t *testing.T) {
	m := outage(t, modelWait, func(b *brake, name, owner string, since time.Time) { b.note(name, owner, since, since) })
	for i := range 8 {
		if !m.rule(fmt.Sprint("a", i), "a", modelWait).held {
			t.Fatalf("a%d is not held", i)
		}
	}
	m.now = m.now.Add(55 * time.Minute)
	m.b.note("late", "c", m.now, m.now)
	m.now = m.now.Add(5 * time.Minute)
	if m.rule("a0", "a", modelHold+modelWait).held {
		t.Error("a0 is held for longer than the hold")
	}
	m.now = m.now.Add(5 * time.Minute)
	if m.rule("late", "c", modelWait).held || !m.b.since.IsZero() {
		t.Error("those whose time is over make it hold again")
	}
}

func TestTheClockIsSetBackInAHold(t *testing.T) {
	m := outage(t, modelWait, func(b *brake, name, owner string, since time.Time) { b.note(name, owner, since, since) })
	m.rule("a0", "a", modelWait)
	m.now = m.now.Add(-48 * time.Hour)
	back := m.now
	if r := m.rule("a0", "a", modelWait); !r.held || !r.since.Equal(back) || !r.until.Equal(back.Add(modelHold)) {
		t.Errorf("after the step it holds %+v", r)
	}
	for i := range 8 {
		m.b.forget(fmt.Sprint("b", i), m.now)
	}
	m.now = m.now.Add(30 * time.Minute)
	for i := range 8 {
		m.b.note(fmt.Sprint("b", i), "b", m.now, m.now)
	}
	if r := m.rule("a0", "a", modelWait); !r.held || !r.until.Equal(back.Add(modelHold)) {
		t.Errorf("when it begins anew it holds a0 %+v, want until %v", r, back.Add(modelHold))
	}
}

func TestAHoldOfBeforeTheStart(t *testing.T) {
	recall := func(b *brake, name, owner string, since time.Time) { b.recallGone(name, owner, since) }
	t.Run("under way", func(t *testing.T) {
		m := outage(t, 40*time.Minute, recall)
		began := m.now.Add(modelWait - 40*time.Minute)
		if r := m.rule("a0", "a", 40*time.Minute); !r.held || !r.since.Equal(began) || !r.until.Equal(began.Add(modelHold)) {
			t.Errorf("it holds %+v, want since %v", r, began)
		}
	})
	t.Run("over", func(t *testing.T) {
		m := outage(t, 3*time.Hour, recall)
		if r := m.rule("new", "c", modelWait); r.held || r.fell.IsZero() {
			t.Errorf("a new one is held because of those whose time is over: %+v", r)
		}
	})
	t.Run("over, and many are new", func(t *testing.T) {
		m := outage(t, 3*time.Hour, recall)
		for i := range 12 {
			m.b.note(fmt.Sprint("c", i), "", m.now.Add(-modelWait), m.now)
		}
		if !m.rule("c0", "", modelWait).held {
			t.Error("those of before leave the new ones without the brake")
		}
	})
}
