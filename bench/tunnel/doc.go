// Package tunnel measures requests through a Tunnel beside Caddy's reverse_proxy
// straight to the backend, beside a bare TLS hop and beside OpenSSH's reverse forwarding, in
// one run, in turns, with the same Caddy, client and backend. It needs the Debian package
// openssh-server for the last of them.
package tunnel
