package caddyapoxy

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"

	"github.com/caddyserver/certmagic"
)

// hintHandshake tells the controller of a handshake.
func (rt *runtime) hintHandshake(ctx context.Context, hostname string) {
	hello, _ := ctx.Value(certmagic.ClientHelloInfoCtxKey).(*tls.ClientHelloInfo)
	rt.hint(hostname, provenHandshake(hello))
}

// hintRequest tells the controller of a request.
func (rt *runtime) hintRequest(r *http.Request, hostname string) { rt.hint(hostname, provenRequest(r)) }

// hint tells the controller of something that was heard of hostname; proven:
// from somebody who was seen to be at their address.
func (rt *runtime) hint(hostname string, proven bool) {
	if proven {
		rt.controller.Hint(hostname)
	} else {
		rt.controller.HintUnproven(hostname)
	}
}

// provenHandshake reports whether the client of a handshake is where it says.
// Over QUIC the first datagram may have been sent in anyone's name: Caddy has
// addresses validated (RFC 9000 section 8.1.2) only under load.
func provenHandshake(hello *tls.ClientHelloInfo) bool {
	if hello == nil || hello.Conn == nil {
		return true
	}
	_, udp := hello.Conn.RemoteAddr().(*net.UDPAddr)
	return !udp
}

// provenRequest reports whether the client of a request is where it says, which
// one in the first flight of a QUIC connection (0-RTT, RFC 9001 section 4.6) need
// not be.
func provenRequest(r *http.Request) bool {
	return r.ProtoMajor < 3 || r.TLS == nil || r.TLS.HandshakeComplete
}
