package caddyapoxy

import (
	"crypto/tls"
	"net"
	"net/http"
	"testing"
)

type connFrom struct {
	net.Conn
	remote net.Addr
}

func (c connFrom) RemoteAddr() net.Addr { return c.remote }

func TestWhatADatagramCanCauseProvesNoAddress(t *testing.T) {
	for _, c := range []struct {
		what string
		got  bool
		want bool
	}{
		{"a handshake over TCP", provenHandshake(&tls.ClientHelloInfo{Conn: connFrom{remote: &net.TCPAddr{}}}), true},
		{"a handshake over QUIC", provenHandshake(&tls.ClientHelloInfo{Conn: connFrom{remote: &net.UDPAddr{}}}), false},
		{"a handshake that nobody tells of", provenHandshake(nil), true},
		{"a plain request", provenRequest(&http.Request{ProtoMajor: 1}), true},
		{"a request over TLS", provenRequest(&http.Request{ProtoMajor: 2, TLS: &tls.ConnectionState{HandshakeComplete: true}}), true},
		{"a request over QUIC", provenRequest(&http.Request{ProtoMajor: 3, TLS: &tls.ConnectionState{HandshakeComplete: true}}), true},
		{"a request in a QUIC connection's first flight", provenRequest(&http.Request{ProtoMajor: 3, TLS: &tls.ConnectionState{}}), false},
	} {
		if c.got != c.want {
			t.Errorf("%s: proven is %v", c.what, c.got)
		}
	}
}
