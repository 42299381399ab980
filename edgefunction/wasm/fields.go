package wasm

import (
	"net/http"
	"net/textproto"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/apoxy-dev/caddy-apoxy/edgefunction"
	"github.com/apoxy-dev/caddy-apoxy/internal/words"
)

// framing are the fields that say how a message is sent over one connection (RFC 9110,
// section 7.6.1, and its length). They are the server's: what a function says of them
// is left out.
var framing = map[string]bool{
	"Connection": true, "Content-Length": true, "Keep-Alive": true, "Proxy-Connection": true,
	"Te": true, "Trailer": true, "Transfer-Encoding": true, "Upgrade": true,
}

// fields are header fields that a function may change, within a limit.
type fields struct {
	header http.Header
	limit  int64
	size   int64 // of what the function set
}

// field checks a field that a function sets, and returns its name as net/http writes
// it; false: the function's word does not count.
func field(name, value string) (string, bool, *edgefunction.Fault) {
	switch {
	case !httpguts.ValidHeaderFieldName(name):
		return "", false, edgefunction.Faultf(edgefunction.FaultAnswer, "%q is no name of a header field", words.Cut(name, 100))
	case !httpguts.ValidHeaderFieldValue(value):
		return "", false, edgefunction.Faultf(edgefunction.FaultAnswer, "header field %s: its value has a control character: %q", words.Cut(name, 100), words.Cut(value, 100))
	}
	name = textproto.CanonicalMIMEHeaderKey(name)
	return name, !framing[name], nil
}

// set replaces a field's values; add keeps them. The prefix is for trailers.
func (f *fields) set(prefix, name, value string, add bool) *edgefunction.Fault {
	name, counts, fault := field(name, value)
	if fault != nil || !counts {
		return fault
	}
	if !add {
		f.remove(prefix + name)
	}
	if f.size += int64(len(name) + len(value)); f.size > f.limit {
		return edgefunction.Faultf(edgefunction.FaultAnswer, "its header fields pass %d bytes", f.limit)
	}
	f.header[prefix+name] = append(f.header[prefix+name], value)
	return nil
}

func (f *fields) remove(key string) {
	key = textproto.CanonicalMIMEHeaderKey(key)
	for _, value := range f.header[key] {
		f.size -= int64(len(strings.TrimPrefix(key, http.TrailerPrefix)) + len(value))
	}
	f.size = max(f.size, 0)
	delete(f.header, key)
}

// replace makes a header another's.
func replace(header, by http.Header) {
	clear(header)
	for name, values := range by {
		header[name] = values
	}
}

// bodyAllowed tells whether a response may have a body (RFC 9110, section 6.4.1).
func bodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}
