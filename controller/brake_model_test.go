package controller

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// fleetModel is what is true of the records that a brake hears of.
type fleetModel struct {
	t       *testing.T
	rng     *rand.Rand
	b       *brake
	now     time.Time
	records []*modelRecord
	// rightly is how many records of others than the tenant lose their proofs at
	// most at one time.
	rightly int
}

type modelRecord struct {
	name, owner    string
	verified, gone bool
	since, held    time.Time
}

const modelWait, modelHold = 10 * time.Minute, time.Hour

func newFleetModel(t *testing.T, seed uint64) *fleetModel {
	m := &fleetModel{t: t, rng: rand.New(rand.NewPCG(seed, 3)), now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	m.b = &brake{
		settings: func() ownership.Settings {
			return ownership.Settings{DetachAfter: modelWait, FleetBrakeHold: modelHold}
		},
		verified: func() int { return m.count(func(r *modelRecord) bool { return r.verified }) },
		logger:   zap.NewNop(), withdrawing: map[string]*withdrawal{},
	}
	return m
}

func (m *fleetModel) count(f func(*modelRecord) bool) (n int) {
	for _, r := range m.records {
		if f(r) {
			n++
		}
	}
	return n
}

func (m *fleetModel) add(n int, owner string) {
	for range n {
		m.records = append(m.records, &modelRecord{name: fmt.Sprint(owner, len(m.records)), owner: owner, verified: true})
	}
}

// look is a look at a record, as settle tells the brake of it.
func (m *fleetModel) look(r *modelRecord) {
	switch {
	case !r.verified || !r.gone:
		r.held = time.Time{}
		m.b.forget(r.name, m.now)
	case m.now.Sub(r.since) < modelWait:
		m.b.note(r.name, r.owner, r.since, m.now)
	default:
		rule := m.b.rule(r.name, r.owner, r.since, m.now)
		switch {
		case rule.held && r.held.IsZero():
			r.held = m.now
		case rule.held:
		case m.rng.IntN(8) == 0:
			m.b.undo(r.name, rule.fell) // the status could not be written
			r.held = time.Time{}
		default:
			r.verified, r.held = false, time.Time{}
		}
	}
}

// step lets time pass and something happen to the tenant's records: it owns "t".
func (m *fleetModel) step() {
	m.now = m.now.Add(time.Duration(m.rng.IntN(180)) * time.Second)
	all := m.rng.IntN(12) == 0 // the tenant does it to all
	others := m.count(func(r *modelRecord) bool { return r.verified && r.gone && r.owner != "t" })
	for _, r := range m.records {
		switch chance := m.rng.IntN(40); {
		case r.owner == "t" && (all || chance < 3):
			if r.gone = !r.gone; r.gone {
				r.since = m.now
			} else {
				r.verified = true
			}
		case r.owner != "t" && !r.gone && chance == 0 && others < m.rightly:
			r.gone, r.since = true, m.now
			others++
		}
		if m.rng.IntN(2) == 0 {
			m.look(r)
		}
	}
	m.recount()
}

// recount checks what the brake counts by counting it anew.
func (m *fleetModel) recount() {
	m.t.Helper()
	var falling headcount
	for _, w := range m.b.withdrawing {
		if !w.excused {
			falling.add(w.owner)
		}
	}
	for _, f := range m.b.fallen {
		falling.add(f.owner)
	}
	if got := m.b.falling; got.records != falling.records || got.owners() != falling.owners() || len(got.of) != len(falling.of) {
		m.t.Fatalf("the count is off: %+v, counted anew %+v", got, falling)
	}
}

// Many lose their proofs at the same time, up to all, and one tenant does what it
// likes meanwhile: each record falls once its hour is over.
func TestNobodyIsHeldForLongerThanTheHold(t *testing.T) {
	held, over := 0, 0
	for seed := range uint64(150) {
		m := newFleetModel(t, seed)
		m.add(1+m.rng.IntN(80), "t")
		m.add(40, "a")
		m.add(40, "b")
		m.add(40, "")
		m.rightly = 8 + m.rng.IntN(120)
		for range 120 {
			m.step()
			for _, r := range m.records {
				since := r.held
				m.look(r)
				switch {
				case !r.held.IsZero():
					held++
					if m.now.Sub(r.held) >= modelHold {
						t.Fatalf("seed %d: %s is held since %s", seed, r.name, m.now.Sub(r.held))
					}
				case !since.IsZero() && r.gone && m.now.Sub(since) >= modelHold:
					over++
				}
			}
		}
	}
	if held < 1000 || over < 100 {
		t.Errorf("held %d times and let go %d times only", held, over)
	}
}

// BenchmarkBrake is an outage of a million records, each of an owner of its own:
// what a look costs at the brake, and what it keeps of each.
func BenchmarkBrake(b *testing.B) {
	const records = 1_000_000
	names := make([]string, records)
	for i := range names {
		names[i] = fmt.Sprintf("www.customer%d.com", i)
	}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	fill := func() *brake {
		br := &brake{
			settings: func() ownership.Settings { return ownership.Settings{DetachAfter: modelWait} },
			verified: func() int { return records },
			logger:   zap.NewNop(), withdrawing: map[string]*withdrawal{},
		}
		for _, name := range names {
			br.note(name, name, now, now)
		}
		return br
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	br := fill()
	runtime.GC()
	runtime.ReadMemStats(&after)
	later := now.Add(modelWait)
	for i := 0; b.Loop(); i++ {
		if name := names[i%records]; !br.rule(name, name, now, later).held {
			b.Fatal("it does not hold")
		}
	}
	b.ReportMetric(float64(int64(after.HeapAlloc)-int64(before.HeapAlloc))/records, "B/record")
}
