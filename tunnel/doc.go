// Package tunnel carries HTTP requests to backends that cannot be reached from
// outside: an Agent beside the backend dials the edge over HTTPS and serves HTTP/2
// on the connection that it dialled; the edge's Hub sends requests into such
// connections. It knows nothing of Caddy, records or hostnames, and needs the
// standard library alone, so that programs can embed an agent.
package tunnel
