package dashboard

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Of a stream that says when a page has changed: the least time between two messages of
// one record and of all, how often a sign of life comes, and a message to a page that moves
// with the time, how long the client may take to read, and how long it lasts before the
// client opens another.
const (
	liveRecord = time.Second
	liveAll    = 2 * time.Second
	liveSign   = 20 * time.Second
	liveTick   = 10 * time.Second
	liveWrite  = 10 * time.Second
	liveLife   = 30 * time.Minute
)

// live answers GET live?since=MOMENT[&record=NAME][&tick] with server-sent events.
func (d *Dashboard) live(w http.ResponseWriter, r *http.Request, _ string) {
	name := r.URL.Query().Get("record")
	if len(name) > maxFilter {
		d.fail(w, r, problem{http.StatusBadRequest, "There is no record of so long a name."})
		return
	}
	since, err := strconv.ParseInt(r.URL.Query().Get("since"), 10, 64)
	if err != nil || since < 0 {
		if since, err = d.Changes(r.Context(), -1, name); err != nil {
			return // the client is gone
		}
	}
	select {
	case d.streams <- struct{}{}:
		defer func() { <-d.streams }()
	default:
		d.fail(w, r, problem{http.StatusServiceUnavailable, fmt.Sprintf("%d pages are live, which is the limit. This one shows the same when it is loaded again.", cap(d.streams))})
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), liveLife)
	defer cancel()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	told := &stream{w: w, out: http.NewResponseController(w), quiet: ":\n\n", sign: liveSign}
	if r.URL.Query().Has("tick") {
		told.quiet, told.sign = changedEvent, liveTick
	}
	defer func() { _ = told.out.SetWriteDeadline(time.Time{}) }() // the connection may be used again
	pause := liveAll
	if name != "" {
		pause = liveRecord
	}
	if told.send("retry: 3000\n\n") == nil {
		told.run(ctx, d.Changes, name, since, pause)
	}
}

// changedEvent tells a page to look again.
const changedEvent = "data: changed\n\n"

// stream is one page that is told.
type stream struct {
	w   http.ResponseWriter
	out *http.ResponseController
	// quiet is what is sent when nothing has changed for a time.
	quiet string
	sign  time.Duration
}

func (s *stream) send(text string) error {
	_ = s.out.SetWriteDeadline(time.Now().Add(liveWrite)) // where a server has no deadlines, its own bound holds
	if _, err := s.w.Write([]byte(text)); err != nil {
		return err
	}
	return s.out.Flush()
}

// run tells of changes until the context ends or the client is gone.
func (s *stream) run(ctx context.Context, changes func(context.Context, int64, string) (int64, error), name string, since int64, pause time.Duration) {
	var err error
	for err == nil {
		wait, cancel := context.WithTimeout(ctx, s.sign)
		var now int64
		now, err = changes(wait, since, name)
		quiet := err != nil && wait.Err() != nil && ctx.Err() == nil
		cancel()
		if quiet {
			err = s.send(s.quiet)
			continue
		}
		if err != nil {
			return
		}
		since = now
		if err = s.send(changedEvent); err != nil {
			return
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// liveURL is what tells of changes after now, relative to the mount: of a record, or of
// all. It is asked for before what the page shows is read, so that nothing is missed.
func (d *Dashboard) liveURL(ctx context.Context, name string) string {
	q := url.Values{}
	if name != "" {
		q.Set("record", name)
	}
	if now, err := d.Changes(ctx, -1, name); err == nil {
		q.Set("since", strconv.FormatInt(now, 10))
	}
	return "live?" + q.Encode()
}
