package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// change is one event of a watch.
type change struct {
	Type   watch.EventType `json:"type"`
	Object json.RawMessage `json:"object"`
}

// follower is what a watch feeds.
type follower struct {
	query  listQuery
	accept string
	// begin reads the present state and returns the revision to watch from. It
	// runs at the start, and again when the server has forgotten the revision.
	begin func(ctx context.Context) (resourceVersion string, done bool, err error)
	// each takes every change, bookmarks aside.
	each func(c change) (done bool, err error)
	// patience is how long the server may be out of reach, once it was reached,
	// before the watch gives up.
	patience time.Duration
}

const (
	firstPause = 100 * time.Millisecond
	mostPause  = 2 * time.Second
)

// follow watches until f is done or fails or ctx ends. A watch that the server
// ends, or loses, is resumed where it stood.
func (c *client) follow(ctx context.Context, f follower) error {
	rv, done, err := f.begin(ctx)
	if err != nil || done {
		return err
	}
	pause, lastContact, told := firstPause, time.Now(), false
	for {
		var heard bool
		was, began := rv, time.Now()
		rv, heard, done, err = c.watchFrom(ctx, f, rv)
		if done || ctx.Err() != nil {
			return errors.Join(err, context.Cause(ctx))
		}
		// A server that ends each watch at once is not asked without a pause.
		moved := rv != was || time.Since(began) > mostPause
		if moved {
			pause = firstPause
		}
		if heard {
			lastContact, told = time.Now(), false
		}
		switch {
		case errors.Is(err, errExpired):
			if rv, done, err = f.begin(ctx); err == nil && !done {
				lastContact = time.Now()
				continue
			} else if done {
				return err
			}
		case err == nil && moved:
			continue
		}
		if err != nil && (!passing(err) || time.Since(lastContact) > f.patience) {
			return err
		}
		if err != nil && !told {
			told = true
			fmt.Fprintf(c.warn, "warning: lost the connection to %s, trying again\n", c.base)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
		pause = min(2*pause, mostPause)
	}
}

// passing tells faults that mend themselves from refusals.
func passing(err error) bool {
	var status *apierrors.StatusError
	if errors.As(err, &status) {
		return status.ErrStatus.Code >= 500 || status.ErrStatus.Code == http.StatusTooManyRequests
	}
	return !errors.Is(err, errEvent)
}

// watchFrom runs one watch to its end and returns the revision it got to.
// heard: the server answered.
func (c *client) watchFrom(ctx context.Context, f follower, rv string) (at string, heard, done bool, err error) {
	q := f.query
	q.resourceVersion = rv
	values := q.values()
	values.Set("watch", "true")
	values.Set("allowWatchBookmarks", "true")
	resp, err := c.send(ctx, request{method: http.MethodGet, query: values, accept: f.accept, stream: true})
	if err != nil {
		if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
			err = errExpired
		}
		return rv, false, false, err
	}
	defer resp.Body.Close()
	body := &bounded{r: resp.Body}
	dec := json.NewDecoder(body)
	for begun := false; ; begun = true {
		var ch change
		body.left = cmp.Or(c.mostEvent, maxEvent)
		if err := dec.Decode(&ch); err != nil {
			return rv, begun || errors.Is(err, io.EOF), false, c.cutOff(err, begun)
		}
		switch ch.Type {
		case watch.Error:
			return rv, true, false, watchError(ch.Object)
		case watch.Bookmark:
		default:
			if done, err := f.each(ch); done || err != nil {
				return rv, true, true, err
			}
		}
		if v := revisionOf(ch.Object); v != "" {
			rv = v
		}
	}
}

// errEvent: an event has more bytes than are read of one.
var errEvent = errors.New("an event of the watch is too large: see what stands before the endpoint")

// bounded reads at most left bytes more.
type bounded struct {
	r    io.Reader
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errEvent
	}
	n, err := b.r.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// cutOff makes nothing of the ways in which a stream ends once it has begun.
func (c *client) cutOff(err error, begun bool) error {
	var syntax *json.SyntaxError
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &syntax) && begun:
		return nil
	case errors.As(err, &syntax):
		return fmt.Errorf("reading the watch of %s: it is not the API's: %w", c.base, err)
	}
	return fmt.Errorf("reading a watch: %w", err)
}

func watchError(raw json.RawMessage) error {
	var s metav1.Status
	if err := json.Unmarshal(raw, &s); err != nil {
		return fmt.Errorf("reading a watch's error: %w", err)
	}
	err := &apierrors.StatusError{ErrStatus: s}
	if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
		return errExpired
	}
	return err
}

// revisionOf returns the revision of an event's object, a record or the table
// of one.
func revisionOf(raw json.RawMessage) string {
	type object struct {
		Metadata struct {
			ResourceVersion string `json:"resourceVersion"`
		} `json:"metadata"`
	}
	var o struct {
		object
		Rows []struct {
			Object object `json:"object"`
		} `json:"rows"`
	}
	if json.Unmarshal(raw, &o) != nil {
		return ""
	}
	if o.Metadata.ResourceVersion == "" && len(o.Rows) > 0 {
		return o.Rows[len(o.Rows)-1].Object.Metadata.ResourceVersion
	}
	return o.Metadata.ResourceVersion
}
