package setup

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Pace bounds the streams that tell open pages of changes. Zero values stand for the
// defaults.
type Pace struct {
	// Streams is how many may be open in all. Default: 1000.
	Streams int
	// OfOne is how many may be open for one record. Default: 8.
	OfOne int
	// Most is how long a stream lasts; the browser then opens another. Default: 15 m.
	Most time.Duration
	// Look is the time between two looks that a stream asks for. Default: 5 s.
	Look time.Duration
	// Alive is the time between two signs of life. Default: 20 s.
	Alive time.Duration
}

func (p Pace) withDefaults() Pace {
	set := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	set(&p.Most, 15*time.Minute)
	set(&p.Look, 5*time.Second)
	set(&p.Alive, 20*time.Second)
	if p.Streams <= 0 {
		p.Streams = 1000
	}
	if p.OfOne <= 0 {
		p.OfOne = 8
	}
	return p
}

// writeTimeout is how long a browser may take to read what it is told.
const writeTimeout = 10 * time.Second

// enter lets one more stream in for a record.
func (s *Site) enter(uid string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams >= s.cfg.Pace.Streams || s.open[uid] >= s.cfg.Pace.OfOne {
		return false
	}
	s.streams++
	s.open[uid]++
	return true
}

func (s *Site) leave(uid string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.streams--
	if s.open[uid]--; s.open[uid] == 0 {
		delete(s.open, uid)
	}
}

// live tells a page by server-sent events that its record has changed, and has DNS
// looked at while it is open: the customer sits before it.
func (s *Site) live(w http.ResponseWriter, r *http.Request, token string) {
	sub, l, why := s.find(r.Context(), token)
	if why != "" {
		http.Error(w, "this link opens nothing", refusals[why])
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	if r.Method == http.MethodHead {
		return
	}
	if !s.enter(l.UID) {
		w.Header().Set("Retry-After", "30")
		http.Error(w, "too many pages are open", http.StatusServiceUnavailable)
		return
	}
	defer s.leave(l.UID)
	ctx, cancel := context.WithTimeout(r.Context(), min(s.cfg.Pace.Most, l.Expires.Sub(s.cfg.Now())))
	defer cancel()
	go func() {
		select {
		case <-s.closing:
			cancel()
		case <-ctx.Done():
		}
	}()
	w.Header().Set("X-Accel-Buffering", "no")
	t := teller{w: w, c: http.NewResponseController(w)}
	defer func() { _ = t.c.SetWriteDeadline(time.Time{}) }() // as tell; the connection may serve others
	if !t.tell("retry: 3000\n\n") {
		return
	}
	s.follow(ctx, r, &t, sub.record.Spec.Name, seenRevision(r))
}

// follow tells of changes until the context ends or the browser is gone.
func (s *Site) follow(ctx context.Context, r *http.Request, t *teller, hostname string, revision int64) {
	look, alive := time.NewTicker(s.cfg.Pace.Look), time.NewTicker(s.cfg.Pace.Alive)
	defer look.Stop()
	defer alive.Stop()
	changed := s.await(ctx, hostname, revision)
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
			s.cfg.Records.Look(r, hostname)
		case <-alive.C:
			if !t.tell(": alive\n\n") {
				return
			}
		case now, ok := <-changed:
			if !ok || !t.tell(fmt.Sprintf("id: %d\ndata: changed\n\n", now)) {
				return
			}
			changed = s.await(ctx, hostname, now)
		}
	}
}

// await yields the revision that a record has come to, once it is another; it is closed
// if that cannot be told.
func (s *Site) await(ctx context.Context, hostname string, revision int64) <-chan int64 {
	out := make(chan int64, 1)
	go func() {
		defer close(out)
		if now, err := s.cfg.Records.Changed(ctx, hostname, revision); err == nil {
			out <- now
		}
	}()
	return out
}

// seenRevision is the one that the page shows, by its URL or by what it was told last.
func seenRevision(r *http.Request) int64 {
	text := r.Header.Get("Last-Event-ID")
	if text == "" {
		text = r.URL.Query().Get("at")
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// teller writes to a browser that may be slow.
type teller struct {
	w http.ResponseWriter
	c *http.ResponseController
}

// tell reports whether the browser is still there.
func (t *teller) tell(text string) bool {
	_ = t.c.SetWriteDeadline(time.Now().Add(writeTimeout)) // a writer without deadlines, as in tests
	if _, err := t.w.Write([]byte(text)); err != nil {
		return false
	}
	return t.c.Flush() == nil
}
