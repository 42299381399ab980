package wasm

import (
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/apoxy-dev/caddy-apoxy/edgefunction"
)

// readBody fills the guest's buffer from the request's or the response's body.
func (c *call) readBody() {
	kind := c.param(0)
	if c.param(2) == 0 {
		crash("read_body into a buffer of no bytes")
	}
	buffer := c.bytes(1, "buffer")
	var n int
	var err error
	switch kind {
	case ofRequest:
		n, err = c.readRequest(buffer)
	case ofResponse:
		n, err = c.readResponse(buffer)
	default:
		crash("%d is no kind of body", kind)
	}
	switch {
	case err == nil:
		c.stack[0] = packed(0, n)
	case errors.Is(err, io.EOF):
		c.stack[0] = packed(1, n)
	default:
		if fault, ok := edgefunction.AsFault(err); ok {
			panic(fault)
		}
		panic(&notTheirs{fmt.Errorf("reading the request's body: %w", err)})
	}
}

// readRequest fills p, for which it waits without the clock.
func (c *call) readRequest(p []byte) (n int, err error) {
	c.served()
	closed := c.phase == responding
	if closed && c.features&bufferRequest == 0 {
		crash("read_body of the request after the next handler, without the feature buffer_request")
	}
	if c.sent { // it reads what it wrote
		return 0, io.EOF
	}
	t := c.original()
	c.stop()
	defer c.start()
	for n < len(p) && err == nil {
		var more int
		more, err = t.forGuest(p[n:], closed)
		n += more
	}
	return n, err
}

// original is the request's body as the client sends it.
func (x *exchange) original() *tape {
	if x.tape == nil {
		raw := x.r.Body
		if raw == nil {
			raw = http.NoBody
		}
		patient := &clientBody{body: raw, control: http.NewResponseController(x.w), patience: x.limits.Timeout}
		x.tape = &tape{patient: patient, raw: raw, limit: x.limits.RequestBody, record: x.features&bufferRequest != 0}
	}
	return x.tape
}

func (c *call) readResponse(p []byte) (int, error) {
	c.mayRespond("read_body")
	if c.caught == nil {
		return 0, io.EOF // nobody has answered yet
	}
	n := copy(p, c.caught.body[c.caught.read:])
	if c.caught.read += n; c.caught.read == len(c.caught.body) {
		return n, io.EOF
	}
	return n, nil
}

// writeBody appends to the request's or the response's body, of which the first call
// overwrites what was there.
func (c *call) writeBody() {
	kind, part := c.param(0), c.bytes(1, "body")
	switch kind {
	case ofRequest:
		c.beforeNext("write_body")
		c.sends, c.sent = appendWithin(c.sends, part, c.limits.RequestBody, "request"), true
	case ofResponse:
		c.mayRespond("write_body")
		c.body, c.wrote = appendWithin(c.body, part, c.limits.ResponseBody, "response"), true
	default:
		crash("%d is no kind of body", kind)
	}
}

func appendWithin(body, part []byte, limit int64, whose string) []byte {
	if int64(len(body)+len(part)) > limit {
		check(edgefunction.Faultf(edgefunction.FaultAnswer, "its %s body passes %d bytes", whose, limit))
	}
	return append(body, part...)
}
