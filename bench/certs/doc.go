// Package certs measures certificates: how fast they are obtained in bulk and
// one by one, what that costs, and how fast they are served, side by side with
// stock Caddy on the same certificate authority (Pebble) in one run. It builds
// and starts the programs themselves, on high ports of loopback.
package certs
