// Package api measures the API as clients meet it: the real handlers over the
// real store, asked over HTTP on loopback. Client and server share the process,
// so the figures bear the costs of both.
package api
