package issuance

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
)

// Whatever comes in whatever order, an entry stands in one place, and what is counted
// is what there is.
func TestEveryEntryStandsInOnePlace(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			m := newModel(t, rand.New(rand.NewPCG(seed, 11)))
			for range 400 {
				m.step()
				m.check()
				if t.Failed() {
					return
				}
			}
		})
	}
}

// model drives entries with a clock, CAs and a store's revisions of its own.
type model struct {
	t        *testing.T
	rng      *rand.Rand
	now      time.Time
	es       *entries
	configs  []*Issuers
	flights  []taken
	revision int64
}

func newModel(t *testing.T, rng *rand.Rand) *model {
	m := &model{t: t, rng: rng, now: epoch}
	l := newLedger(openStore(t))
	m.es = newEntries(func() time.Time { return m.now }, l, 3, func(string) {})
	for _, budget := range []acme.Budget{{}, {Orders: 2, Per: time.Hour}} {
		is := &Issuers{}
		for i := range 2 {
			key := fmt.Sprintf("ca%d", i)
			is.list = append(is.list, issuer{member: key, ca: newTestAuthority(key, budget)})
		}
		m.configs = append(m.configs, is)
	}
	m.configs = append(m.configs, nil)
	m.es.use(m.configs[0], false)
	m.es.complete(0)
	return m
}

func newTestAuthority(key string, b acme.Budget) *ca {
	return &ca{CA: &acme.CA{Key: key, Auth: acme.Authority{Directory: "https://" + key + ".test", Budget: b}}}
}

func (m *model) host() string { return fmt.Sprintf("h%d.example%d.com", m.rng.IntN(12), m.rng.IntN(3)) }

// step is one thing that may happen.
func (m *model) step() {
	ctx := context.Background()
	switch m.rng.IntN(12) {
	case 0, 1, 2:
		m.es.want(Want{Hostname: m.host(), UID: fmt.Sprint("u", m.rng.IntN(3)), DNS01: m.rng.IntN(3) > 0})
	case 3:
		m.es.forget(m.host())
	case 4:
		m.es.retry(m.host())
	case 5:
		m.revision++
		m.es.learn(&learnt{hostname: m.host(), rec: m.dossier(), revision: m.revision})
	case 6:
		m.revision++
		m.es.unlearn(m.host(), m.revision)
	case 7:
		m.es.use(m.configs[m.rng.IntN(len(m.configs))], m.rng.IntN(4) == 0)
	case 8:
		m.es.admit(m.rng.IntN(4) > 0)
	case 9:
		m.now = m.now.Add(time.Duration(m.rng.IntN(3)) * time.Hour)
	case 10:
		m.flights = append(m.flights, m.es.takeUp(ctx)...)
	default:
		m.land()
	}
}

// dossier is one with or without a certificate.
func (m *model) dossier() dossier {
	if m.rng.IntN(3) == 0 {
		return dossier{}
	}
	d := dossier{UID: "u1", CA: "ca0", Serial: fmt.Sprint(m.rng.IntN(5) + 1), NotBefore: m.now.Unix(), NotAfter: m.now.Add(90 * 24 * time.Hour).Unix()}
	d.Renewal = m.now.Add(time.Duration(m.rng.IntN(5)-1) * 24 * time.Hour).Unix()
	return d
}

// land ends some work that is under way.
func (m *model) land() {
	if len(m.flights) == 0 {
		return
	}
	i := m.rng.IntN(len(m.flights))
	f := m.flights[i]
	m.flights = append(m.flights[:i], m.flights[i+1:]...)
	l := landing{rec: m.dossier(), looked: true, save: m.rng.IntN(2) == 0}
	if m.rng.IntN(4) == 0 {
		l.again = time.Minute
	}
	if m.rng.IntN(4) == 0 {
		l.rec.Trouble = &trouble{Class: acme.ClassDNS, UID: "u1", Message: "not there", Until: m.now.Add(time.Minute).Unix()}
	}
	f.flight.cancel()
	m.revision++
	m.es.land(f.flight, l, m.revision, false)
}

// check looks for every entry in all places.
func (m *model) check() {
	es := m.es
	es.mu.Lock()
	defer es.mu.Unlock()
	flying, beside, asking, ready, booked := 0, 0, 0, 0, 0
	for e := range es.of.all() {
		name := e.hostname
		places := 0
		if e.slot >= 0 {
			places++
			if es.due[e.slot] != e {
				m.t.Errorf("%s is not where it says in the heap", name)
			}
		}
		if e.ready() != nil {
			places++
			ready++
		}
		if f := e.flight(); f != nil {
			places++
			switch {
			case f.order:
				flying++
			case f.ocsp:
				asking++
			default:
				beside++
			}
			if f.booked != nil {
				booked++
			}
		}
		if places > 1 {
			m.t.Errorf("%s stands in %d places", name, places)
		}
	}
	waiting := es.parked.queue.Len()
	for _, l := range es.lanes {
		waiting += l.queue.Len()
	}
	for _, l := range es.stale {
		waiting += l.queue.Len()
	}
	sum := 0
	for _, n := range es.booked {
		sum += n
	}
	held := 0
	for _, n := range es.heldAt {
		held += n
	}
	if held != len(es.putOff)+len(es.freed) || len(es.flights) != len(m.flights) {
		m.t.Errorf("%d put off and %d freed (counted %d), %d flights (%d)", len(es.putOff), len(es.freed), held, len(es.flights), len(m.flights))
	}
	if flying != es.flying || beside != es.beside || asking != es.asking || ready != waiting || booked != sum || flying+beside+asking != len(m.flights) {
		m.t.Errorf("%d orders (counted %d), %d others (%d), %d questions (%d), %d flights, %d ready (%d wait), %d booked (%d)",
			flying, es.flying, beside, es.beside, asking, es.asking, len(m.flights), ready, waiting, booked, sum)
	}
	if flying > es.orders {
		m.t.Errorf("%d orders at once", flying)
	}
}
