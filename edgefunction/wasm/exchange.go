package wasm

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/tetratelabs/wazero/sys"

	"github.com/apoxy-dev/caddy-apoxy/edgefunction"
)

// exchange is one request and its response, as one guest sees them. All of it is the
// goroutine's that serves the request, but for the clock.
type exchange struct {
	*clock
	printer
	limits edgefunction.Limits
	w      http.ResponseWriter
	r      *http.Request // what next gets
	copied bool          // r is our own

	phase    phase
	features uint64
	tape     *tape // nil before the body is read
	request  fields
	trailer  fields  // of the request
	response *fields // nil before it is changed
	status   int
	body     []byte // what the guest wrote as the response's
	wrote    bool
	sends    []byte // what the guest wrote as the request's
	sent     bool
	caught   *recorder // next's response, where it is kept for the guest
}

// phase is how far an exchange is.
type phase int

const (
	starting   phase = iota // there is no request yet
	requesting              // handle_request
	responding              // handle_response, after next
)

type exchangeKey struct{}

// exchangeOf returns the exchange for which a guest was called. There always is one.
func exchangeOf(ctx context.Context) *exchange { return ctx.Value(exchangeKey{}).(*exchange) }

// newExchange begins an exchange, whose clock runs. The caller ends it.
func (p *program) newExchange(ctx context.Context, limit time.Duration, w http.ResponseWriter, r *http.Request) (context.Context, *exchange) {
	x := &exchange{
		clock:   newClock(ctx, limit),
		printer: printer{log: p.settings.Log, limit: p.settings.Limits.Log},
		limits:  p.settings.Limits, w: w, r: r,
	}
	return context.WithValue(ctx, exchangeKey{}, x), x
}

func (x *exchange) close() {
	x.release()
	x.flush()
}

// overOf is asked by guests that loop, by way of wasmloops.
func overOf(ctx context.Context) error { return exchangeOf(ctx).over() }

// judge says what became of a call that failed: a fault of the function, or why there
// was no time for it.
func (x *exchange) judge(err error, m *memory) error {
	var ours *notTheirs
	if errors.As(err, &ours) { // before the clock: the server ends a request whose body it cannot read
		return ours.error
	}
	if over := x.over(); over != nil {
		return over
	}
	if fault, ok := edgefunction.AsFault(err); ok {
		return fault
	}
	var exit *sys.ExitError
	switch {
	case m != nil && m.refused:
		return edgefunction.Faultf(edgefunction.FaultMemory, "it wanted more than its %d bytes of memory, and then: %w", m.limit, crashed(err))
	case errors.As(err, &exit):
		return edgefunction.Faultf(edgefunction.FaultCrash, "it exited with status %d", exit.ExitCode())
	default:
		return &edgefunction.Fault{Kind: edgefunction.FaultCrash, Err: crashed(err)}
	}
}

// notTheirs is a panic in a host function for what the guest did not do wrong.
type notTheirs struct{ error }

// changeable returns the request as next gets it, which may be changed.
func (x *exchange) changeable() *http.Request {
	if !x.copied {
		original := x.r
		x.r, x.copied = x.r.Clone(x.r.Context()), true
		// The server writes trailers into the map that it made.
		if x.r.Trailer = original.Trailer; x.r.Trailer == nil {
			x.r.Trailer = http.Header{}
		}
		x.request = fields{header: x.r.Header, limit: x.limits.Headers}
		x.trailer = fields{header: x.r.Trailer, limit: x.limits.Headers}
	}
	return x.r
}

// header is the response's as it stands.
func (x *exchange) header() http.Header {
	if x.response != nil {
		return x.response.header
	}
	return x.w.Header()
}

// fields is the response's header, which may be changed; commit makes it count.
func (x *exchange) fields() *fields {
	if x.response == nil {
		x.response = &fields{header: x.w.Header().Clone(), limit: x.limits.Headers}
		if x.response.header == nil {
			x.response.header = http.Header{}
		}
	}
	return x.response
}

func (x *exchange) commit() {
	if x.response != nil {
		replace(x.w.Header(), x.response.header)
		x.response = nil
	}
}

// tooSlow answers a client that does not send what the function waits for.
func tooSlow(w http.ResponseWriter) error {
	w.Header().Set("Connection", "close")
	http.Error(w, "the request's body came too slowly", http.StatusRequestTimeout)
	return nil
}

// answer sends what the guest wrote.
func (x *exchange) answer() error {
	x.commit()
	if x.status == 0 {
		x.status = http.StatusOK
	}
	return send(x.w, x.r, x.status, x.body)
}

// send writes a whole response whose header stands.
func send(w http.ResponseWriter, r *http.Request, status int, body []byte) error {
	if !bodyAllowed(status) {
		w.WriteHeader(status)
		return nil
	}
	if r.Method != http.MethodHead || len(body) > 0 {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(status)
	if r.Method == http.MethodHead || len(body) == 0 {
		return nil
	}
	if _, err := w.Write(body); err != nil {
		return fmt.Errorf("writing the response: %w", err)
	}
	return nil
}
