package wasm

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strconv"

	"github.com/apoxy-dev/caddy-apoxy/edgefunction"
)

// serveHandler serves a request by the http-wasm HTTP handler ABI.
func (p *program) serveHandler(ctx context.Context, x *exchange, next edgefunction.Next) error {
	if err := p.run(ctx, x, next); err != nil {
		return err
	}
	switch { // the instance serves others, however slowly this client reads
	case x.phase == requesting:
		return x.answer()
	case x.caught != nil:
		return x.sendCaught()
	default:
		return nil // next has answered
	}
}

// run has an instance, and next, do what they do.
func (p *program) run(ctx context.Context, x *exchange, next edgefunction.Next) error {
	in, err := p.take(ctx, x)
	if err != nil {
		return err
	}
	well := false
	defer func() { p.give(in, well) }() // where next panics, too
	x.phase = requesting
	results, err := in.request.Call(ctx)
	if err != nil {
		return x.judge(err, in.memory)
	}
	if uint32(results[0]) == 0 {
		well = true
		return nil
	}
	failed := x.next(next)
	if _, err = in.response.Call(ctx, results[0]>>32, isError(failed)); err != nil {
		return x.judge(err, in.memory)
	}
	well = true
	return failed
}

func isError(err error) uint64 {
	if err != nil {
		return 1
	}
	return 0
}

// next has the next handler serve the request as the guest changed it.
func (x *exchange) next(next edgefunction.Next) error {
	x.phase = responding
	x.commit()
	x.body, x.wrote, x.status = nil, false, 0 // the response is next's
	x.prepareBody()
	w := x.w
	if x.features&bufferResponse != 0 {
		header := x.w.Header().Clone()
		if header == nil {
			header = http.Header{}
		}
		x.caught = &recorder{w: x.w, header: header, limit: x.limits.ResponseBody}
		w = x.caught
	}
	x.stop()
	defer x.start()
	err := next.ServeHTTP(w, x.r)
	if x.caught != nil && x.caught.fault != nil {
		return x.caught.fault
	}
	return err
}

// prepareBody gives next the body that the guest wrote, or what is left of the client's.
func (x *exchange) prepareBody() {
	switch {
	case x.sent:
		r := x.changeable()
		r.Body = io.NopCloser(bytes.NewReader(x.sends))
		x.length(int64(len(x.sends)))
	case x.features&bufferRequest != 0:
		t := x.original()
		x.changeable().Body = &replayed{tape: t}
	case x.tape != nil:
		if r := x.changeable(); r.ContentLength > 0 {
			x.length(max(r.ContentLength-x.tape.read, 0))
		}
	}
}

// length says how long the body is that next gets.
func (x *exchange) length(n int64) {
	r := x.changeable()
	r.ContentLength, r.TransferEncoding = n, nil
	r.Header.Set("Content-Length", strconv.FormatInt(n, 10))
}

// sendCaught sends next's response as the guest left it.
func (x *exchange) sendCaught() error {
	replace(x.w.Header(), x.caught.header)
	status := x.status
	if status == 0 {
		status = max(x.caught.status, http.StatusOK)
	}
	if x.wrote {
		return send(x.w, x.r, status, x.body)
	}
	x.w.WriteHeader(status)
	if len(x.caught.body) == 0 || !bodyAllowed(status) || x.r.Method == http.MethodHead {
		return nil
	}
	_, err := x.w.Write(x.caught.body)
	return err
}
