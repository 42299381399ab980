package wasm

import (
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/apoxy-dev/caddy-apoxy/edgefunction"
	"github.com/apoxy-dev/caddy-apoxy/internal/words"
)

// Kinds of header fields.
const (
	ofRequest = iota
	ofResponse
	ofRequestTrailers
	ofResponseTrailers
)

// fieldsOf are the fields of a kind, to be read: their names as net/http has them after
// a prefix. A guest that did not enable trailers finds none.
func (c *call) fieldsOf(kind uint32) (header http.Header, prefix string) {
	r := c.served()
	withTrailers := c.features&trailers != 0
	switch {
	case kind == ofRequest:
		return r.Header, ""
	case kind == ofResponse:
		return c.responseHeader(), ""
	case kind == ofRequestTrailers && withTrailers:
		return r.Trailer, ""
	case kind == ofResponseTrailers && withTrailers:
		return c.responseHeader(), http.TrailerPrefix
	case kind > ofResponseTrailers:
		crash("%d is no kind of header", kind)
	}
	return nil, ""
}

func (c *call) responseHeader() http.Header {
	if c.caught != nil {
		return c.caught.header
	}
	return c.header()
}

// isOf tells whether a key in a header of net/http is of a kind.
func isOf(key, prefix string) bool {
	return strings.HasPrefix(key, http.TrailerPrefix) == (prefix != "")
}

func (c *call) getHeaderNames() {
	kind := c.param(0)
	header, prefix := c.fieldsOf(kind)
	names := make([]string, 0, len(header)+1)
	for key := range header {
		if isOf(key, prefix) {
			names = append(names, strings.ToLower(strings.TrimPrefix(key, prefix)))
		}
	}
	if kind == ofRequest && c.r.Host != "" {
		names = append(names, "host")
	}
	slices.Sort(names)
	c.putAll(1, names)
}

func (c *call) getHeaderValues() {
	kind := c.param(0)
	header, prefix := c.fieldsOf(kind)
	name := textproto.CanonicalMIMEHeaderKey(c.text(1, "name", c.limits.Headers))
	if name == "" {
		crash("get_header_values of a name without bytes")
	}
	values := header[prefix+name]
	if kind == ofRequest && name == "Host" && c.r.Host != "" {
		values = []string{c.r.Host}
	}
	c.putAll(3, values)
}

// putAll puts values that end with NUL, and returns how many there are and their length.
func (c *call) putAll(i int, values []string) {
	var all strings.Builder
	for _, value := range values {
		all.WriteString(value)
		all.WriteByte(0)
	}
	c.put(i, all.String())
	c.stack[0] = packed(len(values), all.Len())
}

// changes are the fields of a kind, to be changed.
func (c *call) changes(what string) (f *fields, prefix string) {
	kind := c.param(0)
	switch {
	case kind > ofResponseTrailers:
		crash("%d is no kind of header", kind)
	case kind >= ofRequestTrailers && c.features&trailers == 0:
		crash("%s of a trailer, without the feature trailers", what)
	}
	switch kind {
	case ofRequest:
		c.beforeNext(what)
		return &c.request, ""
	case ofRequestTrailers:
		c.beforeNext(what)
		return &c.trailer, ""
	case ofResponseTrailers:
		prefix = http.TrailerPrefix
	}
	c.mayRespond(what)
	if c.caught != nil {
		c.exchange.fields().header = c.caught.header
	}
	return c.exchange.fields(), prefix
}

func (c *call) setHeader(add bool) {
	f, prefix := c.changes("a change")
	name, value := c.text(1, "name", c.limits.Headers), c.text(3, "value", c.limits.Headers)
	if c.param(0) == ofRequest && strings.EqualFold(name, "Host") {
		if !httpguts.ValidHostHeader(value) {
			check(edgefunction.Faultf(edgefunction.FaultAnswer, "%q is no host", words.Cut(value, 100)))
		}
		c.r.Host = value
		return
	}
	check(f.set(prefix, name, value, add))
}

func (c *call) removeHeader() {
	f, prefix := c.changes("remove_header")
	name := textproto.CanonicalMIMEHeaderKey(c.text(1, "name", c.limits.Headers))
	if framing[name] {
		return
	}
	f.remove(prefix + name)
}
