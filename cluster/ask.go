package cluster

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// takenWithin is how soon a node says that it does what it was asked.
const takenWithin = 2 * time.Second

// ErrNoAnswer: the other node did not say in time that it does what it was asked.
var ErrNoAnswer = errors.New("the node does not answer")

// RemoteError is what another node answered a question with.
type RemoteError struct{ Node, Message string }

func (e *RemoteError) Error() string { return "node " + e.Node + ": " + e.Message }

// Ask asks a node to do something and returns its answer. The error is ErrNoAnswer if it
// does not say within two seconds that it does, a *RemoteError if it cannot, or the
// context's.
func (m *Member) Ask(ctx context.Context, to, do, about string) (json.RawMessage, error) {
	q := Question{ID: rand.Text(), Do: do, About: about}
	answers := make(chan Answer, 2) // one that it is taken, one that it is done
	m.post.mu.Lock()
	m.post.waiting[q.ID] = answers
	m.post.mu.Unlock()
	defer func() {
		m.post.mu.Lock()
		delete(m.post.waiting, q.ID)
		m.post.mu.Unlock()
	}()
	m.post.add(to, func(mail *Mail) {
		if len(mail.Ask) < maxMail {
			mail.Ask = append(mail.Ask, q)
		}
	})
	patience := time.NewTimer(takenWithin)
	defer patience.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("asking node %s: %w", to, ctx.Err())
		case <-patience.C:
			return nil, fmt.Errorf("asking node %s: %w", to, ErrNoAnswer)
		case a := <-answers:
			switch {
			case a.Taken:
				patience.Stop()
			case a.Error != "":
				return nil, &RemoteError{Node: to, Message: a.Error}
			default:
				return a.Value, nil
			}
		}
	}
}

// Reply answers a question of another node.
func (m *Member) Reply(to string, a Answer) {
	m.post.add(to, func(mail *Mail) {
		if len(mail.Answer) < 4*maxMail { // others bound what they ask
			mail.Answer = append(mail.Answer, a)
		}
	})
}

// answered hands answers to who waits for them.
func (m *Member) answered(all []Answer) {
	m.post.mu.Lock()
	defer m.post.mu.Unlock()
	for _, a := range all {
		select {
		case m.post.waiting[a.ID] <- a: // nobody waits: a nil channel, which is never ready
		default:
		}
	}
}
