// Package proxy measures proxied requests through our handler beside Caddy's
// reverse_proxy without it, in one run, in turns, in one process with the same client
// and backend: over HTTP/1.1, HTTP/2 and HTTP/3, for one hostname and for a thousand.
package proxy
