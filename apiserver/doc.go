// Package apiserver serves DomainRecords in exactly the shape of the Kubernetes
// REST API, over a store: an http.Handler that knows nothing of Caddy, of DNS
// or of what the status means.
package apiserver
