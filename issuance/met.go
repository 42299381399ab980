package issuance

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/issuance/edge"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// metKey is where it is kept that a CA reached the edge although this machine does
// not: that is learnt by an order alone, and holds over restarts and for all nodes.
const metKey = LedgerPrefix + "met"

// meeting is that a CA reached the edge.
type meeting struct {
	// Edge is the edge's name; of another one this says nothing.
	Edge string `json:"edge"`
	// Until is how long it is believed.
	Until time.Time `json:"until"`
}

// Met reports whether a CA has reached this edge lately.
func (l *ledger) Met(name string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := l.meeting
	return name == m.Edge && now.Before(m.Until) && m.Until.Sub(now) <= edge.Holds+time.Hour // else the clock was wrong
}

// Meet notes that a CA has reached the edge, in memory at once. It is written at
// most once an hour.
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

// applyMet takes over what the store holds of it. What cannot be read is as if it
// were not there, but for what is known. l.mu must be held.
func (l *ledger) applyMet(value []byte) {
	var m meeting
	if value == nil {
		l.meeting = m
	} else if json.Unmarshal(value, &m) == nil {
		l.meeting = m
	}
}
