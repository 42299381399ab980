package controller

import (
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// Brake keeps count of the records that are about to lose ownership, or just
// have, and stops them all when they are too many at once: then the fault is
// more likely ours, or that of a resolver, than theirs.
type brake struct {
	mu          sync.Mutex
	withdrawing map[string]time.Time // by record, since when every proof is gone
	fallen      []time.Time
	held        bool // an episode is under way
}

// Note records whether all that a verified record rests on is gone.
func (b *brake) note(name string, withdrawing bool, since time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if withdrawing {
		b.withdrawing[name] = since
		return
	}
	delete(b.withdrawing, name)
	if len(b.withdrawing) == 0 {
		b.held = false
	}
}

// Lets reports whether a record may fall now, and counts it if so. Together with
// it fall those that are withdrawing too, and those that fell within window.
func (b *brake) lets(name string, now time.Time, window time.Duration, verified int, logger *zap.Logger) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fallen = slices.DeleteFunc(b.fallen, func(t time.Time) bool { return now.Sub(t) > window })
	if _, ok := b.withdrawing[name]; !ok {
		b.withdrawing[name] = now
	}
	falling := len(b.withdrawing) + len(b.fallen)
	verified += len(b.fallen)
	if !ownership.Brake(verified, falling) {
		b.held = false
		delete(b.withdrawing, name)
		b.fallen = append(b.fallen, now)
		return true
	}
	if !b.held {
		b.held = true
		fleetBrakes.Inc()
		logger.Error("fleet brake: too many records would lose ownership together, so none does; find out what they have in common",
			zap.Int("falling", falling), zap.Int("verified", verified), zap.String("record", name))
	}
	return false
}

// Undo takes back a fall that could not be written.
func (b *brake) undo(name string, fell time.Time) {
	if fell.IsZero() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.Index(b.fallen, fell); i >= 0 {
		b.fallen = slices.Delete(b.fallen, i, i+1)
	}
	b.withdrawing[name] = fell
}

// Recall counts a fall of before the start.
func (b *brake) recall(at time.Time) {
	b.mu.Lock()
	b.fallen = append(b.fallen, at)
	b.mu.Unlock()
}
