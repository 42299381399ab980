package issuance

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/issuance/edge"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// metKey is the key of the meeting in the store. Only an order shows that a CA reaches an
// edge which this machine does not reach, so it is kept over restarts and for all nodes.
const metKey = LedgerPrefix + "met"

// meeting notes that a CA has reached the edge.
type meeting struct {
	// Edge is the edge's name. It does not count for another one.
	Edge string `json:"edge"`
	// Until is how long it counts.
	Until time.Time `json:"until"`
}

// Met implements edge.Belief.
func (l *ledger) Met(name string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := l.meeting
	return name == m.Edge && now.Before(m.Until) && m.Until.Sub(now) <= edge.Holds+time.Hour // else the clock was wrong when it was noted
}

// Meet implements edge.Belief. It notes the meeting in memory at once, and writes it to
// the store once an hour at most.
func (l *ledger) Meet(ctx context.Context, name string, until, now time.Time) error {
	l.mu.Lock()
	fresh := l.meeting.Edge == name && until.Sub(l.meeting.Until) < time.Hour && now.Before(l.meeting.Until)
	m := meeting{name, until}
	if !fresh {
		l.meeting = m
	}
	l.mu.Unlock()
	if fresh {
		return nil
	}
	value, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encoding that the edge is reached: %w", err)
	}
	if _, err := l.store.Write(context.WithoutCancel(ctx), store.Op{Key: metKey, Value: value, If: store.Any}); err != nil {
		return fmt.Errorf("keeping that the edge is reached: %w", err)
	}
	return nil
}

// applyMet takes over the meeting in the store; nil: there is none. If it cannot be read
// the one in memory stays. l.mu must be held.
func (l *ledger) applyMet(value []byte) {
	var m meeting
	if value == nil {
		l.meeting = m
	} else if json.Unmarshal(value, &m) == nil {
		l.meeting = m
	}
}
