package wasm

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"

	"github.com/apoxy-dev/caddy-apoxy/edgefunction"
	"github.com/apoxy-dev/caddy-apoxy/internal/words"
)

// cgiResponse is a response as RFC 3875, section 6, has it.
type cgiResponse struct {
	status int
	header http.Header
	body   []byte
}

// parseCGI reads what a command wrote.
func parseCGI(text []byte, limits edgefunction.Limits) (*cgiResponse, *edgefunction.Fault) {
	c := &cgiResponse{header: http.Header{}}
	f := fields{header: c.header, limit: limits.Headers}
	for {
		line, rest, ended := bytes.Cut(text, []byte("\n"))
		if !ended {
			return nil, edgefunction.Faultf(edgefunction.FaultAnswer, "its output has no empty line after the header: it begins with %q", words.Cut(string(text), 100))
		}
		text = rest
		line = bytes.TrimSuffix(line, []byte("\r"))
		if len(line) == 0 {
			break
		}
		if fault := c.field(&f, string(line)); fault != nil {
			return nil, fault
		}
	}
	if int64(len(text)) > limits.ResponseBody {
		return nil, edgefunction.Faultf(edgefunction.FaultAnswer, "its response body passes %d bytes", limits.ResponseBody)
	}
	c.body = text
	return c, c.complete()
}

// field reads one line of the header.
func (c *cgiResponse) field(f *fields, line string) *edgefunction.Fault {
	name, value, ok := strings.Cut(line, ":")
	if !ok {
		return edgefunction.Faultf(edgefunction.FaultAnswer, "%q is no header field: expected a name, a colon and a value", words.Cut(line, 100))
	}
	value = strings.Trim(value, " \t")
	if !strings.EqualFold(name, "Status") {
		return f.set("", name, value, true)
	}
	code, _, _ := strings.Cut(value, " ")
	status, err := strconv.Atoi(code)
	if err != nil || len(code) != 3 || status < 200 {
		return edgefunction.Faultf(edgefunction.FaultAnswer, "Status: %q: expected three digits, from 200 on", words.Cut(value, 100))
	}
	c.status = status
	return nil
}

// complete adds the status that is meant: 302 with a Location, 200 with a body's type.
func (c *cgiResponse) complete() *edgefunction.Fault {
	switch {
	case c.status != 0:
	case c.header.Get("Location") != "":
		c.status = http.StatusFound
	case c.header.Get("Content-Type") == "":
		return edgefunction.Faultf(edgefunction.FaultAnswer, "its header has neither Status, Location nor Content-Type")
	default:
		c.status = http.StatusOK
	}
	return nil
}
