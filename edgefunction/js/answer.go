package js

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/apoxy-dev/caddy-apoxy/edgefunction"
)

// answer is what the function made of the request.
type answer struct {
	kind  answerKind
	waits bool // for what waitUntil was given

	status int // of answered
	header http.Header
	body   []byte

	changed *changedRequest // of handedOn; nil: as it came
}

type answerKind int

const (
	pending answerKind = iota
	answered
	handedOn
)

// changedRequest is a request that the function hands on in place of its own.
type changedRequest struct {
	method string
	url    *url.URL
	host   string
	header http.Header
	body   []byte // where own
	own    bool
}

// dropped are fields that speak of the connection, which is the server's affair, and
// of the body's length, which is counted.
var dropped = map[string]bool{
	"Connection": true, "Keep-Alive": true, "Proxy-Connection": true, "Transfer-Encoding": true,
	"Te": true, "Trailer": true, "Upgrade": true, "Content-Length": true,
}

// fields reads field lines, two for each: name and value.
func fields(lines []string, limit int64) (http.Header, error) {
	header := http.Header{}
	var size int64
	for n := 0; n+1 < len(lines); n += 2 {
		name, value := lines[n], octets(lines[n+1])
		if size += int64(len(name) + len(value)); size > limit {
			return nil, fmt.Errorf("the header fields have more than %d bytes", limit)
		}
		if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			return nil, fmt.Errorf("%.100q: %.100q is no header field", name, value)
		}
		if name = http.CanonicalHeaderKey(name); !dropped[name] {
			header[name] = append(header[name], value)
		}
	}
	return header, nil
}

// read takes the head of an answer: status and WAITING, then field lines.
func (a *answer) read(head string, limit int64) error {
	lines := strings.Split(strings.TrimSuffix(head, "\n"), "\n")
	status, waiting, _ := strings.Cut(lines[0], " ")
	n, err := strconv.Atoi(status)
	if err != nil || n < 200 || n > 599 {
		return fmt.Errorf("status %.100q: expected 200 to 599", status)
	}
	header, err := fields(lines[1:], limit)
	if err != nil {
		return err
	}
	a.kind, a.status, a.header, a.waits = answered, n, header, waiting != "0"
	return nil
}

// write sends the answer.
func (a *answer) write(w http.ResponseWriter, r *http.Request) error {
	header := w.Header()
	for name, values := range a.header {
		header[name] = values
	}
	if bodyAllowed(a.status) {
		header.Set("Content-Length", strconv.Itoa(len(a.body)))
		if _, ok := header["Content-Type"]; !ok {
			header["Content-Type"] = nil // not to be guessed
		}
	}
	w.WriteHeader(a.status)
	if r.Method == http.MethodHead || len(a.body) == 0 || !bodyAllowed(a.status) {
		return nil
	}
	_, err := w.Write(a.body)
	return err
}

func bodyAllowed(status int) bool {
	return status != http.StatusNoContent && status != http.StatusNotModified
}

// readPass takes the head with which the request is handed on: WAITING alone, or with
// "same" or "own" for the body, method, URL and field lines.
func (a *answer) readPass(head string, limit int64) error {
	lines := strings.Split(strings.TrimSuffix(head, "\n"), "\n")
	a.kind, a.waits = handedOn, lines[0] != "0"
	if len(lines) == 1 {
		return nil
	}
	if len(lines) < 4 {
		return errors.New("the request that is handed on has no head")
	}
	u, err := url.ParseRequestURI(lines[3])
	if err != nil || u.Host == "" {
		return fmt.Errorf("the request that is handed on has the URL %.100q", lines[3])
	}
	c := &changedRequest{method: lines[2], url: u, own: lines[1] == "own"}
	if !httpguts.ValidHeaderFieldName(c.method) {
		return fmt.Errorf("the request that is handed on has the method %.100q", c.method)
	}
	if c.header, err = fields(lines[4:], limit); err != nil {
		return err
	}
	c.host = u.Host
	delete(c.header, "Host")
	a.changed = c
	return nil
}

// handOn returns the request that the next handler gets.
func (x *exchange) handOn() *http.Request {
	r := x.r
	if c := x.answer.changed; c != nil {
		r = r.Clone(r.Context())
		for name, values := range x.r.Header { // what speaks of the connection stays
			if dropped[name] {
				c.header[name] = values
			}
		}
		r.Method, r.Header, r.Host = c.method, c.header, c.host
		r.URL.Path, r.URL.RawPath, r.URL.RawQuery = c.url.Path, c.url.RawPath, c.url.RawQuery
		r.RequestURI = r.URL.RequestURI()
		if c.own {
			return withBody(r, c.body)
		}
	}
	if x.body.read {
		r = withBody(r.Clone(r.Context()), x.body.data)
	}
	return r
}

func withBody(r *http.Request, data []byte) *http.Request {
	r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(data)), int64(len(data)), nil
	r.Header.Del("Transfer-Encoding")
	r.Header.Set("Content-Length", strconv.Itoa(len(data)))
	return r
}

// faultAnswer is the fault of an answer that is none.
func faultAnswer(err error) error {
	return &edgefunction.Fault{Kind: edgefunction.FaultAnswer, Err: err}
}
