package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// Bounds of what nodes tell each other.
const (
	// mailPause is the least time between two mails to one node: what is posted
	// meanwhile goes with the next.
	mailPause = 50 * time.Millisecond
	// mailTimeout bounds the writing of one mail.
	mailTimeout = 2 * time.Second
	// hintPause is the least time between two mails to one node that hold hints: anybody
	// can cause those, and each is a write that the store keeps for a while.
	hintPause = 250 * time.Millisecond
	// hintRate is how many hints of a kind are passed on in a second, to all nodes.
	hintRate = 200
	// maxMail is how many items of a kind one mail holds; those above it are dropped.
	maxMail = 256
	// maxMailBytes is how long a mail may be that is read.
	maxMailBytes = 1 << 20
)

// Mail is what one node tells another, at most once: it is lost if either goes, or the
// receiver falls behind the store's history.
type Mail struct {
	// Heard are hostnames of which something was heard from somebody who was seen to be
	// at their address; Rumoured are those of which anyone may have said it.
	Heard    []string `json:"heard,omitempty"`
	Rumoured []string `json:"rumoured,omitempty"`
	// Ask are questions, Answer answers to earlier ones.
	Ask    []Question `json:"ask,omitempty"`
	Answer []Answer   `json:"answer,omitempty"`
}

// Question asks a node to do something.
type Question struct {
	ID string `json:"id"`
	// Do is what, and About what with.
	Do    string `json:"do"`
	About string `json:"about,omitempty"`
}

// Answer answers a Question.
type Answer struct {
	ID string `json:"id"`
	// Taken: it is being done, and another answer follows.
	Taken bool `json:"taken,omitempty"`
	// Error is why it was not done; empty: it was.
	Error string `json:"error,omitempty"`
	// Value is what was asked for.
	Value json.RawMessage `json:"value,omitempty"`
}

func (m *Mail) size() int { return m.hints() + len(m.Ask) + len(m.Answer) }

func (m *Mail) hints() int { return len(m.Heard) + len(m.Rumoured) }

// post is what is to be told, by node.
type post struct {
	mu     sync.Mutex
	out    map[string]*Mail
	hinted map[string]bool // hostnames that are in a mail already; proven: true
	news   chan struct{}
	// What anybody may say takes nothing from what was proven.
	heard, rumoured *rate.Limiter
	waiting         map[string]chan Answer // who asked, by Question.ID
}

func newPost() *post {
	return &post{out: map[string]*Mail{}, hinted: map[string]bool{}, news: make(chan struct{}, 1), waiting: map[string]chan Answer{},
		heard: rate.NewLimiter(hintRate, hintRate), rumoured: rate.NewLimiter(hintRate, hintRate)}
}

// add has add put something into the mail to a node.
func (p *post) add(to string, add func(*Mail)) {
	p.mu.Lock()
	mail := p.out[to]
	if mail == nil {
		mail = new(Mail)
		p.out[to] = mail
	}
	add(mail)
	p.mu.Unlock()
	p.rouse()
}

func (p *post) rouse() {
	select {
	case p.news <- struct{}{}:
	default:
	}
}

// Hint passes on to the node whose work a hostname is that something was heard of it;
// proven: from somebody who was seen to be at their address. It reports false, and does
// nothing, if that is this node. It returns at once.
func (m *Member) Hint(hostname string, proven bool) bool {
	if m.Alone() {
		return false
	}
	to := m.Owner(hostname)
	if to == "" || to == m.cfg.Name() {
		return false
	}
	m.post.add(to, func(mail *Mail) {
		before, ok := m.post.hinted[hostname]
		into, limit := &mail.Rumoured, m.post.rumoured
		if proven {
			into, limit = &mail.Heard, m.post.heard
		}
		if ok && (before || !proven) || len(*into) >= maxMail || !limit.Allow() {
			return
		}
		*into = append(*into, hostname)
		m.post.hinted[hostname] = proven
	})
	return true
}

// take returns what is to be told now: without hints, those stay for later. It reports
// whether any do.
func (p *post) take(hints bool) (out map[string]*Mail, left bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	out, p.out = p.out, map[string]*Mail{}
	if hints {
		p.hinted = map[string]bool{}
		return out, false
	}
	for to, mail := range out {
		if mail.hints() > 0 {
			p.out[to], left = &Mail{Heard: mail.Heard, Rumoured: mail.Rumoured}, true
			mail.Heard, mail.Rumoured = nil, nil
		}
	}
	return out, left
}

// deliver writes what is to be told, until the context ends.
func (m *Member) deliver(ctx context.Context) {
	var hinted time.Time // when hints were told last
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.post.news:
		}
		due := time.Since(hinted) >= hintPause
		out, left := m.post.take(due)
		if due {
			hinted = time.Now()
		}
		if left {
			m.post.rouse()
		}
		m.mu.Lock()
		h := m.held
		m.mu.Unlock()
		if h != nil {
			m.write(ctx, h, out)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(mailPause):
		}
	}
}

// write writes each mail by itself, so that a large one does not keep the others.
func (m *Member) write(ctx context.Context, h *hold, out map[string]*Mail) {
	ctx, cancel := context.WithTimeout(ctx, mailTimeout)
	defer cancel()
	for to, mail := range out {
		if mail.size() == 0 {
			continue
		}
		value, err := json.Marshal(mail)
		if err == nil {
			_, err = h.Write(ctx, store.Op{Key: MailPrefix + h.name + "/" + to, Value: value, If: store.Any})
		}
		if err != nil && !errors.Is(err, store.ErrUnavailable) && !errors.Is(err, store.ErrSessionEnded) && ctx.Err() == nil {
			m.cfg.Logger.Warn("telling another node failed", zap.String("node", to), zap.Error(err))
		}
	}
}

// receive reads what others tell, until the context ends or the store is closed.
func (m *Member) receive(ctx context.Context) {
	_ = store.Follow(ctx, m.cfg.Store, store.Follower{
		Prefix: MailPrefix, Strict: true,
		Page: func([]store.KeyValue) {}, // was for a former process, or has been read
		Change: func(e *store.Event) {
			from, to, _ := strings.Cut(strings.TrimPrefix(e.Key, MailPrefix), "/")
			if to != m.cfg.Name() || e.Value == nil || len(e.Value) > maxMailBytes {
				return
			}
			var mail Mail
			if err := json.Unmarshal(e.Value, &mail); err != nil || mail.size() > 8*maxMail {
				m.cfg.Logger.Warn("what another node tells cannot be read", zap.String("node", from), zap.Error(err))
				return
			}
			m.answered(mail.Answer)
			mail.Answer = nil
			if mail.size() > 0 {
				m.cfg.OnMail(from, mail)
			}
		},
	})
}
