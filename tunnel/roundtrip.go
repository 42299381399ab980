package tunnel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
)

// OriginError is returned for a request that an agent took and its origin did not
// answer.
type OriginError struct {
	Agent  string // the agent's name
	Detail string // a sentence of the agent's, without a final full stop
	// Unseen: the origin has not seen the request, which may be sent again.
	Unseen bool
}

func (e *OriginError) Error() string { return fmt.Sprintf("agent %s: %s", e.Agent, e.Detail) }

// RoundTrip sends a request through the tunnel. What no origin has seen is sent
// again through another connection. A request that asks for an upgrade gets an
// answer 101 whose body is an io.ReadWriteCloser, as of http.Transport. Errors:
// ErrNoAgent, ErrBusy, an *OriginError, or that of the connection.
func (h *Hub) RoundTrip(req *http.Request) (*http.Response, error) {
	if len(*h.live.Load()) == 0 {
		closeBody(req)
		return nil, ErrNoAgent
	}
	if h.streams.Add(1) > h.maxStreams.Load() {
		h.streams.Add(-1)
		closeBody(req)
		return nil, ErrBusy
	}
	out := rewritten(req)
	body := &onceRead{ReadCloser: out.Body}
	if out.Body != nil {
		out.Body = body
	}
	var tried []*conn
	var last error
	for {
		c := h.choose(tried)
		if c == nil || len(tried) > 0 && body.touched() {
			break
		}
		res, err := c.roundTrip(req, out)
		if err == nil {
			body.settle()
			return res, nil
		}
		tried, last = append(tried, c), err
		if !unseen(err) || req.Context().Err() != nil {
			break
		}
	}
	h.streams.Add(-1)
	closeBody(req)
	if last == nil {
		last = ErrNoAgent
	}
	return nil, last
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close()
	}
}

// roundTrip sends out, made of req, over the connection. The caller has counted the
// request on the hub; it is taken off again once the answer's body is closed.
func (c *conn) roundTrip(req, out *http.Request) (*http.Response, error) {
	c.streams.Add(1)
	upgrade := out.Header.Get(headerUpgrade)
	var up *io.PipeWriter
	if upgrade != "" {
		out = out.WithContext(out.Context())
		out.Body, up = io.Pipe()
		out.ContentLength = -1
	}
	res, err := c.client.RoundTrip(out)
	if err != nil {
		c.streams.Add(-1)
		return nil, err
	}
	if kind := res.Header.Get(headerError); kind != "" {
		res.Body.Close()
		c.streams.Add(-1)
		return nil, &OriginError{Agent: c.agent, Detail: printable(res.Header.Get(headerDetail), 200), Unseen: kind == errorDial}
	}
	done := sync.OnceFunc(func() { c.streams.Add(-1); c.hub.streams.Add(-1) })
	switched := res.Header.Get(headerUpgrade)
	for _, k := range inner {
		delete(res.Header, k)
	}
	res.Request = req
	if up == nil || switched == "" {
		if up != nil {
			up.Close()
		}
		body := counted{ReadCloser: res.Body, done: done}
		if res.ContentLength >= largeBody {
			res.Body = newLarge(body)
		} else {
			res.Body = &body
		}
		return res, nil
	}
	res.StatusCode, res.Status = http.StatusSwitchingProtocols, "101 Switching Protocols"
	res.Proto, res.ProtoMajor, res.ProtoMinor = "HTTP/1.1", 1, 1 // HTTP/2 has no upgrades
	res.Header.Set("Connection", "Upgrade")
	res.Header.Set("Upgrade", switched)
	res.Body = &upgraded{counted: counted{ReadCloser: res.Body, done: done}, up: up}
	return res, nil
}

// unseen tells whether an error means that no origin has seen the request.
// net/http has no other names for these errors; it goes by them itself when it
// decides what to send again.
func unseen(err error) bool {
	var origin *OriginError
	if errors.As(err, &origin) {
		return origin.Unseen
	}
	var reset streamError
	if errors.As(err, &reset) {
		const refusedStream = 7 // RFC 9113 section 7
		return reset.Code == refusedStream
	}
	if errors.Is(err, context.Canceled) {
		return false
	}
	text := err.Error()
	return strings.Contains(text, "client conn not usable") ||
		strings.Contains(text, "graceful shutdown GOAWAY")
}

// streamError is what net/http's HTTP/2 fills by its fields' names.
type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (streamError) Error() string { return "stream error" }

// rewritten is the request as it goes into the tunnel. The caller's is not changed.
func rewritten(req *http.Request) *http.Request {
	out := req.WithContext(req.Context())
	url := *req.URL
	url.Scheme = "http"
	if url.Host == "" {
		url.Host = "tunnel"
	}
	out.URL = &url
	upgrade := ""
	if tokens := req.Header["Connection"]; len(tokens) > 0 && hasToken(tokens, "upgrade") {
		upgrade = printable(req.Header.Get("Upgrade"), 64)
	}
	expect := req.Body != nil && hasToken(req.Header["Expect"], "100-continue")
	if upgrade == "" && !expect && !meddled(req.Header) {
		return out
	}
	out.Header = req.Header.Clone()
	for _, k := range inner {
		delete(out.Header, k)
	}
	for _, k := range hopByHop {
		delete(out.Header, k)
	}
	if expect {
		out.Header.Set(headerExpect, "100-continue")
	}
	if upgrade != "" {
		out.Header.Set(headerUpgrade, upgrade)
	}
	return out
}

// hopByHop are the fields that HTTP/2 forbids (RFC 9113 section 8.2.2).
var hopByHop = [...]string{"Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade"}

// meddled tells whether a header has fields that mean something inside the tunnel,
// or that HTTP/2 forbids.
func meddled(h http.Header) bool {
	for _, k := range inner {
		if _, ok := h[k]; ok {
			return true
		}
	}
	for _, k := range hopByHop {
		if _, ok := h[k]; ok {
			return true
		}
	}
	return false
}

// hasToken tells whether a list of a header field has a token.
func hasToken(values []string, token string) bool {
	for _, v := range values {
		for t := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(t), token) {
				return true
			}
		}
	}
	return false
}
