package wasm

import (
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/apoxy-dev/caddy-apoxy/edgefunction"
	"github.com/apoxy-dev/caddy-apoxy/internal/words"
)

// served is the request, which there is not while a guest starts.
func (c *call) served() *http.Request {
	if c.phase == starting {
		crash("there is no request while it starts")
	}
	return c.r
}

// beforeNext ends a guest that changes a request which next has had.
func (c *call) beforeNext(what string) *http.Request {
	if c.served(); c.phase != requesting {
		crash("%s of the request after the next handler", what)
	}
	return c.changeable()
}

// mayRespond ends a guest that looks at or changes a response which is under way.
func (c *call) mayRespond(what string) {
	if c.served(); c.phase == responding && c.caught == nil {
		crash("%s of the response after the next handler, without the feature buffer_response", what)
	}
}

func (c *call) setMethod() {
	method := c.text(0, "method", c.limits.Headers)
	if !httpguts.ValidHeaderFieldName(method) { // both are tokens, RFC 9110, section 5.6.2
		check(edgefunction.Faultf(edgefunction.FaultAnswer, "%q is no method", words.Cut(method, 100)))
	}
	c.beforeNext("set_method").Method = method
}

// getURI gives path and query as the client sent them, in ASCII.
func (c *call) getURI() {
	u := c.served().URL
	uri := u.EscapedPath()
	if uri == "" {
		uri = "/"
	}
	if u.ForceQuery || u.RawQuery != "" {
		uri += "?" + u.RawQuery
	}
	c.give(uri)
}

func (c *call) setURI() {
	uri := c.text(0, "uri", c.limits.Headers)
	if uri == "" {
		uri = "/"
	}
	u, err := url.ParseRequestURI(uri)
	if err != nil || !strings.HasPrefix(uri, "/") || !httpguts.ValidHeaderFieldValue(uri) {
		check(edgefunction.Faultf(edgefunction.FaultAnswer, "%q is no URI: expected an encoded path, and a query where wanted", words.Cut(uri, 200)))
	}
	r := c.beforeNext("set_uri")
	r.URL.Path, r.URL.RawPath, r.URL.RawQuery, r.URL.ForceQuery = u.Path, u.RawPath, u.RawQuery, u.ForceQuery
	r.RequestURI = uri
}
