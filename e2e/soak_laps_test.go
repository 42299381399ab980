package e2e

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// soak is the product under everything at once.
type soak struct {
	n *testnet.Network
	p *product

	homes     *domain  // of the residents
	residents []string // proven, certified and cut over
	churn     churn
	outages   outages
	movers    int // customers that moved in, so far

	errs chan error // the first thing that went wrong
}

// fail takes note of what went wrong.
func (s *soak) fail(err error) {
	select {
	case s.errs <- err:
	default:
	}
}

// settle lets the residents move in.
func (s *soak) settle(t *testing.T) {
	t.Helper()
	s.homes = customer(t, s.n, "soakhomes")
	var lines []string
	for i := range soakResidents {
		host := fmt.Sprintf("h%d.%s", i, s.homes.name)
		r := s.p.create(t, host, true)
		s.residents = append(s.residents, host)
		lines = append(lines, r.line(t, "Traffic"), r.line(t, "ACMEChallenge"))
	}
	s.homes.set(t, lines...)
	for _, host := range s.residents {
		s.p.await(t, host, time.Minute, "Ready", is("phase=Active", "Ready=True"))
		eventually(t, 10*time.Second, "the resolver to send visitors to us", func() error {
			return resolvesTo(t.Context(), host, testnet.ProductAddr)
		})
	}
	s.churn = newChurn()
}

// lap runs everything for so long, with so many kills, and returns when all that was
// begun has come to its end.
func (s *soak) lap(t *testing.T, name string, length time.Duration, kills int) {
	t.Helper()
	ctx, end := context.WithTimeout(t.Context(), length)
	defer end()
	began := time.Now()
	visits := hit(t, 2, s.visit)
	shakes := hit(t, 1, s.shake)
	var work sync.WaitGroup
	forever := func(what string, do func(ctx context.Context, round int) error) {
		work.Go(func() {
			for round := 0; ctx.Err() == nil; round++ {
				// What was begun is brought to its end, so that what must be there is known.
				if err := do(context.WithoutCancel(ctx), round); err != nil {
					s.fail(fmt.Errorf("%s: %w", what, err))
					return
				}
			}
		})
	}
	for i := range churners {
		forever("creates and deletes", func(ctx context.Context, round int) error { return s.churn.step(ctx, i, round) })
	}
	moving, leaving := customer(t, s.n, "soakmoving"), customer(t, s.n, "soakleaving")
	forever("moving in", func(ctx context.Context, _ int) error { return s.moveIn(ctx, moving) })
	forever("withdrawing", func(ctx context.Context, _ int) error { return s.withdraw(ctx, leaving) })
	forever("asking the zone", s.ask)

	disturbances := kills + 4
	for i := range disturbances {
		select {
		case err := <-s.errs:
			s.errs <- err
		case <-time.After(time.Until(began.Add(length * time.Duration(i+1) / time.Duration(disturbances+1)))):
		}
		if len(s.errs) > 0 {
			break
		}
		if i%2 == 0 && i/2 < kills {
			s.kill(t)
		} else if err := s.p.reload(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	work.Wait()
	visits.stop()
	shakes.stop()
	s.judge(t, visits, "visits")
	s.judge(t, shakes, "handshakes")
	select {
	case err := <-s.errs:
		t.Fatalf("lap %q: %v", name, err)
	default:
	}
	s.churn.compare(t)
	t.Logf("lap %q took %v: %d visits (%d cut by a reload and made again), %d handshakes, %d records written, %d customers moved in so far, %d orders",
		name, time.Since(began).Round(time.Second), visits.total(), visits.count(again), shakes.total(), s.churn.writes.Load(), s.movers, s.p.ca.AllOrders())
}

// judge fails the test over requests that failed.
func (s *soak) judge(t *testing.T, h *hammer, what string) {
	t.Helper()
	if failed, err := h.failures(); failed > 0 {
		t.Errorf("%d of %d %s failed: %v", failed, h.total(), what, err)
	}
	if cut := h.count(again); cut*100 > 5*h.total() {
		t.Errorf("%d of %d %s were cut", cut, h.total(), what)
	}
}

// kill ends the process without warning and starts it again.
func (s *soak) kill(t *testing.T) {
	t.Helper()
	s.outages.begin()
	s.p.kill()
	s.p.run(t)
	s.outages.end()
}
