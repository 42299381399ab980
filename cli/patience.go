package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
)

// defaultSilence is how long the server may be silent in one request.
const defaultSilence = 30 * time.Second

const requestTimeoutFlag = "request-timeout"

// patience bounds one request. The zero value bounds nothing.
type patience struct {
	// total is how long the request may take in all, 0: without end.
	total time.Duration
	// silence is how long the server may be silent before its answer and between
	// the parts of it, 0: without end.
	silence time.Duration
}

func addPatience(cmd *cobra.Command) {
	cmd.PersistentFlags().Var(new(requestTimeout), requestTimeoutFlag,
		"how long one request to the server may take, such as 10s; 0: without end (default: until the server is silent for 30s)")
}

// patienceOf is what the flags of a command say: as kubectl's, the timeout is of
// the whole request. Without it a request may take long as long as it goes on,
// since nobody knows how large an answer is.
func patienceOf(cmd *cobra.Command) patience {
	f := cmd.Flags().Lookup(requestTimeoutFlag)
	if f == nil || !f.Changed {
		return patience{silence: defaultSilence}
	}
	return patience{total: time.Duration(*f.Value.(*requestTimeout))}
}

// requestTimeout is a flag's value as kubectl takes it: a duration with its unit,
// or a bare number of seconds.
type requestTimeout time.Duration

func (t *requestTimeout) Type() string { return "duration" }

func (t *requestTimeout) String() string {
	if *t == 0 {
		return ""
	}
	return time.Duration(*t).String()
}

func (t *requestTimeout) Set(s string) error {
	d, err := time.ParseDuration(s)
	if n, numErr := strconv.ParseInt(strings.TrimSpace(s), 10, 32); numErr == nil {
		d, err = time.Duration(n)*time.Second, nil
	}
	if err != nil || d < 0 {
		return errors.New("expected a duration such as 10s or 1m, or 0 for none")
	}
	*t = requestTimeout(d)
	return nil
}

// hourglass runs while a request does.
type hourglass struct {
	cancel context.CancelCauseFunc
	ctx    context.Context
	// timers that end the request; silence begins anew with each part.
	total, silence *time.Timer
	most           time.Duration
	stream         bool
	finished       atomic.Bool
}

// begin returns the context of a request to base, whose cause is a sentence once
// the server has taken too long.
func (p patience) begin(ctx context.Context, base string, r request) (context.Context, *hourglass) {
	ctx, cancel := context.WithCancelCause(ctx)
	h := &hourglass{cancel: cancel, ctx: ctx, stream: r.stream, most: p.silence}
	if r.unbounded {
		return ctx, h
	}
	if p.total > 0 {
		h.total = time.AfterFunc(p.total, func() {
			cancel(fmt.Errorf("the Caddy at %s has not answered within %v: see whether it runs and is what listens there, or give --%s more", base, p.total, requestTimeoutFlag))
		})
	}
	if p.silence > 0 {
		h.silence = time.AfterFunc(p.silence, func() {
			cancel(fmt.Errorf("the Caddy at %s has been silent for %v: see whether it runs and is what listens there; --%s 0 waits without end", base, p.silence, requestTimeoutFlag))
		})
	}
	return ctx, h
}

// end releases what the request holds.
func (h *hourglass) end() {
	if h.finished.Swap(true) {
		return
	}
	for _, t := range []*time.Timer{h.total, h.silence} {
		if t != nil {
			t.Stop()
		}
	}
	h.cancel(nil)
}

// answered takes note that the answer has begun. Reading the body returned goes
// on counting, but for a watch's.
func (h *hourglass) answered(body io.ReadCloser) io.ReadCloser {
	if h.stream {
		for _, t := range []*time.Timer{h.total, h.silence} {
			if t != nil {
				t.Stop()
			}
		}
		h.total, h.silence = nil, nil
	}
	return &timedBody{body: body, glass: h}
}

// timedBody is an answer that is read under an hourglass.
type timedBody struct {
	body  io.ReadCloser
	glass *hourglass
}

func (b *timedBody) Read(p []byte) (int, error) {
	if b.glass.silence != nil {
		b.glass.silence.Reset(b.glass.most)
	}
	n, err := b.body.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		if cause := context.Cause(b.glass.ctx); cause != nil {
			err = cause
		}
	}
	return n, err
}

func (b *timedBody) Close() error {
	defer b.glass.end()
	return b.body.Close()
}
